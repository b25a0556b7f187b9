"""What a call of a file costs on this machine: time and memory of the device's runtime, as an app would use it.

The figures rank the files of one export. They are no phone's.
"""

from collections.abc import Iterable, Iterator, Mapping
import ctypes
import os
import re
import time
from typing import Any, NamedTuple

import numpy as np

from export import flex
from export import guard
from export.forms import registry as forms

# For tables of these figures.
NOTE = (
  'Time of one call on one thread of the machine that exported, and the memory that loading and calling the file adds '
  'to a process: they rank files, and are not those of a phone.'
)
_WARM_UP_CALLS = 5
_MAX_CALLS = 200
_MAX_NANOSECONDS = 500_000_000
_PROCESS = '/proc/self'
_RESET_PEAK = b'5'  # See clear_refs in proc(5).


class Cost(NamedTuple):
  """What the calls of a file took, one thread.

  Attributes:
    median: Time of a call, in microseconds.
    p95: Of 95% of the calls, the longest, in microseconds.
    calls: How many were timed.
    peak_bytes: What loading and calling the file adds to the memory of a process in which the runtime ran before: the
      file, the runtime's copies of weights, and what it computes.
  """

  median: float
  p95: float
  calls: int
  peak_bytes: int

  def describe(self) -> dict[str, Any]:
    """Returns what parity.json says of it."""
    latency = {'median': round(self.median, 2), 'p95': round(self.p95, 2), 'calls': self.calls}
    return {'latency_us': latency, 'peak_memory_mb': round(self.peak_bytes / 1e6, 3)}


def measure_all(
  variants: Mapping[str, Mapping[str, Any]], folder: str, features: np.ndarray, limits: guard.Limits
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
  """Returns the entries of variants with what their files cost, and why others could not be measured.

  One file after the other: nothing else of the export should run, as it would take time from the calls.

  Args:
    variants: Entries of parity.json by name.
    folder: Where their files are.
    features: Of held-out examples, `[n, ...]`.
    limits: Of each file.
  """
  measured: dict[str, dict[str, Any]] = {}
  failed: dict[str, str] = {}
  for name, entry in variants.items():
    path = os.path.join(folder, entry['path'])
    try:
      cost: Cost = guard.call(limits, measure, path, features[:_MAX_CALLS], entry['form'])
      measured[name] = {**entry, **cost.describe()}
    except guard.Failed as error:
      failed[name] = f'its calls could not be timed: {error}'
  return measured, failed


def summarize(variants: Iterable[Mapping[str, Any]]) -> list[str]:
  """Returns the lines of a plain table of what files cost, and what its figures mean.

  Args:
    variants: Entries of parity.json.
  """
  lines = [f'{"file":<40}{"median":>13}{"95% within":>13}{"memory":>11}']
  for entry in variants:
    median, p95 = (f'{entry["latency_us"][key]:,.1f} us' for key in ('median', 'p95'))
    lines.append(f'{entry["path"]:<40}{median:>13}{p95:>13}{entry["peak_memory_mb"]:>8.2f} MB')
  return [*lines, NOTE]


def measure(path: str, features: np.ndarray, form: str) -> Cost:
  """Runs a file as an app does, and returns what it takes; meant for a guarded child process.

  Args:
    path: The file.
    features: Of held-out examples, `[n, ...]`; they are repeated if they are few.
    form: Its name.

  Raises:
    ValueError: If the file is none of the form.
  """
  nanoseconds = _time_calls(_load(path, features, form))
  # Second, so that the code of the runtime, which all files share, is in memory before.
  peak_bytes = _measure_peak(path, features, form)
  median, p95 = (float(each) / 1000 for each in np.percentile(nanoseconds, (50, 95)))
  return Cost(median, p95, len(nanoseconds), peak_bytes)


def _load(path: str, features: np.ndarray, form: str) -> Iterator[np.ndarray]:
  interpreter = flex.open_interpreter(path)
  interpreter.allocate_tensors()
  return forms.FORMS[form].calls(interpreter, features)


def _time_calls(calls: Iterator[np.ndarray]) -> list[int]:
  for _ in range(_WARM_UP_CALLS):
    next(calls)
  nanoseconds: list[int] = []
  started = now = time.perf_counter_ns()
  while len(nanoseconds) < _MAX_CALLS and now - started < _MAX_NANOSECONDS:
    before = time.perf_counter_ns()
    next(calls)
    now = time.perf_counter_ns()
    nanoseconds.append(now - before)
  return nanoseconds


def _measure_peak(path: str, features: np.ndarray, form: str) -> int:
  """Returns by how many bytes loading and calling a file raises the resident memory of this process."""
  # Memory that was freed before may be used again, and would not count.
  ctypes.CDLL(None).malloc_trim(0)
  try:
    with open(f'{_PROCESS}/clear_refs', 'wb') as file:
      file.write(_RESET_PEAK)
    figure = 'VmHWM'
  except OSError:
    figure = 'VmRSS'  # Where the kernel has no reset. The runtime frees little before it is closed.
  before = _read_memory('VmRSS')
  calls = _load(path, features, form)
  for _ in range(_WARM_UP_CALLS):
    next(calls)
  return _read_memory(figure) - before


def _read_memory(figure: str) -> int:
  with open('/proc/self/status', encoding='ascii') as file:
    found = re.search(rf'^{figure}:\s+([0-9]+) kB$', file.read(), re.MULTILINE)
  if not found:
    raise ValueError(f'Expected {figure} in /proc/self/status, found none: export on Linux.')
  return int(found[1]) * 1024
