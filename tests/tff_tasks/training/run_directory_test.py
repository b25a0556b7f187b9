"""Tests that a run directory is resumed by the run that began it and by no other."""

import dataclasses
import errno
import json
import math
import os
import pathlib
import re
import tempfile
from typing import Any
from unittest import mock

from absl import flags
from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from common import sealed_json
from contracts import released_model
from tests.tff_tasks import fakes
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.training import history as history_lib
from tff_tasks.training import metrics
from tff_tasks.training import program_state
from tff_tasks.training import run_directory

_FLAGS = (
  '--shards_dir=shards\n--output_dir=run\n--total_rounds=10\n--clip_norm=0.3\n--seed=7\n--runtime=local\n'
  '--rounds_per_checkpoint=5\n--on_client_error=stop\n'
)


def _without_checksum(value: dict[str, Any]) -> dict[str, Any]:
  return {name: item for name, item in value.items() if name != sealed_json.CHECKSUM}


class RunDirectoryTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._saved: program_state.ProgramState | None = None
    self._run_dir = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), 'runs', 'first')

  def _config(self) -> str:
    return pathlib.Path(self._run_dir, run_directory.CONFIG_NAME).read_text()

  def _prepare(
    self, flagfile: str = _FLAGS, data: str = 'data', total_rounds: int = 10, plan: plan_lib.PrivacyPlan = fakes.PLAN
  ) -> None:
    """Begins the run in the directory, or resumes it."""
    with run_directory.hold(self._run_dir):
      asked = history_lib.begin(flagfile, data, total_rounds, plan)
      if self._saved:
        run_directory.check_same_run(self._run_dir, self._saved, asked)
        asked = dataclasses.replace(self._saved.history, flags=asked.flags)
      else:
        run_directory.check_new(self._run_dir)
        begun = asked.after(3)
        self._saved = program_state.ProgramState(3, seeds.Seed(b''), {}, [], begun, metrics.Rows())
      run_directory.write_config(self._run_dir, asked)

  def _release(self, round_number: int, **changes: Any) -> None:
    assert self._saved is not None
    run = self._saved.history.with_current(**changes).run
    model = released_model.ReleasedModel(fakes.SCHEMA, 5, round_number, [np.zeros(3, np.float32)], run)
    released_model.save(model, {}, self._run_dir)

  def test_makes_the_directory_and_keeps_the_flags(self) -> None:
    self._prepare()
    assert self._saved is not None
    self.assertEqual(self._config(), f'{_FLAGS}# data: data\n# run: {self._saved.history.run[0]}\n')

  def test_the_kept_flags_are_a_flag_file(self) -> None:
    self._prepare()
    values = flags.FlagValues()
    for name in re.findall(r'--(\w+)=', _FLAGS):
      flags.DEFINE_string(name, None, '', flag_values=values)
    values(['train', f'--flagfile={os.path.join(self._run_dir, run_directory.CONFIG_NAME)}'])
    self.assertEqual((values.total_rounds, values.rounds_per_checkpoint), ('10', '5'))

  def test_the_same_flags_resume(self) -> None:
    for _ in range(2):
      self._prepare()
    self._prepare(''.join(reversed(_FLAGS.splitlines(keepends=True))))
    added = ('--mechanism=gaussian', '--compression=quantization', '--runtime_options=', '--mechanism_options=')
    self._prepare('\n'.join([_FLAGS, *added, '--compression_options=\n']))  # Earlier runs have no such flags.

  def test_a_flag_whose_value_was_renamed_resumes(self) -> None:
    for value in ('measured', 'auto', 'measured'):
      self._prepare(f'{_FLAGS}--xla={value}\n')

  def test_flags_that_do_not_change_the_outcome_may_change(self) -> None:
    self._prepare()
    changed = (
      '--shards_dir=elsewhere\n--output_dir=there\n--total_rounds=10\n--clip_norm=0.3\n--seed=7\n--runtime=local\n'
      '--rounds_per_checkpoint=1\n--rounds_per_eval=3\n--on_client_error=skip\n'
    )
    self._prepare(changed)
    self.assertStartsWith(self._config(), changed)
    self._prepare('--total_rounds=10\n--clip_norm=0.3\n--seed=7\n--runtime=local\n')

  @parameterized.parameters(
    ('--clip_norm=0.3', '--clip_norm=0.31', '(--clip_norm=0.3), found --clip_norm=0.31:'),
    ('--clip_norm=0.3\n', '', '(--clip_norm=0.3), found no --clip_norm:'),
    ('--seed=7\n', '', '(--seed=7), found no --seed:'),
    ('--seed=7', '--seed=7\n--xla=yes', '(no --xla), found --xla=yes:'),
    ('--runtime=local', '--runtime=tff', '(--runtime=local), found --runtime=tff:'),
    ('--seed=7', '--seed=7\n--mechanism=bisr', '(--mechanism=gaussian), found --mechanism=bisr:'),
    (
      *('--clip_norm=0.3\n--seed=7', '--clip_norm=0.4\n--xla=yes'),
      '(--clip_norm=0.3, --seed=7, no --xla), found --clip_norm=0.4, no --seed, --xla=yes:',
    ),
  )
  def test_other_flags_are_refused_by_their_names(self, old: str, new: str, message: str) -> None:
    self._prepare()
    before = self._config()
    with self.assertRaises(ValueError) as caught:
      self._prepare(_FLAGS.replace(old, new))
    self.assertStartsWith(str(caught.exception), f'Expected the flags of the run in {self._run_dir} {message}')
    self.assertIn(f'--branch_from={self._run_dir}', str(caught.exception))
    self.assertEqual(self._config(), before)

  def test_weights_of_another_size_do_not_branch(self) -> None:
    self._prepare()
    with self.assertRaisesRegex(ValueError, 'found --model_size=9: .* choose another --output_dir to start a new run'):
      self._prepare(_FLAGS + '--model_size=9\n')

  def test_the_noise_is_compared_however_it_was_asked_for(self) -> None:
    self._prepare(_FLAGS + '--target_epsilon=7\n')
    self._prepare(_FLAGS + '--noise_multiplier=1.0\n--target_epsilon=0\n')
    for plan in (dataclasses.replace(fakes.PLAN, noise_multiplier=noise) for noise in (0.0, 2.0)):
      message = 'Expected the noise of the run .* multiplier of 1 .* add --noise_multiplier=1.0 --target_epsilon=0'
      with self.assertRaisesRegex(ValueError, message):
        self._prepare(_FLAGS + '--target_epsilon=7\n', plan=plan)

  def test_a_run_may_become_longer_and_not_shorter_than_it_is(self) -> None:
    self._prepare()
    self._prepare(total_rounds=20)
    self._prepare(total_rounds=3)
    with self.assertRaisesRegex(ValueError, 'Expected --total_rounds of at least 3, .* found 2: type as many or more'):
      self._prepare(total_rounds=2)

  def test_a_linear_schedule_is_of_one_length(self) -> None:
    linear = _FLAGS + '--server_learning_rate_schedule=linear\n'
    self._prepare(linear)
    self._prepare(linear)
    with self.assertRaisesRegex(ValueError, 'Expected --total_rounds=10, from which the linear schedule .* --branch'):
      self._prepare(linear, total_rounds=20)

  def test_a_run_that_began_by_itself_is_no_branch(self) -> None:
    self._prepare()
    with self.assertRaisesRegex(ValueError, 'Expected a new run directory for --branch_from.*began by itself'):
      self._prepare(_FLAGS + '--branch_from=elsewhere\n')

  def test_checkpoints_that_were_copied_alone_are_refused(self) -> None:
    self._prepare()
    os.remove(os.path.join(self._run_dir, run_directory.CONFIG_NAME))
    with self.assertRaisesRegex(ValueError, 'Expected config.flags of the run whose checkpoints .* found none: copy'):
      self._prepare()

  def test_a_lost_flag_file_is_written_again_where_the_model_is(self) -> None:
    self._prepare()
    self._release(3)
    os.remove(os.path.join(self._run_dir, run_directory.CONFIG_NAME))
    self._prepare()
    self.assertStartsWith(self._config(), _FLAGS)

  def test_a_damaged_flag_file_is_written_again_where_the_model_is(self) -> None:
    self._prepare()
    self._release(3)
    path = pathlib.Path(self._run_dir, run_directory.CONFIG_NAME)
    whole = path.read_bytes()
    path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])  # A digit of the id.
    self._prepare()
    self.assertEqual(path.read_bytes(), whole)

  def test_checkpoints_of_another_run_are_refused(self) -> None:
    self._prepare()
    self._saved = None
    self._prepare()
    own = self._config()
    self._saved = None
    self._prepare()
    path = pathlib.Path(self._run_dir, run_directory.CONFIG_NAME)
    self._prepare()
    path.write_text(own)
    with self.assertRaisesRegex(ValueError, 'Expected checkpoints of the run that is in .* found those of another run'):
      self._prepare()

  def test_a_run_that_lost_its_checkpoints_is_not_run_again(self) -> None:
    os.makedirs(os.path.join(self._run_dir, 'public'))
    pathlib.Path(self._run_dir, 'public/model.npz').touch()
    with self.assertRaisesRegex(ValueError, 'Expected the checkpoints of the run .* found none'):
      self._prepare()

  def test_knows_what_is_out(self) -> None:
    self._prepare()
    assert self._saved is not None
    history = self._saved.history
    self.assertEqual(run_directory.released_round(self._run_dir, history), -1)
    self._release(6)
    self.assertEqual(run_directory.released_round(self._run_dir, history), 6)
    self.assertEqual(run_directory.released_round(self._run_dir, history.with_current(attempt=1)), -1)
    pathlib.Path(self._run_dir, 'operator/metrics.csv').write_text('round,loss\n8,1\n')
    self.assertEqual(run_directory.released_round(self._run_dir, history), 6)
    for name in ('public/model.npz', 'public/privacy.json'):
      pathlib.Path(self._run_dir, name).write_bytes(b'damaged')
    self.assertEqual(run_directory.released_round(self._run_dir, history), 8)

  def test_checkpoints_of_before_rounds_were_run_again_are_refused(self) -> None:
    self._prepare()
    assert self._saved is not None
    self._release(6, attempt=1)
    with self.assertRaisesRegex(ValueError, 'Expected the last checkpoints of the run .* found older ones'):
      run_directory.released_round(self._run_dir, self._saved.history)

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
    for files in ((), (os.path.join(self._run_dir, 'operator/metrics.csv'),)):
      with self.assertRaisesRegex(ValueError, message), run_directory.hold(self._run_dir):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *files)

  @parameterized.parameters(('/shards/train-00000.npz',), ('operator/metrics.csv',), ())
  def test_an_error_of_other_files_is_not_blamed_on_it(self, *files: str) -> None:
    error = OSError(errno.EIO, os.strerror(errno.EIO), *files)
    with self.assertRaises(OSError) as caught, run_directory.hold(self._run_dir):
      raise error
    self.assertIs(caught.exception, error)

  def test_other_data_is_refused(self) -> None:
    self._prepare()
    before = self._config()
    with self.assertRaisesRegex(ValueError, '^Expected the data that the run in .* began with, found other shards'):
      self._prepare(data='other')
    self.assertEqual(self._config(), before)

  @parameterized.parameters(
    (run_directory.CONFIG_NAME, False),
    ('operator/metrics.csv', False),
    ('notes.txt', True),
    ('public/model.npz', True),
    ('secret/checkpoints/round_000000.ckpt', True),
  )
  def test_an_error_leaves_a_new_directory_only_if_it_is_of_use(self, name: str, is_left: bool) -> None:
    path = pathlib.Path(self._run_dir, name)
    with self.assertRaises(KeyboardInterrupt), run_directory.hold(self._run_dir):
      os.makedirs(os.path.join(self._run_dir, 'secret/checkpoints'))
      path.touch()
      raise KeyboardInterrupt
    self.assertEqual((path.exists(), os.path.exists(self._run_dir)), (is_left, is_left))
    os.makedirs(self._run_dir, exist_ok=True)
    with self.assertRaises(KeyboardInterrupt), run_directory.hold(self._run_dir):
      raise KeyboardInterrupt
    self.assertTrue(os.path.exists(self._run_dir))  # It was there before.

  def test_a_folder_that_cannot_be_written(self) -> None:
    os.makedirs(self._run_dir)
    real_open = open

    def refuse(path: str, mode: str = 'r', **options: Any) -> object:
      if 'w' in mode:
        raise PermissionError(13, 'Permission denied', path)
      return real_open(path, mode, **options)

    message = '^Expected a run directory that can be written at .*, found: Permission denied; free disk'
    with mock.patch('builtins.open', refuse), self.assertRaisesRegex(ValueError, message):
      self._prepare()
    self.assertEmpty(os.listdir(self._run_dir))

  def test_a_file_in_the_way(self) -> None:
    os.makedirs(os.path.dirname(self._run_dir))
    pathlib.Path(self._run_dir).write_text('in the way')
    message = '^Expected a run directory that can be written at .*, found: File exists; free disk'
    with self.assertRaisesRegex(ValueError, message):
      self._prepare()

  @parameterized.parameters(math.nan, math.inf, -math.inf, np.float64('nan'))
  def test_what_is_no_number_is_null(self, value: float) -> None:
    """The loss of a diverged model, the accuracy of no held-out users: the run still ends with its figures."""
    self._prepare()
    run_directory.write_figures(self._run_dir, {'loss': value, 'rounds': 3})
    text = pathlib.Path(self._run_dir, 'operator/run.json').read_text()
    self.assertEndsWith(text, '\n')
    self.assertEqual(_without_checksum(json.loads(text)), {'format': 1, 'loss': None, 'rounds': 3})


if __name__ == '__main__':
  absltest.main()
