"""Clients a second of each algorithm on the local runtime, against FedAvg.

  python -m benchmarks.algorithm_speed

The two sides of each row take turns, each in a process of its own, on the small CNN of benchmarks.rounds (W2).
"""

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


def main() -> None:
  """Prints the table, a row when it is known."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  from benchmarks import workloads

  workload = workloads.build_workload(_WORKLOAD.value)
  print('| algorithm | clients/s | FedAvg beside it | ratio |')
  print('|---|---:|---:|---:|')
  with tempfile.TemporaryDirectory() as folder:
    workloads.write_clients(workload.schema, np.full(workload.clients, workload.examples), folder)
    common = [f'--workload={_WORKLOAD.value}', f'--shards_dir={folder}', '--runtime=local']
    for title, arguments in _ROWS.items():
      with interleaving.open_process(*common) as fed_avg, interleaving.open_process(*common, *arguments) as other:
        answers = interleaving.interleave([fed_avg, other], _TURNS.value)
      base, rate = (workload.clients / statistics.median(answer.seconds for answer in side) for side in answers)
      print(f'| {title} | {rate:,.0f} | {base:,.0f} | {rate / base:.2f} |', flush=True)


if __name__ == '__main__':
  cli.run(main)
