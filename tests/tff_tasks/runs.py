"""Whole runs: one that is real, and others whose rounds are scripted, in folders of one data set."""

import dataclasses
import functools
import io
import os
import shutil
import tempfile
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized

from contracts import client_shards
from contracts import released_model
from tests.tff_tasks import fakes
from tests.tff_tasks import scripted
from tff_tasks.training import checkpoints
from tff_tasks.training import program_state
from tff_tasks.training import run as run_lib

FLAGFILE = '--clip_norm=0.1\n'


@functools.cache
def finished_run() -> tuple[str, str]:
  """Returns the run directory of a real run of the fakes' config on their shards, made once, and what it printed."""
  folder, stream = tempfile.mkdtemp(dir=absltest.get_default_test_tmpdir()), io.StringIO()
  shards = fakes.write_shards(os.path.join(folder, 'shards'))
  config = dataclasses.replace(fakes.CONFIG, output_dir=os.path.join(folder, 'run'))
  run_lib.train(config, shards, FLAGFILE, stream)
  return config.output_dir, stream.getvalue()


def train_and_load(
  shards: client_shards.ClientShards, output_dir: str, flagfile: str = '', **changes: Any
) -> tuple[released_model.ReleasedModel, dict[str, Any]]:
  """Trains the fakes' config with changes, really, and returns the released model and its ledger."""
  config = dataclasses.replace(fakes.CONFIG, output_dir=output_dir, **changes)
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
