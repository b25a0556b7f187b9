"""How the cost of a round of our local runtime grows with the cohort, and its memory with the cohort and the rounds.

  python -m benchmarks.scale

Small clients: logistic regression on 32 numbers, 5 to 50 examples by a power law. Each cohort size runs in a process
of its own. Prints the figures and draws them.
"""

from collections.abc import Mapping
import contextlib
import os
import pathlib
import statistics
import tempfile
from typing import NamedTuple

from absl import flags
import numpy as np

from benchmarks import interleaving
from common import cli

_PLOT = flags.DEFINE_string('plot', str(pathlib.Path(__file__).parent / 'scale.png'), 'The picture to draw.')
_ROUNDS = flags.DEFINE_integer('rounds', 2_000, 'Rounds over which memory is watched.', lower_bound=400)

_COHORTS = (10, 100, 1_000, 10_000)
_WATCHED_COHORT = 100
_POPULATION = 20_000
_SMALLEST, _LARGEST, _EXPONENT = 5, 50, 1.5
_TURNS = 5
_ROUNDS_A_SAMPLE = 20
# Until then the runtime meets sizes that it has not compiled for, and memory that was freed is not used again yet.
_WARM_UP = 200


class Cost(NamedTuple):
  """Of a cohort size: the seconds of a round, and the most megabytes that the process had in memory."""

  seconds: float
  peak_mb: float


def draw_sizes() -> np.ndarray:
  """Returns the examples of each client: a Pareto distribution, cut off."""
  sizes = _SMALLEST * (1 + np.random.default_rng(0).pareto(_EXPONENT, _POPULATION))
  return np.minimum(sizes, _LARGEST).astype(np.int64)


def measure_cohorts(shards_dir: str) -> dict[int, Cost]:
  """Returns what each cohort size costs, after as many rounds as it takes."""
  costs = {}
  for clients in _COHORTS:
    with _open_process(shards_dir, clients) as side:
      [answers] = interleaving.interleave([side], _TURNS)
    costs[clients] = Cost(statistics.median(answer.seconds for answer in answers), answers[-1].peak_rss_mb)
    print(f'{clients:7,} clients {costs[clients].seconds:9.4f} s a round {costs[clients].peak_mb:7,.0f} MB', flush=True)
  return costs


def watch_memory(shards_dir: str, rounds: int) -> dict[int, float]:
  """Returns the megabytes in memory after some of the rounds, the first and the last among them."""
  with _open_process(shards_dir, _WATCHED_COHORT) as side:
    counts = range(1 + _ROUNDS_A_SAMPLE, rounds + _ROUNDS_A_SAMPLE, _ROUNDS_A_SAMPLE)
    return {1: side.first.rss_mb} | {count: side.run(_ROUNDS_A_SAMPLE).rss_mb for count in counts}


def _open_process(shards_dir: str, clients: int) -> contextlib.AbstractContextManager[interleaving.MeasuredProcess]:
  return interleaving.open_process(
    '--workload=small', '--runtime=local', f'--shards_dir={shards_dir}', f'--clients={clients}'
  )


def fit_line(costs: Mapping[int, Cost]) -> tuple[float, float]:
  """Returns the seconds of a round and those of each client in it, that come closest relative to each figure."""
  seconds = np.array([cost.seconds for cost in costs.values()])
  slope, offset = np.polyfit(list(costs), seconds, 1, w=1 / seconds)
  return offset, slope


def describe(costs: Mapping[int, Cost], memory: Mapping[int, float]) -> str:
  """Returns what the figures come to."""
  offset, slope = fit_line(costs)
  far = max(abs(cost.seconds / (offset + slope * clients) - 1) for clients, cost in costs.items())
  growth = costs[max(costs)].peak_mb / costs[min(costs)].peak_mb
  last = max(memory)
  warm = min(count for count in memory if count >= _WARM_UP)
  return '\n'.join(
    [
      f'a round takes {1e3 * offset:.2f} ms and {1e6 * slope:.1f} us a client, all sizes within {far:.0%} of that',
      f'peak memory of the largest cohort over that of the smallest: {growth:.2f}',
      f'memory from round {warm} to round {last}: {memory[last] / memory[warm] - 1:+.2%} of {memory[warm]:.0f} MB',
    ]
  )


def draw(costs: Mapping[int, Cost], memory: Mapping[int, float], path: str) -> None:
  """Draws time and memory over the cohort, and memory over the rounds."""
  import matplotlib

  matplotlib.use('Agg')
  from matplotlib import pyplot

  figure, (time_axes, peak_axes, memory_axes) = pyplot.subplots(1, 3, figsize=(12, 3.8), dpi=100, layout='constrained')
  clients, (_, slope) = list(costs), fit_line(costs)
  label = f'{1e6 * slope:.0f} µs a client'
  time_axes.loglog(clients, [slope * count for count in clients], '--', color='0.6', label=label)
  time_axes.loglog(clients, [cost.seconds for cost in costs.values()], 'o-', label='measured')
  time_axes.set(title='Time', xlabel='clients a round', ylabel='seconds a round')
  time_axes.legend(frameon=False)
  peak_axes.semilogx(clients, [cost.peak_mb for cost in costs.values()], 'o-')
  peak_axes.set(title='Peak memory', xlabel='clients a round', ylabel='MB')
  memory_axes.plot(list(memory), list(memory.values()))
  memory_axes.set(title=f'Memory, {_WATCHED_COHORT} clients a round', xlabel='round', ylabel='MB')
  peak_axes.set_ylim(0, 1.3 * max(cost.peak_mb for cost in costs.values()))
  memory_axes.set_ylim(0, 1.3 * max(memory.values()))
  for axes in (time_axes, peak_axes, memory_axes):
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(alpha=0.3)
  figure.savefig(path)


def main() -> None:
  """Measures, prints and draws."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  from benchmarks import workloads

  with tempfile.TemporaryDirectory() as shards_dir:
    workloads.write_clients(workloads.build_workload('small').schema, draw_sizes(), shards_dir)
    costs = measure_cohorts(shards_dir)
    memory = watch_memory(shards_dir, _ROUNDS.value)
  print(describe(costs, memory))
  draw(costs, memory, _PLOT.value)


if __name__ == '__main__':
  cli.run(main)
