"""Calls of a file that tests measure in a child process: it imports this module, and nothing else of the tests."""

from collections.abc import Iterator
import sys
from unittest import mock

import numpy as np

from export import timing

_NOTHING = np.zeros((1, 2))
_MEGABYTE = 1 << 20


def measure_and_list_modules(path: str, features: np.ndarray, form: str) -> tuple[timing.Cost, set[str]]:
  """Returns what a file costs, and the packages that this process imported."""
  return timing.measure(path, features, form), {name.partition('.')[0] for name in sys.modules}


def measure_peak(megabytes: int, before: int, can_reset: bool) -> float:
  """Returns, in MB, what is measured of calls that need so much and free it, in a process that needed more before."""
  _allocate(before)

  def make_calls(*_: object) -> Iterator[np.ndarray]:
    while True:
      _allocate(megabytes)
      yield _NOTHING

  process = '/proc/self' if can_reset else '/none'
  with mock.patch.object(timing, '_load', make_calls), mock.patch.object(timing, '_PROCESS', process):
    return timing._measure_peak('file', _NOTHING, 'whole') / _MEGABYTE


def _allocate(megabytes: int) -> None:
  np.ones(megabytes * _MEGABYTE, np.uint8)  # Freed at once.
