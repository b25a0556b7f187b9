"""Rounds and bytes that each algorithm needs to a target accuracy, on clients that differ in what they have.

  python -m benchmarks.rounds_to_target --shards=runs/mnist_by_writer/shards,runs/mnist_dirichlet/shards

Trains with tff_tasks.train, as a user would: no noise, no quantization, the same cohorts for each algorithm. Prints the
table and draws accuracy by round, a picture a data set.
"""

from collections.abc import Mapping, Sequence
import csv
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from typing import NamedTuple

from absl import flags

from common import cli

_SHARDS = flags.DEFINE_list('shards', None, 'Folders of client shards.', required=True)
_TARGETS = flags.DEFINE_list('targets', ['0.95', '0.9'], 'Accuracy on held-out users, one for each folder.')
_SEEDS = flags.DEFINE_integer('seeds', 3, 'Runs of each algorithm.', lower_bound=1)
_ROUNDS = flags.DEFINE_integer('rounds', 60, 'The most rounds of a run.', lower_bound=1)
_CLIENTS = flags.DEFINE_integer('clients_per_round', 10, 'Clients of a round.', lower_bound=1)
_PLOT_DIR = flags.DEFINE_string('plot_dir', str(pathlib.Path(__file__).parent), 'Where to draw the pictures.')

_ROUNDS_PER_EVAL = 2
_LEARNING_RATE = '0.1'
# What differs from FedAvg. Momentum of 0.9 makes steps ten times as long, hence the lower learning rate.
ALGORITHMS: Mapping[str, Sequence[str]] = {
  'FedAvg': [],
  'FedProx, mu 0.1': ['--algorithm=fed_prox', '--algorithm_options=mu=0.1'],
  'SCAFFOLD': ['--algorithm=scaffold'],
  'FedNova': ['--algorithm=fed_nova'],
  'FedDyn, alpha 0.01': ['--algorithm=fed_dyn', '--algorithm_options=alpha=0.01'],
  'MimeLite': ['--algorithm=mime_lite', '--client_optimizer=momentum', '--client_learning_rate=0.01'],
  'FedAdam': ['--server_optimizer=adam', '--server_learning_rate=0.01'],
}


class Curve(NamedTuple):
  """A run: accuracy on held-out users by round, and the bytes of a client and round, up and down."""

  accuracy: dict[int, float]
  bytes_of_client: int


def train(shards_dir: str, seed: int, arguments: Sequence[str]) -> Curve:
  """Trains once.

  Raises:
    ValueError: If the run fails, with its last line.
  """
  with tempfile.TemporaryDirectory() as folder:
    command = [
      *(sys.executable, '-m', 'tff_tasks.train', f'--shards_dir={shards_dir}', f'--output_dir={folder}/run'),
      *(f'--total_rounds={_ROUNDS.value}', f'--clients_per_round={_CLIENTS.value}', '--sampling=fixed'),
      *('--client_batch_size=20', '--client_epochs_per_round=2', '--max_examples_per_client=100'),
      *('--server_optimizer=sgd', '--server_learning_rate=1', f'--client_learning_rate={_LEARNING_RATE}'),
      *('--quantization_bits=0', '--noise_multiplier=0', '--xla=no', f'--seed={seed}', '--model_size=32'),
      *(f'--rounds_per_eval={_ROUNDS_PER_EVAL}', f'--rounds_per_checkpoint={_ROUNDS.value}', *arguments),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if ended.returncode:
      raise ValueError(ended.stderr.strip().rpartition('\n')[2])
    with open(os.path.join(folder, 'run/operator/metrics.csv'), encoding='utf-8') as file:
      rows = list(csv.DictReader(file))
  accuracy = {int(row['round']): float(row['eval_accuracy']) for row in rows if row['eval_accuracy']}
  return Curve(accuracy, int(rows[-1]['bytes_up_per_client']) + int(rows[-1]['bytes_down_per_client']))


def rounds_to(curve: Curve, target: float) -> float:
  """Returns the first round whose accuracy was measured to be at least the target; infinity if there is none."""
  return min((number for number, accuracy in curve.accuracy.items() if accuracy >= target), default=float('inf'))


def describe(curves: Sequence[Curve], target: float) -> str:
  """Returns a row of the table: rounds to the target in each run, bytes in the median one, the last accuracies."""
  needed = [rounds_to(curve, target) for curve in curves]
  median = statistics.median(needed)
  shown = ', '.join('-' if number == float('inf') else f'{number:.0f}' for number in sorted(needed))
  megabytes = median * _CLIENTS.value * curves[0].bytes_of_client / 1e6
  last = [curve.accuracy[max(curve.accuracy)] for curve in curves]
  cells = [shown, '-' if median == float('inf') else f'{megabytes:,.0f}', f'{statistics.mean(last):.1%}']
  return ' | '.join(cells)


def draw(name: str, curves: Mapping[str, Sequence[Curve]], target: float, path: str) -> None:
  """Draws the mean accuracy of each algorithm by round, and the range of its runs."""
  import matplotlib

  matplotlib.use('Agg')
  from matplotlib import pyplot as plt

  figure, axes = plt.subplots(figsize=(8, 5), layout='constrained')
  for label, runs in curves.items():
    rounds = sorted(runs[0].accuracy)
    by_round = [[run.accuracy[number] for run in runs] for number in rounds]
    (line,) = axes.plot(rounds, [statistics.mean(values) for values in by_round], label=label)
    axes.fill_between(
      rounds, *zip(*((min(v), max(v)) for v in by_round), strict=True), color=line.get_color(), alpha=0.12
    )
  axes.axhline(target, color='grey', linestyle=':', label=f'target {target:.0%}')
  axes.set(title=f'{name}: held-out users, {len(runs)} runs each', xlabel='round', ylabel='accuracy', ylim=(0, 1))
  axes.legend()
  figure.savefig(path, dpi=100)
  plt.close(figure)


def main() -> None:
  """Prints and draws a data set when it is known."""
  if len(_SHARDS.value) != len(_TARGETS.value):
    raise ValueError(f'Expected a target for each folder of --shards, found {len(_TARGETS.value)}: set --targets.')
  for shards_dir, target in zip(_SHARDS.value, map(float, _TARGETS.value), strict=True):
    name = pathlib.Path(shards_dir).absolute().parent.name
    print(f'| {name} | rounds to {target:.0%} | MB to it, median | accuracy after {_ROUNDS.value} |')
    print('|---|---:|---:|---:|')
    curves = {}
    for label, arguments in ALGORITHMS.items():
      curves[label] = [train(shards_dir, seed, arguments) for seed in range(1, _SEEDS.value + 1)]
      print(f'| {label} | {describe(curves[label], target)} |', flush=True)
    draw(name, curves, target, os.path.join(_PLOT_DIR.value, f'rounds_to_target_{name}.png'))


if __name__ == '__main__':
  cli.run(main)
