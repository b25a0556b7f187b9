"""Clients a second of rounds on devices (LiteRT in processes without TensorFlow), against the local runtime.

  python -m benchmarks.devices

Both sides take turns on the same cohorts of made-up clients, for built-in tasks. As many devices as cores.
"""

from collections.abc import Callable, Sequence
import contextlib
import statistics
import tempfile
import time
from typing import NamedTuple

from absl import flags
import psutil

from common import cli
from tff_tasks.runtime import start_up

_TURNS = flags.DEFINE_integer('turns', 5, 'Turns of each side.', lower_bound=1)
_TASKS = flags.DEFINE_list('tasks', ['classification', 'handwriting', 'next_character'], 'Which tasks.')
_TURN_SECONDS = 1.0


class _Cost(NamedTuple):
  """What a round takes: seconds on the clock, and of all cores, in this process and the devices."""

  seconds: float
  cpu_seconds: float


def main() -> None:
  """Prints the table, a row when it is known."""
  start_up.start_tensorflow()
  from benchmarks import device_rounds

  print('| task | batch | | clients/s | CPU ms a client | a step of the file | difference of the models |')
  print('|---|---:|---|---:|---:|---:|---:|')
  for name in _TASKS.value:
    task = device_rounds.TASKS[name]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
      local, devices = device_rounds.build(name, folder)
      for side in (local, devices):
        stack.callback(side.close)
        side.run()
      difference = device_rounds.difference(local, devices)
      costs = _interleave([local.run, devices.run], devices.pids)
      step = device_rounds.time_step(name, folder)
    for title, cost in zip(('local', 'devices'), costs, strict=True):
      figures = f'{task.clients / cost.seconds:,.0f} | {1000 * cost.cpu_seconds / task.clients:.2f}'
      print(f'| {name} | {task.batch_size} | {title} | {figures} | {1000 * step:.2f} ms | {difference:.1g} |')
    ratios = (costs[0].seconds / costs[1].seconds, costs[0].cpu_seconds / costs[1].cpu_seconds)
    print('| | | ratio | {:.2f} | {:.2f} | | |'.format(*ratios), flush=True)


def _interleave(runs: Sequence[Callable[[], None]], pids: Sequence[int]) -> list[_Cost]:
  """Returns the medians of a round of each side; a turn is as many rounds as fill a second."""
  counts = [max(1, round(_TURN_SECONDS / _measure(run, 1, pids).seconds)) for run in runs]
  taken: list[list[_Cost]] = [[] for _ in runs]
  for _ in range(_TURNS.value):
    for run, count, costs in zip(runs, counts, taken, strict=True):
      costs.append(_measure(run, count, pids))
  return [_Cost(*map(statistics.median, zip(*costs, strict=True))) for costs in taken]


def _measure(run: Callable[[], None], count: int, pids: Sequence[int]) -> _Cost:
  started, cpu_started = time.perf_counter(), _cpu_seconds(pids)
  for _ in range(count):
    run()
  return _Cost((time.perf_counter() - started) / count, (_cpu_seconds(pids) - cpu_started) / count)


def _cpu_seconds(pids: Sequence[int]) -> float:
  times = [psutil.Process(pid).cpu_times() for pid in pids]
  return time.process_time() + sum(each.user + each.system for each in times)


if __name__ == '__main__':
  cli.run(main)
