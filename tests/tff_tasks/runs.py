"""Whole runs: one that is real, and others whose rounds are scripted, in folders of one data set."""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import functools
import io
import os
import shutil
import tempfile
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import tensorflow as tf

from contracts import client_shards
from contracts import released_model
from contracts import schema as schema_lib
from models import functional_model
from models import registry
from models import task as task_lib
from reporting import charts
from tests.tff_tasks import compiled_once
from tests.tff_tasks import fakes
from tests.tff_tasks import scripted
from tff_tasks import config as config_lib
from tff_tasks.algorithms import learning_process
from tff_tasks.training import checkpoints
from tff_tasks.training import parts
from tff_tasks.training import program_state
from tff_tasks.training import run as run_lib

FLAGFILE = '--clip_norm=0.1\n'
# What no learning process is built of, or what it gets as an argument of its own.
_NOT_OF_PROCESS = {
  *('output_dir', 'shards_dir', 'branch_from', 'on_client_error', 'rounds_per_checkpoint', 'rounds_per_eval', 'xla'),
  *('personalize_epochs', 'personalize_learning_rate', 'seed', 'total_rounds', 'target_epsilon', 'noise_multiplier'),
}
_build_process = parts.build_learning_process  # Itself: `shared` replaces its name.
_FunctionalModel = functional_model.FunctionalModel
_processes: dict[Any, learning_process.Built] = {}


def _build_small_model(
  schema: schema_lib.Schema, model_size: int, unroll: bool = False, batch_size: int | None = None
) -> tf.keras.Model:
  """Builds the next character by the one before it: the recurrent model takes many times as long to compile."""
  del unroll
  inputs = tf.keras.Input(schema.feature.shape, batch_size, schema.feature.name)
  embedded = tf.keras.layers.Embedding(schema.num_classes, model_size, name='embedding')(inputs)
  return tf.keras.Model(inputs, tf.keras.layers.Dense(schema.num_classes, name='logits')(embedded))


@contextlib.contextmanager
def small_model() -> Iterator[None]:
  """Gives runs of next characters a model without a recurrent layer."""
  tasks: dict[str, task_lib.Task] = registry._TASKS
  small = dataclasses.replace(tasks['next_character'], build_model=_build_small_model)
  with mock.patch.dict(tasks, next_character=small):
    yield


@functools.lru_cache(8)
def _build_shared_model(
  build: Callable[..., tf.keras.Model], arguments: tuple[Any, ...], seed: int
) -> functional_model.FunctionalModel:
  return _FunctionalModel(functools.partial(build, *arguments), seed)


@contextlib.contextmanager
def shared() -> Iterator[None]:
  """Lets real runs take the model and the compiled process of an earlier one that has the same; draws no chart."""

  def build_model(build: functools.partial[tf.keras.Model], seed: int) -> functional_model.FunctionalModel:
    return _build_shared_model(build.func, build.args, seed)

  def build_process(config: config_lib.Config, *others: Any) -> learning_process.Built:
    values = {name: value for name, value in dataclasses.asdict(config).items() if name not in _NOT_OF_PROCESS}
    key = repr(values), others
    if key not in _processes:
      if len(_processes) > 8:
        _processes.clear()
      _processes[key] = _build_process(config, *others)
    return _processes[key]

  with (
    compiled_once.shared(),
    mock.patch.object(functional_model, 'FunctionalModel', build_model),
    mock.patch.object(parts, 'build_learning_process', build_process),
    mock.patch.object(charts, 'draw', return_value='<svg></svg>'),
  ):
    yield


def make_small(test: absltest.TestCase) -> None:
  """Lets the real runs of a test have a small model, and share it and what is compiled for it."""
  test.enterContext(small_model())
  test.enterContext(shared())


@functools.cache
def finished_run() -> tuple[str, str]:
  """Returns the run directory of a real run of the fakes' config on their shards, made once, and what it printed."""
  folder, stream = tempfile.mkdtemp(dir=absltest.get_default_test_tmpdir()), io.StringIO()
  shards = fakes.write_shards(os.path.join(folder, 'shards'))
  config = dataclasses.replace(fakes.CONFIG, output_dir=os.path.join(folder, 'run'))
  with small_model():
    run_lib.train(config, shards, FLAGFILE, stream)
  return config.output_dir, stream.getvalue()


def train_and_load(
  shards: client_shards.ClientShards, output_dir: str, flagfile: str = '', **changes: Any
) -> tuple[released_model.ReleasedModel, dict[str, Any]]:
  """Trains the fakes' config with changes, really, and returns the released model and its ledger."""
  config = dataclasses.replace(fakes.CONFIG, output_dir=output_dir, **changes)
  with small_model(), shared():
    run_lib.train(config, shards, flagfile, io.StringIO())
  return released_model.load_with_ledger(output_dir)


class RunsTestCase(parameterized.TestCase):
  """Trains runs by name, their config given as changes.

  Attributes:
    stream: What they say.
    shards: What they train on.
  """

  def setUp(self) -> None:
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.shards = fakes.write_shards(os.path.join(self.folder, 'shards'), sizes=(2,) * 30)
    self.stream = io.StringIO()

  def train(self, name: str, script: scripted.Script = scripted.NOTHING_HAPPENS, **changes: Any) -> scripted.Runtime:
    config = dataclasses.replace(
      fakes.CONFIG, output_dir=self.path(name), **{'total_rounds': 6, 'rounds_per_checkpoint': 2, **changes}
    )
    flagfile = ''.join(
      f'--{field}={value}\n' for field, value in dataclasses.asdict(config).items() if value is not None
    )
    with script.play() as runtime:
      run_lib.train(config, self.shards, flagfile, self.stream)
    return runtime

  def path(self, *names: str) -> str:
    return os.path.join(self.folder, *names)

  def ledger(self, name: str) -> dict:
    return released_model.load_with_ledger(self.path(name))[1]

  def saved(self, name: str) -> program_state.ProgramState:
    saved = checkpoints.load_last(self.path(name, 'secret/checkpoints'))
    assert saved is not None
    return saved

  def copy_checkpoints(self, source: str, target: str) -> None:
    shutil.copytree(self.path(source, 'secret/checkpoints'), self.path(target, 'secret/checkpoints'))
