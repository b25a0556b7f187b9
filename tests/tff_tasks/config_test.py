"""Tests that a config is read as the program wrote it."""

import dataclasses
import subprocess
import sys

from absl.testing import absltest
import pytest

from tests import layout
from tff_tasks import config as config_lib

_PROGRAM = """
import sys
from absl import flags
from tff_tasks import config as config_lib
from tff_tasks import train
flags.FLAGS(sys.argv)
fields = {field.name: flags.FLAGS[field.name].value for field in config_lib.dataclasses.fields(config_lib.Config)}
lines = {line.split('=')[0]: line for line in train._flagfile().splitlines()}
print(config_lib.read(lines) == config_lib.Config(**fields), lines)
"""
_FLAGS = (
  *('--shards_dir=a,b', '--output_dir=out=put', '--total_rounds=3', '--clients_per_round=2', '--max_gradient_norm=0.5'),
  *('--client_learning_rate=0.25', '--client_batch_size=4', '--noise_multiplier=0', '--clip_norm=0.5'),
  *('--algorithm_options=a=1,b=2', '--seed=7', '--max_examples_per_client=8', '--server_learning_rate=1'),
)


class ConfigTest(absltest.TestCase):
  @pytest.mark.slow
  def test_is_what_the_program_wrote(self) -> None:
    command = [sys.executable, '-c', _PROGRAM, *_FLAGS]
    done = subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, timeout=60, check=False)
    self.assertStartsWith(done.stdout, 'True ', done.stderr)

  def test_a_flag_that_is_missing_is_named(self) -> None:
    with self.assertRaisesRegex(ValueError, '^Expected --shards_dir among the flags of the run, found none: '):
      config_lib.read({})

  def test_flags_that_earlier_versions_lack_have_defaults(self) -> None:
    defaults = {field.name for field in dataclasses.fields(config_lib.Config) if field.default != dataclasses.MISSING}
    self.assertIn('compression', defaults)


if __name__ == '__main__':
  absltest.main()
