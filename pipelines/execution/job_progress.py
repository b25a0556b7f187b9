"""How far a preprocessing job is, as long as it runs: a line that is redrawn on a terminal, a few lines in a file.

Read off the files that workers write, so that every runner shows it that writes to a local or mounted disk; on other
filesystems, where looking costs a request for each file, nothing is shown.
"""

from collections.abc import Callable, Iterator
import contextlib
import os
import re
import shutil
import threading
from typing import TextIO

from common import cli
from pipelines.execution import storage

_REDRAW_SECONDS = 1.0
# In a file, the first line comes after so long, and each further one after twice as long.
_LINE_SECONDS = 10.0
_SHARD = re.compile(r'shard-\d+-of-\d+\.arrow').fullmatch
# The number of the input file begins the name.
_SPILLED = re.compile(r'(\d+)-.*\.arrow').fullmatch


@contextlib.contextmanager
def shown(output_dir: str, spill_folder: str, num_files: int, num_shards: int, stream: TextIO) -> Iterator[None]:
  """Shows the progress of a job while the block runs.

  Args:
    output_dir: Where shards are written.
    spill_folder: Where rows wait.
    num_files: Of the input.
    num_shards: To be written.
    stream: A terminal or a file.
  """
  if not storage.is_local(output_dir):
    yield
    return
  stop = threading.Event()
  look = lambda: describe(output_dir, spill_folder, num_files, num_shards)  # noqa: E731
  thread = threading.Thread(target=_show, args=(look, stream, stop), daemon=True)
  thread.start()
  try:
    yield
  finally:
    stop.set()
    thread.join()


def describe(output_dir: str, spill_folder: str, num_files: int, num_shards: int) -> str:
  """Returns how far the job is, empty if there is nothing to see yet."""
  with contextlib.suppress(FileNotFoundError):
    shards = sum(1 for name in os.listdir(output_dir) if _SHARD(name))
    if shards:
      return f'writing: {shards:,} of {num_shards:,} shards'
    found = [(int(match[1]), entry) for entry in os.scandir(spill_folder) if (match := _SPILLED(entry.name))]
    if found:
      megabytes = sum(entry.stat().st_size for _, entry in found) / 1e6
      last = max(number for number, _ in found)
      return f'reading: file {last + 1:,} of {num_files:,}, {megabytes:,.0f} MB of rows'
  return ''


def _show(look: Callable[[], str], stream: TextIO, stop: threading.Event) -> None:
  can_redraw = cli.can_redraw(stream)
  wait, drawn = (_REDRAW_SECONDS if can_redraw else _LINE_SECONDS), False
  with contextlib.suppress(OSError):  # Whoever read the output is gone; the job's own printing says so.
    while not stop.wait(wait):
      line = look()
      if line and can_redraw:
        stream.write(f'\r\033[K{line[: shutil.get_terminal_size().columns - 1]}')
        drawn = True
      elif line:
        stream.write(f'{line}\n')
        wait *= 2
      stream.flush()
    if drawn:
      stream.write('\r\033[K')
      stream.flush()
