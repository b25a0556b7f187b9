"""Clients a second of each algorithm on the local runtime, against FedAvg, and of a process of TFF on both runtimes.

  python -m benchmarks.algorithm_speed

The two sides of each row take turns, each in a process of its own, on the small CNN of benchmarks.rounds (W2).
"""

from collections.abc import Sequence
import os
import statistics
import tempfile

from absl import flags
import numpy as np

from benchmarks import interleaving
from common import cli

_WORKLOAD = flags.DEFINE_string('workload', 'W2', 'What the clients train: a name of benchmarks.rounds.')
_TURNS = flags.DEFINE_integer('turns', 5, 'Turns of each side.', lower_bound=1)

_ROWS = {
  'FedAvg, weighted by examples': ['--weighting=examples'],
  'FedAvg, momentum on the clients': ['--client_optimizer=momentum'],
  'FedAvg, Adam on the clients': ['--client_optimizer=adam'],
  'FedProx': ['--algorithm=fed_prox', '--algorithm_options=mu=0.1'],
  'SCAFFOLD': ['--algorithm=scaffold'],
  'FedNova': ['--algorithm=fed_nova'],
  'FedDyn': ['--algorithm=fed_dyn', '--algorithm_options=alpha=0.1'],
  'FedRecon, last layer local': ['--algorithm=fed_recon', '--algorithm_options=local_layers=logits'],
  'MimeLite, momentum': ['--algorithm=mime_lite', '--client_optimizer=momentum'],
}


# A whole learning process of TFF, on tf.data batches.
_TFF_PROCESS = ['--algorithm=examples.extensions.tff_process:TffMimeLite']


def main() -> None:
  """Prints the tables, a row when it is known."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  from benchmarks import workloads

  workload = workloads.build_workload(_WORKLOAD.value)
  with tempfile.TemporaryDirectory() as folder:
    workloads.write_clients(workload.schema, np.full(workload.clients, workload.examples), folder)
    local, reference = (
      [f'--workload={_WORKLOAD.value}', f'--shards_dir={folder}', f'--runtime={name}'] for name in ('local', 'tff')
    )
    print('| algorithm | clients/s | FedAvg beside it | ratio |')
    print('|---|---:|---:|---:|')
    for title, arguments in _ROWS.items():
      _compare(title, workload.clients, local, [*local, *arguments])
    print("\n| a process of TFF | clients/s, local | TFF's runtime beside it | ratio |")
    print('|---|---:|---:|---:|')
    _compare("TFF's MimeLite, momentum", workload.clients, [*reference, *_TFF_PROCESS], [*local, *_TFF_PROCESS])


def _compare(title: str, clients: int, base: Sequence[str], other: Sequence[str]) -> None:
  with interleaving.open_process(*base) as first, interleaving.open_process(*other) as second:
    answers = interleaving.interleave([first, second], _TURNS.value)
  base_rate, rate = (clients / statistics.median(answer.seconds for answer in side) for side in answers)
  print(f'| {title} | {rate:,.0f} | {base_rate:,.0f} | {rate / base_rate:.2f} |', flush=True)


if __name__ == '__main__':
  cli.run(main)
