"""Clients a second of rounds on devices (LiteRT in processes without TensorFlow), against the local runtime.

  python -m benchmarks.devices

Both sides take turns on the same cohorts of made-up clients, for built-in tasks. As many devices as cores.
"""

from collections.abc import Callable, Sequence
import contextlib
import statistics
import tempfile
import time

from absl import flags

from common import cli
from tff_tasks.runtime import start_up

_TURNS = flags.DEFINE_integer('turns', 5, 'Turns of each side.', lower_bound=1)
_TASKS = flags.DEFINE_list('tasks', ['classification', 'handwriting', 'next_character'], 'Which tasks.')
_TURN_SECONDS = 1.0


def main() -> None:
  """Prints the table, a row when it is known."""
  start_up.start_tensorflow()
  from benchmarks import device_rounds

  print(
    '| task | batch | clients/s, local | clients/s, devices | ratio | a step of the file | difference of the models |'
  )
  print('|---|---:|---:|---:|---:|---:|---:|')
  for name in _TASKS.value:
    task = device_rounds.TASKS[name]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
      sides = [stack.enter_context(contextlib.closing(side)) for side in device_rounds.build(name, folder)]
      for side in sides:
        side.run()
      difference = device_rounds.difference(*sides)
      local, devices = (task.clients / seconds for seconds in _interleave([side.run for side in sides]))
      step = device_rounds.time_step(name, folder)
    print(
      f'| {name} | {task.batch_size} | {local:,.0f} | {devices:,.0f} | {devices / local:.2f} | {1000 * step:.2f} ms '
      f'| {difference:.1g} |',
      flush=True,
    )


def _interleave(runs: Sequence[Callable[[], None]]) -> list[float]:
  """Returns the median seconds of a round of each side; a turn is as many rounds as fill a second."""
  counts = [max(1, round(_TURN_SECONDS / _time(run, 1))) for run in runs]
  taken: list[list[float]] = [[] for _ in runs]
  for _ in range(_TURNS.value):
    for run, count, seconds in zip(runs, counts, taken, strict=True):
      seconds.append(_time(run, count))
  return [statistics.median(seconds) for seconds in taken]


def _time(run: Callable[[], None], count: int) -> float:
  started = time.perf_counter()
  for _ in range(count):
    run()
  return (time.perf_counter() - started) / count


if __name__ == '__main__':
  cli.run(main)
