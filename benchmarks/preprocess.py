"""Time and memory of preprocessing, against the script that one would write by hand.

  python -m benchmarks.preprocess --shape=text --megabytes=1000 --users=100000

The sides run one after the other, again and again, each in processes of its own, on a file that is in the disk's
cache, and medians are compared: on a noisy machine the ratio says more than either figure. The first run of each, in
which Python compiles its modules, does not count. Ours does more: it refuses bad rows, splits, checks, and accounts for
every row. Peak memory is that of all processes of a side together; memory that they share counts more than once. Polars
is a side where it can be imported: `pip install --no-deps --target DIR polars polars-runtime-32` and `PYTHONPATH=DIR`.
"""

from collections.abc import Mapping, Sequence
import importlib.util
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, NamedTuple

from absl import flags
import psutil

from benchmarks import child_environment
from common import cli

_SHAPE = flags.DEFINE_enum('shape', 'text', ['text', 'motion'], 'What a row holds: see benchmarks.log_generator.')
_MEGABYTES = flags.DEFINE_integer('megabytes', 1_000, 'Size of the log, in millions of bytes.', lower_bound=1)
_USERS = flags.DEFINE_integer('users', 100_000, 'How many users it is of.', lower_bound=1)
_SKEW = flags.DEFINE_bool('skew', False, 'Whether one user has half of all rows.')
_REPEATS = flags.DEFINE_integer('repeats', 3, 'Runs of each side.', lower_bound=1)
_FOLDER = flags.DEFINE_string('folder', None, 'Where the log and what is made of it lie for a while; $TMPDIR if unset.')
_JSON = flags.DEFINE_bool('json', False, 'Print a line of JSON for each side.')

_HERE = pathlib.Path(__file__).parent
_SAMPLE_SECONDS = 0.02
_MB = 1_000_000
_BY_HAND = 'by hand'


class Run(NamedTuple):
  """What one run took; the processors' time tells more of a machine that does other things besides."""

  seconds: float
  cpu_seconds: float
  peak_mb: float


def build_sides(shape: str, log: str) -> dict[str, list[str]]:
  """Returns the command of each side, to which the folder to make has to be added."""
  ours = ['pipelines.preprocess', f'--dataset={_HERE / shape}.toml', f'--input={log}']
  by_hand = ['benchmarks.by_hand', f'--shape={shape}', f'--input={log}']
  has_polars = importlib.util.find_spec('polars') is not None
  return {
    _BY_HAND: by_hand,
    **({'by hand, with Polars': [*by_hand, '--library=polars']} if has_polars else {}),
    'Direct runner': ours,
    'Direct runner, 2 workers': [*ours, '--direct_num_workers=2', '--direct_running_mode=multi_processing'],
  }


def run(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Run:
  """Runs a program of ours to its end and watches the memory of its process and of those that it starts.

  Args:
    arguments: The module, and its flags.
    environment: By default our own.

  Raises:
    ValueError: With the last line that it wrote, if it fails.
  """
  started = time.perf_counter()
  with tempfile.TemporaryFile() as output:
    process = subprocess.Popen(
      [sys.executable, '-m', *arguments], cwd=_HERE.parent, stdout=output, stderr=output, env=environment
    )
    try:
      usage, peak = _watch(process)
    finally:
      process.terminate()  # Does nothing to one that has ended, as all have unless we are interrupted.
    seconds = time.perf_counter() - started
    if process.returncode:
      output.seek(0)
      last = output.read().decode(errors='replace').strip().rpartition('\n')[2]
      raise ValueError(f'Expected {arguments[0]} to end well, found exit code {process.returncode}: {last}')
  # The system knows the peak of each single process, the samples that of all of them.
  return Run(seconds, usage.ru_utime + usage.ru_stime, max(peak, usage.ru_maxrss * 1024) / _MB)


def _watch(process: subprocess.Popen[bytes]) -> tuple[resource.struct_rusage, int]:
  """Waits for a process; returns what the system says of it, and the most bytes that it and its children had."""
  root, peak = psutil.Process(process.pid), 0
  while True:
    pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    if pid:
      process.returncode = os.waitstatus_to_exitcode(status)
      return usage, peak
    peak = max(peak, _count_bytes(root))
    time.sleep(_SAMPLE_SECONDS)


def _count_bytes(root: psutil.Process) -> int:
  total = 0
  try:
    for process in [root, *root.children(recursive=True)]:
      total += process.memory_info().rss
  except psutil.NoSuchProcess:  # Ended since it was listed: the next sample knows better.
    pass
  return total


def compare(sides: dict[str, list[str]], folder: str, repeats: int) -> list[dict[str, Any]]:
  """Returns the medians of each side, and how they compare with the first one's."""
  runs: dict[str, list[Run]] = {name: [] for name in sides}
  environment = child_environment.compiled(os.path.join(folder, 'compiled'))
  for _ in range(1 + repeats):
    for name, arguments in sides.items():
      with tempfile.TemporaryDirectory(dir=folder) as output_dir:
        runs[name].append(run([*arguments, f'--output_dir={os.path.join(output_dir, "made")}'], environment))
  runs = {name: taken[1:] for name, taken in runs.items()}
  baseline = statistics.median(taken.seconds for taken in runs[_BY_HAND])
  rows = []
  for name, taken in runs.items():
    seconds, cpu_seconds, peak = (statistics.median(values) for values in zip(*taken, strict=True))
    rows.append(
      {
        'side': name,
        'seconds': round(seconds, 1),
        'ratio': round(seconds / baseline, 2),
        'cpu_seconds': round(cpu_seconds, 1),
        'peak_mb': round(peak),
      }
    )
  return rows


def main() -> None:
  """Makes the log, runs the sides and prints their table."""
  with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
    log = os.path.join(folder, 'log.jsonl')
    shape = [f'--shape={_SHAPE.value}', f'--megabytes={_MEGABYTES.value}', f'--users={_USERS.value}']
    run(['benchmarks.log_generator', *shape, f'--skew={str(_SKEW.value).lower()}', f'--output={log}'])
    rows = compare(build_sides(_SHAPE.value, log), folder, _REPEATS.value)
  if _JSON.value:
    case = {'shape': _SHAPE.value, 'megabytes': _MEGABYTES.value, 'users': _USERS.value, 'skew': _SKEW.value}
    print('\n'.join(json.dumps(case | row) for row in rows))
  else:
    print(f'| {_SHAPE.value}, {_MEGABYTES.value:,} MB | seconds | ratio to by hand | CPU seconds | peak MB |')
    print('|---|---:|---:|---:|---:|')
    for row in rows:
      print('| {side} | {seconds} | {ratio} | {cpu_seconds} | {peak_mb:,} |'.format_map(row))


if __name__ == '__main__':
  cli.run(main)
