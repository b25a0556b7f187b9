"""Tests of the program as a user starts it: its flags, what it says, how it ends."""

from collections.abc import Sequence
import contextlib
import difflib
import gzip
import io
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized
from apache_beam.options import pipeline_options

from contracts import client_shards
from pipelines import preprocess

_ROOT = pathlib.Path(__file__).parents[2]
_DATA = pathlib.Path(os.environ.get('POCKETFED_DATA_DIR', _ROOT / '../shared/data'))
_ROWS = ({'who': user, 'when': when, 'what': 'so long, and thanks'} for user in 'abcdef' for when in range(9))
_LOG = ''.join(json.dumps(row) + '\n' for row in _ROWS)
_DECLARATION = """
[client]
id = "who"
order = "when"

[examples]
kind = "characters"
column = "what"
window_length = 10
"""


class _ProgramTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.log, self.output = self.folder / 'log.jsonl', self.folder / 'shards'
    self.dataset, self.key = self.folder / 'own.toml', self.folder / 'key'
    self.log.write_text(_LOG)
    self.dataset.write_text(_DECLARATION)
    self.key.write_text('a key of more than sixteen bytes')

  def main(self, *arguments: str) -> str:
    """Runs the program inside this process and returns what it printed."""
    printed = io.StringIO()
    with flagsaver.flagsaver(), contextlib.redirect_stdout(printed):
      flags.FLAGS(['preprocess', *arguments])
      preprocess.main([])
    return printed.getvalue()

  def program(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-m', 'pipelines.preprocess', *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=_ROOT, **options)

  def flags(self) -> Sequence[str]:
    return (
      *(f'--dataset={self.dataset}', f'--input={self.log}'),
      *(f'--output_dir={self.output}', f'--client_id_key_file={self.key}'),
    )


class PreprocessTest(_ProgramTest):
  def test_a_users_own_log(self) -> None:
    done = self.program(*self.flags(), '--direct_num_workers', '1', '--num_shards=3')
    self.assertEqual((done.returncode, done.stderr), (0, ''))
    self.assertRegex(done.stdout, f'(?sm)^rows   54 read = 54 used.*Client shards are in {self.output}')
    data = client_shards.ClientShards(str(self.output))
    self.assertEqual(data.num_clients('train') + data.num_clients('test'), 6)
    self.assertEqual(data.manifest['num_shards'], 3)
    self.assertLen(data.manifest['code_version'], 16)

  def test_the_second_time_there_is_nothing_to_do(self) -> None:
    self.main(*self.flags())
    self.assertIn('Nothing to do', self.main(*self.flags()))
    with self.assertRaisesRegex(ValueError, 'found one made with other declaration in '):
      self.main(*self.flags(), '--override=splits.tail_share=0.3')

  def test_an_override_replaces_what_is_declared(self) -> None:
    self.main(*self.flags(), '--override=limits.keep=latest', '--override=limits.max_examples_per_client=3')
    data = client_shards.ClientShards(str(self.output))
    self.assertEqual(data.manifest['limits']['keep'], 'latest')
    self.assertEqual(data.clients('train').examples.max(), 2)  # Of three, one is the tail.

  def test_what_is_likely_to_go_wrong_is_said(self) -> None:
    self.log.write_text(_LOG.replace('so long', 'пока, пока'))
    expected = 'warning +[0-9.]+% of the characters are outside of the alphabet: .*source = "declared"'
    self.assertRegex(self.main(*self.flags(), '--describe'), expected)
    self.assertRegex(self.main(*self.flags()), expected)
    alphabet = [
      '--override=examples.alphabet.source=declared',
      '--override=examples.alphabet.characters="пока, andthks"',
    ]
    for mode in (['--describe'], [f'--output_dir={self.folder / "known"}']):
      self.assertNotIn('of the characters', self.main(*self.flags(), *alphabet, *mode))

  def test_inputs_add_up(self) -> None:
    self.create_tempfile(f'{self.folder}/_x.jsonl', _LOG)
    self.create_tempfile(f'{self.folder}/a.jsonl', _LOG.replace('"when": ', '"when": 5'))
    files = f'--input={self.folder}/a.jsonl,{self.folder}/*.jsonl'
    self.assertRegex(self.main(*self.flags(), files), f'(?s) . or _: {self.folder}/_x.jsonl.\n.*108 read')

  def test_describe_makes_nothing(self) -> None:
    self.assertIn('so long', self.main(*self.flags(), '--describe'))
    self.assertFalse(self.output.exists())

  def test_forget(self) -> None:
    self.main(*self.flags())
    before = client_shards.ClientShards(str(self.output)).manifest
    ids = self.folder / 'ids'
    ids.write_bytes('a\r\nb\r\nnobody\r\n'.encode('utf-8-sig'))
    printed = self.main(f'--forget={ids}', f'--output_dir={self.output}', f'--client_id_key_file={self.key}')
    data = client_shards.ClientShards(str(self.output))
    data.verify()
    self.assertIn('Forgot 2 users: 18 rows', printed)
    self.assertIn('1 of the ids in ', printed)
    self.assertIn('line 3', printed)
    self.assertEqual(sum(data.num_clients(split) for split in ('train', 'validation', 'test')), 4)
    self.assertEqual(data.manifest['rows']['quarantined'], {'forgotten': 18})
    self.assertEqual(data.manifest['rows']['used'], before['rows']['used'] - 18)

  @parameterized.parameters('csv', 'jsonl')
  def test_all_spellings_of_an_id_are_one_user_and_forgotten_together(self, ending: str) -> None:
    users = ['7', '7.0', ' 7 ', 'jos\u00e9', 'jose\u0301', '\ufeffjos\u00e9', *'abcde']
    rows = [(user, 4 * place + when, 'so long') for when in range(4) for place, user in enumerate(users)]
    if ending == 'csv':
      text = 'who,when,what\n' + ''.join(f'{user},{when},{what}\n' for user, when, what in rows)
    else:
      text = ''.join(json.dumps(dict(zip(('who', 'when', 'what'), row, strict=True))) + '\n' for row in rows)
    self.log = self.folder / f'log.{ending}'
    self.log.write_text(text, 'utf-8')
    self.main(*self.flags())
    data = client_shards.ClientShards(str(self.output))
    self.assertEqual(data.num_clients('train') + data.num_clients('test'), 7)
    self.assertEqual(data.manifest['notes'], {'client_id_normalized': 16})
    ids = self.folder / 'ids'
    ids.write_text('7.0\njose\u0301 \n', 'utf-8')
    printed = self.main(f'--forget={ids}', f'--output_dir={self.output}', f'--client_id_key_file={self.key}')
    self.assertIn('Forgot 2 users: 24 rows', printed)
    self.assertNotIn('Not in the data set', printed)

  def test_times_of_other_forms_and_the_remedies_that_are_named(self) -> None:
    times = [f'0{1 + place % 9}/0{1 + place // 9}/2015 9:34 PM' for place in range(54)]
    rows = [{'who': 'abcdef'[place % 6], 'when': time, 'what': 'so long'} for place, time in enumerate(times)]
    self.log.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    with self.assertRaisesRegex(ValueError, r'order_not_integer 54\).* write order_type = "time" in .client'):
      self.main(*self.flags())
    with self.assertRaisesRegex(ValueError, r'found 48 such as .* write order_format in .client.*"%m/%d/%Y %I:%M %p"'):
      self.main(*self.flags(), '--override=client.order_type=time', '--max_bad_rows=100%')
    remedy = '--override=client.order_format="%m/%d/%Y %I:%M %p"'
    self.assertIn('54 read = 54 used', self.main(*self.flags(), '--override=client.order_type=time', remedy))

  @parameterized.parameters('--nodescribe', '--describe')
  def test_a_column_that_no_row_has_is_named_with_the_nearest(self, describe: str) -> None:
    self.log.write_text(_LOG.replace('"who"', '"whom"'))
    done = self.program(*self.flags(), '--max_bad_rows=100%', describe)
    message = "Expected a column 'who' in the rows, found what, when, whom: did you mean whom?"
    self.assertEqual((done.returncode, done.stderr), (2, f'error: {message}\n'))

  def test_undeclared_classes_are_named_beside_the_declared_ones(self) -> None:
    self.log = self.folder / 'log.csv'
    self.log.write_text('who,x,kind\n' + ''.join(f'{user},{n},{n % 2}.0\n' for user in 'abcdef' for n in range(9)))
    self.dataset.write_text(
      '[client]\nid = "who"\n[examples]\nkind = "table"\nnumbers = ["x"]\nlabel = "kind"\nclasses = ["0", "1"]\n'
    )
    self.assertIn('54 read = 54 used', self.main(*self.flags()))
    flags_ = [*self.flags(), '--override=examples.classes=["no", "yes"]', f'--output_dir={self.folder / "other"}']
    with self.assertRaisesRegex(ValueError, "'no', 'yes' are declared, found: '0.0' 30, '1.0' 24. Declare"):
      self.main(*flags_)

  def test_forget_needs_the_key_that_the_data_set_was_made_with(self) -> None:
    self.main(*self.flags())
    ids = self.create_tempfile('ids', 'a\n').full_path
    other = self.create_tempfile('other', 'another key of more than sixteen bytes').full_path
    with self.assertRaisesRegex(ValueError, 'Expected the key .* found another: give that key in --client_id_key_file'):
      self.main(f'--forget={ids}', f'--output_dir={self.output}', f'--client_id_key_file={other}')
    self.main(f'--forget={ids}', f'--output_dir={self.output}', f'--client_id_key_file={self.key}')

  @parameterized.parameters(
    (('--input=',), 'Missing --input: files of logs. See --help.'),
    (('--dataset=',), 'Missing --dataset: a TOML file'),
    (('--num_shards=many',), 'num_shards'),
    (('--forget=ids', '--input=log'), 'either --input'),
    (('--input=', '--forget=ids', '--describe'), 'nothing else'),
    (('--nm_shards=3',), 'did you mean --num_shards'),
  )
  def test_a_wrong_flag_is_one_line_and_2_before_anything_slow_is_imported(
    self, arguments: Sequence[str], message: str
  ) -> None:
    slow = self.folder / 'slow'
    slow.mkdir()
    for name in ('apache_beam', 'pyarrow', 'tensorflow'):
      (slow / f'{name}.py').write_text('1 / 0')
    others = (flag for flag in self.flags() if not any(flag.startswith(name.split('=')[0]) for name in arguments))
    self._check_mistake(self.program(*others, *arguments, env={'PYTHONPATH': str(slow)}), message)

  @parameterized.parameters(
    (('--input=nowhere/*.jsonl',), 'Expected a file at nowhere/'),
    (('--dataset=nowhere.toml',), 'nowhere.toml'),
    (('--direct_num_wrkers=2',), "found '--direct_num_wrkers=2'"),
    (('--override=limits.kep=latest',), 'keep'),
    (('--max_bad_rows=few',), "share such as 1% or a whole number, found 'few'"),
    (('--client_id_key_file=/dev/null',), 'found none'),
  )
  def test_a_mistake_found_later_is_one_line_and_2(self, arguments: Sequence[str], message: str) -> None:
    self._check_mistake(self.program(*self.flags(), *arguments), message)

  def test_a_mistake_in_the_declaration_is_told_with_its_line(self) -> None:
    self.dataset.write_text(_DECLARATION.replace('window_length', 'window_lenth'))
    self._check_mistake(self.program(*self.flags()), 'own.toml, line 9: ')

  def test_damaged_input_is_one_line_without_its_content(self) -> None:
    self.log.write_bytes(b'\x1f\x8b\x08' + _LOG.encode())
    done = self.program(*self.flags())
    self._check_mistake(done, 'Expected a readable file, found ')
    self.assertNotIn('thanks', done.stderr)

  def test_a_folder_that_cannot_be_made_is_one_line_and_2(self) -> None:
    self.output.write_text('')
    self._check_mistake(self.program(*self.flags()), 'Expected a folder that can be written')

  def test_no_flag_of_beam_is_taken_for_one_of_ours(self) -> None:
    parsers: list[Any] = []
    pipeline_options.PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    names = {name.lstrip('-') for action in parsers[0]._actions for name in action.option_strings} - {'h', 'help'}
    self.assertGreater(len(names), 100)
    taken = {name: difflib.get_close_matches(name, flags.FLAGS, cutoff=0.8) for name in names}
    self.assertEqual({name: ours for name, ours in taken.items() if ours}, {})

  def _check_mistake(self, done: subprocess.CompletedProcess[str], message: str) -> None:
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertRegex(done.stderr, '^error: [^\n]*\n$')
    self.assertIn(message, done.stderr)
    self.assertFalse(self.output.is_dir() and os.listdir(self.output))


class RealDataTest(_ProgramTest):
  """The declarations that come with the project, on the data they are for."""

  def _preprocess(self, name: str, path: pathlib.Path, num_shards: int = 0) -> client_shards.ClientShards:
    if not path.exists():
      self.skipTest(f'{path} is not here: set POCKETFED_DATA_DIR')
    self.main(
      *(f'--dataset={_ROOT}/configs/datasets/{name}.toml', f'--input={path}'),
      *(f'--output_dir={self.output}', f'--num_shards={num_shards}'),
    )
    data = client_shards.ClientShards(str(self.output))
    rows = data.manifest['rows']
    self.assertEqual(rows['read'], rows['used'] + rows['bounded'] + sum(rows['quarantined'].values()))
    return data

  def test_next_word(self) -> None:
    data = self._preprocess('shakespeare_words', _ROOT / 'examples/shakespeare/utterances.jsonl.gz')
    learned = [entry for entry in data.manifest['learned'] if entry['source'] == 'dp']
    self.assertLen(learned, 1)
    self.assertGreater(learned[0]['epsilon'], 0)
    self.assertContainsSubset(['the', 'and', 'you'], data.schema.classes)
    self.assertEqual(data.schema.task, 'next_word')

  def test_handwriting(self) -> None:
    data = self._preprocess('femnist', _DATA / 'femnist/femnist_leaf.npz')
    self.assertEqual(data.manifest['rows']['quarantined'], {'duplicate_row': 208})
    images, labels, _ = data.read_all('train')
    self.assertEqual((images.shape[1:], labels.ndim, labels.min(), labels.max()), ((28, 28), 1, 0, 61))
    self.assertGreater(images[:, 0].mean(), 250)  # Paper is white at the edge.

  def test_digits(self) -> None:
    data = self._preprocess('mnist_by_writer', _DATA / 'mnist_by_writer/qmnist-train-labels-idx2-int.gz')
    self.assertEqual(data.manifest['rows']['read'], 60_000)
    images, labels, _ = data.read_all('train')
    self.assertEqual((images.shape[1:], labels.min(), labels.max()), ((28, 28), 0, 9))
    self.assertGreater(images[:, 0].mean(), 250)

  def test_phone_activity(self) -> None:
    data = self._preprocess('wisdm_v1.1', _DATA / 'wisdm_v1.1/WISDM_ar_v1.1_transformed.arff')
    self.assertEqual(data.manifest['rows']['read'], 5_418)
    self.assertEqual(data.schema.task, 'classification')
    features, labels, _ = data.read_all('train')
    self.assertLess(abs(features.mean()), 3)
    self.assertEqual((labels.min(), labels.max()), (0, 5))

  def test_packed_and_unpacked_text_give_the_same_shards(self) -> None:
    path = self.folder / 'unpacked.jsonl'
    path.write_bytes(gzip.decompress((_ROOT / 'examples/shakespeare/utterances.jsonl.gz').read_bytes()))
    found = []
    for source in (path, _ROOT / 'examples/shakespeare/utterances.jsonl.gz'):
      self.output = self.folder / f'shards of {source.name}'
      found.append(self._preprocess('shakespeare_characters', source, num_shards=2).manifest['files'])
    self.assertEqual(*found)


if __name__ == '__main__':
  absltest.main()
