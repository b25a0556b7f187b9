"""From typing the command to the end of the first round, against a program as in TFF's tutorials.

  python -m benchmarks.startup

Both sides train the quickstart's model on its data, so many users a round. They run in turns, each time in a process
whose lines of output tell its phases apart. The first run of each, in which Python compiles its modules, does not
count. Ours does more before its first round: it calibrates the noise, measures the initial model on held-out users and
saves a checkpoint. Processors' time is that of all threads and processes, and depends less on what else the machine
does.
"""

from collections.abc import Iterator, Sequence
import contextlib
import math
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from absl import flags
import psutil

from benchmarks import child_environment
from common import cli

_REPEATS = flags.DEFINE_integer('repeats', 5, 'Runs of each side.', lower_bound=1)
_CLIENTS = flags.DEFINE_integer('clients', 20, 'Users a round.', lower_bound=1)
_XLA = flags.DEFINE_string('xla', None, "What our program's --xla is set to; its default if unset.")

_ROOT = pathlib.Path(__file__).absolute().parent.parent
_PRESET = _ROOT / 'configs' / 'shakespeare_quickstart.flags'
_TO_ROUND_1 = 'to the end of round 1'

# No line of this is ours but what reads the data and builds the Keras model.
_TUTORIAL = """
import collections
import sys
import tensorflow as tf
import tensorflow_federated as tff
from models import registry
from contracts import client_shards
print('imported', flush=True)

shards = client_shards.ClientShards(sys.argv[1])
task = registry.get_task(shards.schema.task)
spec = collections.OrderedDict(
    (key, tf.TensorSpec((None, *feature.shape), feature.dtype))
    for key, feature in (('x', shards.schema.feature), ('y', shards.schema.label))
)

def build_model():
  return tff.learning.models.from_keras_model(
      task.build_model(shards.schema, task.default_size, False, None), input_spec=spec,
      loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
      metrics=[tf.keras.metrics.SparseCategoricalAccuracy()],
  )

def dataset(client):
  x, y = (array[:16] for array in shards.read('train', client))
  return tf.data.Dataset.from_tensor_slices(collections.OrderedDict(x=x, y=y)).shuffle(16).batch(4)

process = tff.learning.algorithms.build_weighted_fed_avg(
    build_model, tff.learning.optimizers.build_sgdm(2.0), tff.learning.optimizers.build_adam(0.02)
)
print('built', flush=True)
process.next(process.initialize(), [dataset(client) for client in range(int(sys.argv[2]))])
print('round 1', flush=True)
"""


class Phase(NamedTuple):
  """A part of a run: what it does, and how the line begins that is printed after it."""

  name: str
  line: str


class Spent(NamedTuple):
  """Seconds on the clock, and of all processors together."""

  seconds: float
  cpu_seconds: float

  def __sub__(self, other: 'Spent') -> 'Spent':
    return Spent(self.seconds - other.seconds, self.cpu_seconds - other.cpu_seconds)


_PHASES = {
  'ours': (
    Phase('imports, flags, data, building', 'Starting'),
    Phase('the initial model measured and saved, round 1', 'round 1/'),
    Phase('final figures, report', 'Report:'),
  ),
  'TFF as in its tutorials': (
    Phase('imports', 'imported'),
    Phase('building', 'built'),
    Phase('initial model, round 1', 'round 1'),
  ),
}


def run(side: str, shards_dir: str, clients: int, compiled: str) -> dict[str, Spent]:
  """Runs one side to its end and returns what each of its phases took.

  Args:
    side: Which one.
    shards_dir: The data.
    clients: Clients of a round.
    compiled: The folder of compiled modules.

  Raises:
    ValueError: If the program fails.
  """
  spent, before = {}, Spent(0.0, 0.0)
  with (
    tempfile.TemporaryDirectory() as folder,
    _process(_command(side, shards_dir, clients, folder), compiled) as process,
  ):
    started = time.perf_counter()
    lines = iter(process.stdout)  # type: ignore[arg-type]
    for phase in _PHASES[side]:
      if not any(line.startswith(phase.line) for line in lines):
        raise ValueError(f'Expected a line {phase.line!r} of {side}, found its end: run the command by hand.')
      now = Spent(time.perf_counter() - started, _cpu_seconds(process.pid))
      spent[phase.name] = now - before
      if phase.line.startswith('round 1'):
        spent[_TO_ROUND_1] = now
      before = now
    process.wait()
    # Who has ended cannot be asked for the processors' time.
    spent['end'] = Spent(time.perf_counter() - started - before.seconds, math.nan)
  return spent


def _command(side: str, shards_dir: str, clients: int, folder: str) -> Sequence[str]:
  if side != 'ours':
    return [sys.executable, '-c', _TUTORIAL, shards_dir, str(clients)]
  arguments = [f'--shards_dir={shards_dir}', f'--output_dir={folder}/run', f'--clients_per_round={clients}']
  if _XLA.value is not None:
    arguments.append(f'--xla={_XLA.value}')
  return [sys.executable, '-m', 'tff_tasks.train', f'--flagfile={_PRESET}', '--total_rounds=1', *arguments]


@contextlib.contextmanager
def _process(command: Sequence[str], compiled: str) -> Iterator[subprocess.Popen[str]]:
  """Starts a program in a session of its own, and ends what is left of that afterwards: TFF's server may be."""
  environment = {**child_environment.compiled(compiled), 'TF_CPP_MIN_LOG_LEVEL': '3'}
  with subprocess.Popen(
    command,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    stdin=subprocess.DEVNULL,
    text=True,
    cwd=_ROOT,
    env=environment,
    start_new_session=True,
  ) as process:
    try:
      yield process
    finally:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _cpu_seconds(pid: int) -> float:
  process = psutil.Process(pid)
  times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
  return sum(time.user + time.system for time in times)


def main() -> None:
  """Makes the data set, runs the sides in turns, and prints the medians."""
  with tempfile.TemporaryDirectory() as folder:
    shards_dir = os.path.join(folder, 'shards')
    arguments = ['--dataset=configs/datasets/shakespeare_characters.toml', f'--output_dir={shards_dir}']
    data = '--input=examples/shakespeare/utterances.jsonl.gz'
    command = [sys.executable, '-m', 'pipelines.preprocess', *arguments, data]
    subprocess.run(command, cwd=_ROOT, check=True, stdout=subprocess.DEVNULL)
    runs: dict[str, list[dict[str, Spent]]] = {side: [] for side in _PHASES}
    for _ in range(1 + _REPEATS.value):
      for side, found in runs.items():
        found.append(run(side, shards_dir, _CLIENTS.value, os.path.join(folder, 'compiled')))
  for side, (_, *found) in runs.items():
    print(f'{side:<50}{"seconds":>10}{"of processors":>15}')
    for name in found[0]:
      seconds, cpu_seconds = (statistics.median(values) for values in zip(*(each[name] for each in found), strict=True))
      print(f'  {name:<48}{seconds:>10.2f}' + ('' if math.isnan(cpu_seconds) else f'{cpu_seconds:>15.2f}'))


if __name__ == '__main__':
  cli.run(main)
