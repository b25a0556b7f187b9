"""One side of a comparison, in a process of its own: runs as many rounds as each line of its input says.

Started by benchmarks.interleaving, which reads the answers: a line of JSON after the first round, and one for each
line.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import sys
import time
from typing import Protocol, TextIO

from absl import flags
import psutil

from common import cli
from contracts import client_shards
from tff_tasks.runtime import start_up

_WORKLOAD = flags.DEFINE_string('workload', None, 'A name of benchmarks.workloads.', required=True)
_RUNTIME = flags.DEFINE_enum(
  'runtime', None, ['bare', 'local', 'tff', 'tff_best', 'tff_tutorial'], 'What runs the rounds.', required=True
)
_SHARDS_DIR = flags.DEFINE_string('shards_dir', None, 'Where the clients are.', required=True)
_CLIENTS = flags.DEFINE_integer('clients', None, "Clients a round; the workload's number if unset.", lower_bound=1)
_XLA = flags.DEFINE_bool('xla', None, 'Whether XLA compiles our clients; by their operations if unset.')
_ALGORITHM = flags.DEFINE_string('algorithm', 'fed_avg', 'As of tff_tasks.train, for our runtimes.')
_ALGORITHM_OPTIONS = flags.DEFINE_list('algorithm_options', [], 'As of tff_tasks.train.')
_OPTIMIZER = flags.DEFINE_string('client_optimizer', 'sgd', 'As of tff_tasks.train.')
_WEIGHTING = flags.DEFINE_string('weighting', 'uniform', 'As of tff_tasks.train.')

_SECONDS_TO_END = 5
_MB = 1_000_000


class Rounds(Protocol):
  """What runs rounds, one a call of `run`. `use_xla`: whether XLA compiles the clients; None if only TFF knows."""

  @property
  def use_xla(self) -> bool | None: ...

  def run(self) -> None: ...

  def close(self) -> None: ...


def main() -> None:
  """Runs a first round, and then what is asked for."""
  shards = client_shards.ClientShards(_SHARDS_DIR.value)
  answers = _take_output()
  build = _load_builder()
  with _no_children_left():
    started = time.perf_counter()
    with contextlib.closing(build(shards)) as rounds:
      rounds.run()
      _answer(answers, started, rounds)
      for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
          rounds.run()
        _answer(answers, started, rounds)


def _take_output() -> TextIO:
  """Returns the standard output for ourselves: what is printed by others, TFF's server among them, becomes an error."""
  answers = os.fdopen(os.dup(sys.stdout.fileno()), 'w', buffering=1)
  os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
  return answers


def _load_builder() -> Callable[[client_shards.ClientShards], Rounds]:
  """Imports what takes seconds to import, which is not part of a first round."""
  if _RUNTIME.value in ('local', 'tff'):
    start_up.start_tensorflow()
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  import tensorflow as tf

  from benchmarks import workloads

  workload = workloads.build_workload(_WORKLOAD.value)
  if _CLIENTS.value:
    workload = dataclasses.replace(workload, clients=_CLIENTS.value)
  if _RUNTIME.value == 'tff_tutorial':
    from benchmarks import stock_tff

    return functools.partial(stock_tff.TutorialRounds, workload)
  if _RUNTIME.value in ('local', 'tff'):
    from benchmarks import runtime_rounds
    from tff_tasks.algorithms import registry

    training = runtime_rounds.Training(
      registry.build(_ALGORITHM.value, _ALGORITHM_OPTIONS.value), _OPTIMIZER.value, _WEIGHTING.value
    )
    return functools.partial(
      runtime_rounds.RuntimeRounds, workload, runtime=_RUNTIME.value, use_xla=_XLA.value, training=training
    )
  # A client trains on one core, as with ours.
  tf.config.threading.set_intra_op_parallelism_threads(1)
  if _RUNTIME.value == 'tff_best':
    from benchmarks import stock_tff

    return functools.partial(stock_tff.TunedRounds, workload)
  from benchmarks import tensorflow_loop

  return functools.partial(tensorflow_loop.TensorflowLoop, workload)


@contextlib.contextmanager
def _no_children_left() -> Iterator[None]:
  """Ends TFF's server, which outlives a process that does not end it."""
  try:
    yield
  finally:
    children = psutil.Process().children(recursive=True)
    for child in children:
      child.terminate()
    _, alive = psutil.wait_procs(children, timeout=_SECONDS_TO_END)
    for child in alive:
      child.kill()


def _answer(answers: TextIO, started: float, rounds: Rounds) -> None:
  seconds = time.perf_counter() - started
  processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
  answer = {
    'seconds': seconds,
    'xla': rounds.use_xla,
    'rss_mb': sum(process.memory_info().rss for process in processes) / _MB,
    'peak_rss_mb': sum(_peak_bytes(process.pid) for process in processes) / _MB,
  }
  print(json.dumps(answer), file=answers)


def _peak_bytes(pid: int) -> int:
  """Returns the most bytes a process had in memory; `getrusage` would count in those of the one it was forked off."""
  status = pathlib.Path(f'/proc/{pid}/status').read_text()
  return 1024 * int(status.partition('VmHWM:')[2].split()[0])


if __name__ == '__main__':
  cli.run(main)
