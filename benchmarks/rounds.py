"""Clients a second of our runtimes, against the bare TensorFlow loop that one would write by hand.

  python benchmarks/rounds.py --workload=W2 --runtime=local --json
  python benchmarks/rounds.py --all

Both sides take turns, each in a process of its own, and medians are compared: on a noisy machine the ratio says more
than either figure. Ours reads its clients from shards on disk; the bare loop has them in memory.
"""

import contextlib
import json
import os
import pathlib
import statistics
import sys
import tempfile
from typing import Any

from absl import flags
import numpy as np

if __name__ == '__main__':
  # Run as a file, Python looks for modules in this folder instead of in the one above.
  sys.path[0] = str(pathlib.Path(__file__).absolute().parent.parent)

from benchmarks import interleaving
from common import cli

_WORKLOADS = {
  'W1': 'W1 logistic regression',
  'W2': 'W2 small CNN',
  'W3': 'W3 CNN, 1.66 M weights',
  'W4': 'W4 GRU 128, next character',
  'W5': 'W5 = W2 with central DP',
  'W5Q': 'W5Q = W5 with 8-bit updates',
}
_STOCK = ('tff_best', 'tff_tutorial')

_WORKLOAD = flags.DEFINE_enum('workload', 'W2', list(_WORKLOADS), 'What the clients train.')
_RUNTIME = flags.DEFINE_enum(
  'runtime',
  'local',
  ['local', 'tff', *_STOCK],
  "local, tff: ours; tff_best, tff_tutorial: TFF's own learning process, tuned and as in its tutorials.",
)
_ALL = flags.DEFINE_bool('all', False, 'Print the table of all workloads, with local, tff_best and tff_tutorial.')
_TURNS = flags.DEFINE_integer('turns', 5, 'Turns of each side.', lower_bound=1)
_XLA = flags.DEFINE_bool('xla', None, 'Whether XLA compiles our clients; by their operations if unset.')
_JSON = flags.DEFINE_bool('json', False, 'Print one line of JSON.')


def compare(workload_name: str, runtime: str, use_xla: bool | None, num_turns: int) -> dict[str, Any]:
  """Returns the medians of both sides, and their ratio."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  from benchmarks import workloads

  workload = workloads.build_workload(workload_name)
  with contextlib.ExitStack() as stack:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    workloads.write_clients(workload.schema, np.full(workload.clients, workload.examples), folder)
    common = [f'--workload={workload_name}', f'--shards_dir={folder}']
    xla = [] if use_xla is None else [f'--xla={str(use_xla).lower()}']
    bare = stack.enter_context(interleaving.open_process(*common, '--runtime=bare'))
    ours = stack.enter_context(interleaving.open_process(*common, f'--runtime={runtime}', *xla))
    answers = interleaving.interleave([bare, ours], num_turns)
  bare_rate, rate = (workload.clients / statistics.median(answer.seconds for answer in side) for side in answers)
  return {
    'workload': workload_name,
    'runtime': runtime,
    'xla': answers[1][-1].xla,
    'clients_per_s': round(rate, 1),
    'bare_clients_per_s': round(bare_rate, 1),
    'ratio': round(rate / bare_rate, 2),
    'peak_rss_mb': round(answers[1][-1].peak_rss_mb),
    'first_round_s': round(ours.first.seconds, 1),
  }


def print_table(num_turns: int) -> None:
  """Runs every workload on `local` and on TFF as it comes; prints a row when it is known."""
  print('| workload | local | bare loop beside it | ratio | TFF, best | ratio | TFF, tutorials | ratio |')
  print('|---|---:|---:|---:|---:|---:|---:|---:|')
  for workload, title in _WORKLOADS.items():
    ours = compare(workload, 'local', None, num_turns)
    cells = [title, *(f'{ours[name]:,.4g}' for name in ('clients_per_s', 'bare_clients_per_s')), f'{ours["ratio"]:.2f}']
    for runtime in _STOCK:
      if workload == 'W5Q':
        cells += ['', '']  # TFF has no quantization that keeps what DP promises.
        continue
      theirs = compare(workload, runtime, None, num_turns)
      cells += [f'{theirs["clients_per_s"]:,.4g}', f'{theirs["ratio"]:.2f}']
    print(f'| {" | ".join(cells)} |', flush=True)


def main() -> None:
  """Runs one workload, or all."""
  if _ALL.value:
    print_table(_TURNS.value)
    return
  figures = compare(_WORKLOAD.value, _RUNTIME.value, _XLA.value, _TURNS.value)
  print(json.dumps(figures) if _JSON.value else '\n'.join(f'{name:20}{value}' for name, value in figures.items()))


if __name__ == '__main__':
  cli.run(main)
