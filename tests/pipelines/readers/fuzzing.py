"""Damages files and reads them in a process of bounded memory; `fuzz` is the program, for hours of it."""

import collections
from collections.abc import Callable, Iterator, Sequence
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from typing import NamedTuple

import psutil

from tests.pipelines.readers import fuzz_files

# Of address space and of memory, beyond what the imports take. A block of text of 16 MiB takes several times as much.
_MOST_BYTES = 2 << 30
_MOST_GROWTH_KB = 1 << 20
_MOST_SECONDS = 20.0
_MOST_BOMB_MIB = 250
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)


class Finding(NamedTuple):
  """What went wrong with which file."""

  file_format: str
  number: int
  what: str


def mutate(content: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
  """Returns the content of a file, changed in a few places."""
  for _ in range(chance.choice((1, 1, 2, 4, 16))):
    content = chance.choice(_MUTATIONS)(content, others, chance)
  return content


def _flip(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
  return _put(content, lambda byte: bytes([byte ^ 1 << chance.randrange(8)]), chance)


def _replace(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
  return _put(content, lambda byte: bytes([chance.randrange(256)]), chance)


def _put(content: bytes, change: Callable[[int], bytes], chance: random.Random) -> bytes:
  if not content:
    return content
  place = _place(content, chance)
  return content[:place] + change(content[place]) + content[place + 1 :]


def _put_number(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
  size, order = chance.choice((1, 2, 4, 8)), chance.choice(('little', 'big'))
  number = (chance.choice(_NUMBERS) & (1 << 8 * size) - 1).to_bytes(size, 'little' if order == 'little' else 'big')
  place = _place(content, chance)
  return content[:place] + number + content[place + size :]


def _cut(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
  return content[: _place(content, chance)]


def _remove(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
  place = _place(content, chance)
  return content[:place] + content[place + chance.choice((1, 2, 8, 100)) :]


def _repeat(content: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
  place = _place(content, chance)
  piece = content[place : place + chance.choice((1, 8, 100))]
  return content[:place] + piece * chance.choice((2, 3, 50)) + content[place:]


def _splice(content: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
  other = chance.choice(others)
  return content[: _place(content, chance)] + other[_place(other, chance) :]


def _place(content: bytes, chance: random.Random) -> int:
  # Headers and footers are where most can go wrong.
  near = chance.choice((32, 256, len(content) or 1, len(content) or 1))
  place = chance.randrange(min(near, len(content) or 1))
  return len(content) - place if chance.random() < 0.3 and content[-place:] and place else place


_MUTATIONS = (_flip, _replace, _put_number, _put_number, _cut, _remove, _repeat, _splice)


def read_mutated(file_format: str, seed: int, number: int, folder: str) -> str | None:
  """Reads a damaged file; returns what went wrong, or None."""
  chance = random.Random(f'{seed} {file_format} {number}')
  kind = fuzz_files.FORMATS[file_format]
  seeds = kind.seeds()
  content = chance.choice(seeds)
  pack = chance.choice(kind.packers)
  content = pack(mutate(content, seeds, chance))
  if chance.random() < 0.2:
    content = mutate(content, seeds, chance)
  # Of this process: others may be slow beside it.
  start = time.process_time()
  try:
    message = kind.read(content, folder)
  except Exception as error:  # noqa: BLE001  # Whatever it is, it is what is looked for.
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f'{type(error).__name__} at {where.filename}:{where.lineno}: {str(error)[:200]}'
  if message is not None and ('\n' in message or not message.startswith('Expected ')):
    return f'a message of another form: {message[:200]!r}'
  seconds = time.process_time() - start
  return f'{seconds:.0f} seconds' if seconds > _MOST_SECONDS else None


def read_bombs(formats: Sequence[str]) -> None:
  """Reads the bombs in this process, and prints what it found."""
  kinds = {file_format: fuzz_files.FORMATS[file_format] for file_format in formats}
  with tempfile.TemporaryDirectory() as folder:
    bombs = {file_format: kind.bombs() for file_format, kind in kinds.items()}
    for kind in kinds.values():
      kind.read(kind.seeds()[0], folder)  # Imports.
    limit_memory()
    for file_format, kind in kinds.items():
      for number, content in enumerate(bombs[file_format]):
        print(f'{file_format} {number}', flush=True)
        used = psutil.Process().memory_info().rss
        peak = _Peak()
        try:
          message = kind.read(content, folder)
        except Exception as error:  # noqa: BLE001  # Whatever it is, it is what is looked for.
          message = f'{type(error).__name__}: {error}'
        grown = (peak.stop() - used) >> 20
        if grown > _MOST_BOMB_MIB or not (message or 'Expected').startswith('Expected'):
          print(f'found {file_format} {number} {grown} MiB {message}'.replace('\n', ' '), flush=True)


class _Peak:
  """Measures the memory of this process until it is stopped."""

  def __init__(self) -> None:
    self._most = 0
    self._is_over = threading.Event()
    self._thread = threading.Thread(target=self._measure)
    self._thread.start()

  def stop(self) -> int:
    self._is_over.set()
    self._thread.join()
    return self._most

  def _measure(self) -> None:
    process = psutil.Process()
    while not self._is_over.wait(0.01):
      self._most = max(self._most, process.memory_info().rss)


def inside(seed: int, formats: Sequence[str], runs: int, seconds: float) -> None:
  """Reads files in this process, whose memory is limited, and prints each before it is read, and what it found."""
  folder = tempfile.mkdtemp(prefix='fuzz-')
  for file_format in formats:
    read_mutated(file_format, seed, -1, folder)  # Imports.
  limit_memory()
  most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  end = time.monotonic() + seconds
  for number in range(runs or sys.maxsize):
    for file_format in formats:
      if time.monotonic() > end:
        return
      print(f'{file_format} {number}', flush=True)
      found = read_mutated(file_format, seed, number, folder)
      peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
      if found is None and peak > most + _MOST_GROWTH_KB:
        found = f'{(peak - most) // 1024} MiB'
        most = peak
      if found:
        print(f'found {file_format} {number} {found}', flush=True)


def limit_memory(more: int = _MOST_BYTES) -> None:
  """Limits the address space of this process to what it has now and so many bytes more."""
  with open('/proc/self/statm', encoding='ascii') as file:
    pages = int(file.read().split()[0])
  limit = pages * resource.getpagesize() + more
  resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def watch(
  seed: int,
  formats: Sequence[str],
  runs: int,
  seconds: float,
  *others: str,
  counts: collections.Counter[str] | None = None,
) -> Iterator[Finding]:
  """Reads files in a child, and yields what was found. One that ends the child is skipped by the next one.

  `counts` gets how many files of each format were begun.
  """
  end = time.monotonic() + seconds
  while seconds > 0:
    arguments = [f'--seed={seed}', f'--formats={",".join(formats)}', f'--runs={runs}', f'--seconds={seconds}']
    command = [sys.executable, '-m', 'tests.pipelines.readers.fuzz', '--inside', *arguments, *others]
    last = ['', '0']
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
      for line in child.stdout or ():
        words = line.split(maxsplit=3)
        if words[0] == 'found':
          yield Finding(words[1], int(words[2]), words[3].strip())
        else:
          last = words
          if counts is not None:
            counts[words[0]] += 1
      code = child.wait()
    if code == 0:
      return
    yield Finding(last[0], int(last[1]), f'the process ended with {code}')
    seed, seconds = seed + 1, end - time.monotonic()
