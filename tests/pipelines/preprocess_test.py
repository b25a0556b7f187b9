"""Tests of the program as a user starts it: its flags, what it says, how it ends."""

from collections.abc import Sequence
import contextlib
import difflib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any
from unittest import mock

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized
from apache_beam.options import pipeline_options

from pipelines import client_shards
from pipelines import preprocess

_ROOT = pathlib.Path(__file__).parents[2]
_FEMNIST_DIR = pathlib.Path(os.environ.get('POCKETFED_DATA_DIR', _ROOT / '../shared/data'), 'femnist')
_ROWS = ({'who': user, 'when': when, 'what': 'so long, and thanks'} for user in 'abcdef' for when in range(9))
_LOG = ''.join(json.dumps(row) + '\n' for row in _ROWS)
_COLUMN_FLAGS = ('--user_column=who', '--order_column=when', '--text_column=what', '--window_length=10')


class PreprocessTest(parameterized.TestCase):

  def setUp(self) -> None:
    super().setUp()
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.log, self.output = folder / 'log.jsonl', folder / 'shards'
    self.log.write_text(_LOG)

  def _main(self, *arguments: str) -> str:
    """Runs the program inside this process and returns what it printed."""
    printed = io.StringIO()
    with flagsaver.flagsaver(), contextlib.redirect_stdout(printed):
      flags.FLAGS(['preprocess', *arguments])
      preprocess.main([])
    return printed.getvalue()

  def _program(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-m', 'pipelines.preprocess', *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=_ROOT, **options)

  def _text_flags(self) -> Sequence[str]:
    return ('--task=next_character', f'--input={self.log}', f'--output_dir={self.output}', *_COLUMN_FLAGS)

  def test_a_users_own_log(self) -> None:
    done = self._program(*self._text_flags(), '--direct_num_workers', '1', '--num_shards=3')
    self.assertEqual((done.returncode, done.stderr), (0, ''))
    self.assertRegex(done.stdout, '(?m)^rows   54 read = 54 used')
    self.assertIn(f'Client shards are in {self.output}', done.stdout)
    data = client_shards.ClientShards(str(self.output))
    self.assertEqual(data.num_clients('train') + data.num_clients('test'), 6)
    self.assertEqual(data.manifest['flags']['num_shards'], 3)
    self.assertLen(data.manifest['code_version'], 16)

  def test_the_second_time_there_is_nothing_to_do(self) -> None:
    self._main(*self._text_flags())
    self.assertIn('Nothing to do', self._main(*self._text_flags()))
    with self.assertRaisesRegex(ValueError, 'found one made with other --tail_share in '):
      self._main(*self._text_flags(), '--tail_share=0.3')

  def test_presets_hold_flags_that_exist_and_the_embedded_data(self) -> None:
    with flagsaver.flagsaver(), contextlib.chdir(_ROOT):
      flags.FLAGS(['preprocess', '--flagfile=configs/shakespeare_data.flags'])
      self.assertTrue(all(os.path.exists(path) for path in flags.FLAGS.input))
    with flagsaver.flagsaver():
      flags.FLAGS(['preprocess', f'--flagfile={_ROOT}/configs/handwriting_data.flags', '--femnist_dir=somewhere'])

  @absltest.skipUnless(_FEMNIST_DIR.exists(), f'{_FEMNIST_DIR} is not here: set POCKETFED_DATA_DIR')
  def test_handwriting(self) -> None:
    flagfile = f'--flagfile={_ROOT}/configs/handwriting_data.flags'
    self._main(flagfile, f'--femnist_dir={_FEMNIST_DIR}', f'--output_dir={self.output}')
    data = client_shards.ClientShards(str(self.output))
    rows = data.manifest['rows']
    self.assertEqual(rows['quarantined'], {'duplicate_row': 208})
    self.assertEqual(rows['read'], rows['used'] + rows['bounded'] + 208)
    images, labels, _ = data.read_all('train')
    self.assertEqual((images.shape[1:], labels.ndim, labels.min(), labels.max()), ((28, 28), 1, 0, 61))
    self.assertGreater(images[:, 0].mean(), 250)  # Paper is white at the edge.

  @parameterized.parameters(
      ('--window_length=0', 'window_length'),
      ('--test_users_share=1.5', 'test_users_share'),
      ('--num_shards=many', 'num_shards'),
      ('--min_examples_per_client=300', 'found more'),
      ('--split_key=' + 'x' * 65, '1 to 64 bytes'),
      ('--output_dir=gs://bucket/shards', 'local'),
      ('--femnist_dir=x', '--femnist_dir for --task=handwriting'),
      ('--windw_length=80', 'did you mean --window_length'),
  )
  def test_a_wrong_flag_is_one_line_and_2_before_anything_slow_is_imported(self, argument: str, message: str) -> None:
    slow = self.enterContext(tempfile.TemporaryDirectory())
    for name in ('apache_beam', 'pyarrow', 'tensorflow'):
      pathlib.Path(slow, f'{name}.py').write_text('1 / 0')
    done = self._program(*self._text_flags(), argument, env={'PYTHONPATH': slow})
    self._check_mistake(done, message)

  @parameterized.parameters(
      ('--input=nowhere/*.jsonl', 'Expected a file at nowhere/'),
      ('--direct_num_wrkers=2', "found '--direct_num_wrkers=2'"),
  )
  def test_a_mistake_found_later_is_one_line_and_2(self, argument: str, message: str) -> None:
    self._check_mistake(self._program(*self._text_flags(), argument), message)

  def test_damaged_input_is_one_line_without_its_content(self) -> None:
    self.log.write_bytes(b'\x1f\x8b\x08' + _LOG.encode())
    done = self._program(*self._text_flags())
    self._check_mistake(done, 'Expected a readable file, found ')
    self.assertNotIn('thanks', done.stderr)

  def test_a_read_only_folder_is_one_line_and_2(self) -> None:
    self.output.mkdir()
    self.enterContext(mock.patch('os.access', return_value=False))
    with self.assertRaisesRegex(ValueError, 'Expected a folder that can be written'):
      self._main(*self._text_flags())
    self.assertEmpty(os.listdir(self.output))

  def test_no_flag_of_beam_is_taken_for_one_of_ours(self) -> None:
    parsers: list[Any] = []
    pipeline_options.PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    names = {name.lstrip('-') for action in parsers[0]._actions for name in action.option_strings} - {'h', 'help'}
    self.assertGreater(len(names), 100)
    taken = {name: difflib.get_close_matches(name, flags.FLAGS, cutoff=0.8) for name in names}
    self.assertEqual({name: ours for name, ours in taken.items() if ours}, {})

  def _check_mistake(self, done: subprocess.CompletedProcess[str], message: str) -> None:
    self.assertEqual(done.returncode, 2)
    self.assertRegex(done.stderr, '^error: [^\n]*\n$')
    self.assertIn(message, done.stderr)
    self.assertFalse(self.output.exists() and os.listdir(self.output))


if __name__ == '__main__':
  absltest.main()
