"""Tests that a run directory is resumed by the run that began it and by no other."""

import errno
import json
import math
import os
import pathlib
import tempfile
from typing import Any
from unittest import mock

from absl import flags
from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from models import released
from pipelines import client_shards
from tests.tff_tasks import fakes
from tff_tasks import run_directory

_FLAGS = (
    '--shards_dir=shards\n--output_dir=run\n--total_rounds=10\n--clip_norm=0.3\n--seed=7\n--runtime=local\n'
    '--rounds_per_checkpoint=5\n--on_client_error=stop\n'
)


class RunDirectoryTest(parameterized.TestCase):
  shards: client_shards.ClientShards

  @classmethod
  def setUpClass(cls) -> None:
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.shards = fakes.write_shards(os.path.join(folder, 'shards'))

  def setUp(self) -> None:
    super().setUp()
    self._run_dir = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), 'runs', 'first')

  def _config(self) -> str:
    return pathlib.Path(self._run_dir, run_directory.CONFIG_NAME).read_text()

  def _prepare(
      self, flagfile: str = _FLAGS, shards: client_shards.ClientShards | None = None, last_round: int | None = 3
  ) -> None:
    with run_directory.hold(self._run_dir):
      run_directory.claim(self._run_dir, flagfile, shards or self.shards, last_round)

  def test_makes_the_directory_and_keeps_the_flags(self) -> None:
    self._prepare()
    self.assertStartsWith(self._config(), _FLAGS + '# data: ')

  def test_the_kept_flags_are_a_flag_file(self) -> None:
    self._prepare()
    values = flags.FlagValues()
    for name in (
        'shards_dir', 'output_dir', 'total_rounds', 'clip_norm', 'seed', 'runtime', 'rounds_per_checkpoint',
        'on_client_error',
    ):  # fmt: skip
      flags.DEFINE_string(name, None, '', flag_values=values)
    values(['train', f'--flagfile={os.path.join(self._run_dir, run_directory.CONFIG_NAME)}'])
    self.assertEqual((values.total_rounds, values.rounds_per_checkpoint), ('10', '5'))

  def test_the_same_flags_resume(self) -> None:
    self._prepare()
    self._prepare()
    self._prepare(''.join(reversed(_FLAGS.splitlines(keepends=True))))

  def test_flags_that_do_not_change_the_outcome_may_change(self) -> None:
    self._prepare()
    changed = (
        '--shards_dir=elsewhere\n--output_dir=there\n--total_rounds=10\n--clip_norm=0.3\n--seed=7\n--runtime=local\n'
        '--rounds_per_checkpoint=1\n--on_client_error=skip\n'
    )
    self._prepare(changed)
    self.assertStartsWith(self._config(), changed)
    self._prepare('--total_rounds=10\n--clip_norm=0.3\n--seed=7\n--runtime=local\n')

  @parameterized.parameters(
      ('--total_rounds=10', '--total_rounds=100', '(--total_rounds=10), found --total_rounds=100:'),
      ('--clip_norm=0.3', '--clip_norm=0.31', '(--clip_norm=0.3), found --clip_norm=0.31:'),
      ('--clip_norm=0.3\n', '', '(--clip_norm=0.3), found no --clip_norm:'),
      ('--seed=7\n', '', '(--seed=7), found no --seed:'),
      ('--seed=7', '--seed=7\n--xla=yes', '(no --xla), found --xla=yes:'),
      ('--runtime=local', '--runtime=tff', '(--runtime=local), found --runtime=tff:'),
      ('--seed=7', '--seed=7\n--target_epsilon=7', '(no --target_epsilon), found --target_epsilon=7:'),
  )
  def test_another_flag_is_refused_by_its_name(self, old: str, new: str, message: str) -> None:
    self._prepare()
    before = self._config()
    with self.assertRaises(ValueError) as caught:
      self._prepare(_FLAGS.replace(old, new))
    self.assertStartsWith(str(caught.exception), f'Expected the flags of the run in {self._run_dir} {message}')
    self.assertEqual(self._config(), before)

  def test_a_run_that_never_began_binds_nobody(self) -> None:
    self._prepare()
    self._prepare('--clip_norm=0.9\n', last_round=None)
    self.assertStartsWith(self._config(), '--clip_norm=0.9\n')

  def test_a_run_that_lost_its_checkpoints_is_not_run_again(self) -> None:
    self._prepare(last_round=None)
    pathlib.Path(self._run_dir, released.FILE_NAME).touch()
    with self.assertRaisesRegex(ValueError, 'Expected the checkpoints of the run .* found none'):
      self._prepare(last_round=None)

  def test_a_round_whose_model_is_out_is_not_run_again(self) -> None:
    self._prepare(last_round=None)
    released.save(released.ReleasedModel(fakes.SCHEMA, 5, 4, [np.zeros(3, np.float32)]), self._run_dir)
    self._prepare(last_round=4)
    self._prepare(last_round=5)
    with self.assertRaisesRegex(ValueError, 'Expected the checkpoint of round 4 .* whose model is out, found that of'):
      self._prepare(last_round=3)

  def test_a_damaged_model_is_no_reason_not_to_resume(self) -> None:
    self._prepare(last_round=None)
    pathlib.Path(self._run_dir, released.FILE_NAME).write_bytes(b'damaged')
    self._prepare(last_round=3)

  def test_one_trainer_at_a_time(self) -> None:
    with (
        run_directory.hold(self._run_dir),
        self.assertRaisesRegex(ValueError, 'Expected no other trainer at work'),
        run_directory.hold(self._run_dir),
    ):
      self.fail('two trainers hold the same directory')
    self._prepare()

  def test_a_disk_that_fills_up_is_one_clear_line(self) -> None:
    message = 'Expected a run directory that can be written at .*No space left on device'
    with self.assertRaisesRegex(ValueError, message), run_directory.hold(self._run_dir):
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'metrics.csv')

  def test_other_data_is_refused(self) -> None:
    self._prepare()
    before = self._config()
    changes: tuple[dict[str, Any], ...] = ({'seed': 1}, {'sizes': fakes.SIZES[:-1]})
    for number, options in enumerate(changes):
      path = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), str(number))
      with self.assertRaisesRegex(ValueError, '^Expected the data that the run in .* began with, found other shards'):
        self._prepare(shards=fakes.write_shards(path, **options))
    self.assertEqual(self._config(), before)

  def test_the_same_data_elsewhere_resumes(self) -> None:
    self._prepare()
    path = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), 'copy')
    self._prepare(shards=fakes.write_shards(path))

  def test_a_folder_that_cannot_be_written(self) -> None:
    os.makedirs(self._run_dir)
    real_open = open

    def refuse(path: str, mode: str = 'r', **options: Any) -> object:
      if 'w' in mode:
        raise PermissionError(13, 'Permission denied', path)
      return real_open(path, mode, **options)

    message = '^Expected a run directory that can be written at .*, found: Permission denied; mend that'
    with mock.patch('builtins.open', refuse), self.assertRaisesRegex(ValueError, message):
      self._prepare()
    self.assertEmpty(os.listdir(self._run_dir))

  def test_a_file_in_the_way(self) -> None:
    os.makedirs(os.path.dirname(self._run_dir))
    pathlib.Path(self._run_dir).write_text('in the way')
    message = '^Expected a run directory that can be written at .*, found: File exists; mend that'
    with self.assertRaisesRegex(ValueError, message):
      self._prepare()

  def test_json_is_written_whole(self) -> None:
    self._prepare()
    run_directory.write_json(self._run_dir, 'run.json', {'epsilon': None, 'rounds': 3, 'accuracy': 0.5})
    text = pathlib.Path(self._run_dir, 'run.json').read_text()
    self.assertEndsWith(text, '\n')
    self.assertEqual(json.loads(text), {'epsilon': None, 'rounds': 3, 'accuracy': 0.5})

  @parameterized.parameters(math.nan, math.inf, -math.inf, np.float64('nan'))
  def test_what_is_no_number_is_null(self, value: float) -> None:
    """The loss of a diverged model, the accuracy of no held-out users: the run still ends with its figures."""
    self._prepare()
    run_directory.write_json(self._run_dir, 'run.json', {'loss': value, 'rounds': 3})
    found = json.loads(pathlib.Path(self._run_dir, 'run.json').read_text())
    self.assertEqual(found, {'loss': None, 'rounds': 3})


if __name__ == '__main__':
  absltest.main()
