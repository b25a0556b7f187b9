"""Tests of a whole preprocessing job: real data, repeated and interrupted jobs, input that is not what it should be."""

from collections.abc import Iterator
import dataclasses
import gzip
import json
import os
import pathlib
import random
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import pytest

from contracts import client_shards
from pipelines import job as job_lib
from pipelines.declarations import declaration as declarations
from pipelines.execution import running
from pipelines.featurizers import base
from pipelines.featurizers import characters
from pipelines.limits import bounds
from pipelines.limits import splits
from pipelines.readers import jsonl
from pipelines.rows import client_ids
from pipelines.rows import rows as rows_lib
from pipelines.rows import spill
from pipelines.shards import accounting
from pipelines.shards import output_folder
from pipelines.shards import shard_writing

_SHAKESPEARE = str(pathlib.Path(__file__).parents[2] / 'examples/shakespeare/utterances.jsonl.gz')
_CLIENT = declarations.Client('user_id', 'utterance', public_ids=True)
_KEY = client_ids.read_key(None, is_public=True)


def _job(paths: list[str], output_dir: str, **values: Any) -> job_lib.Job:
  limits = {'max_examples_per_client': 256, 'min_examples_per_client': 2} | values.pop('limits', {})
  declaration = declarations.Declaration(
    'test',
    jsonl.JsonLines(),
    values.pop('client', _CLIENT),
    values.pop('featurizer', characters.Characters('text', 80)),
    bounds.Limits(**limits),
    splits.Splits(**values.pop('splits', {})),
  )
  defaults: dict[str, Any] = {'key': _KEY, 'num_shards': 8, 'max_bad_rows': accounting.MaxBadRows('100%')}
  return job_lib.Job(paths, declaration, output_dir=output_dir, **(defaults | values))


def _run(job: job_lib.Job, *beam_flags: str) -> job_lib.Outcome:
  return job_lib.run(job, running.parse_flags(beam_flags))


def _balance(manifest: dict[str, Any]) -> tuple[int, int]:
  rows = manifest['rows']
  return rows['read'], rows['used'] + rows['bounded'] + sum(rows['quarantined'].values())


def _ids(data: client_shards.ClientShards, split: str) -> set[str]:
  return {data.client_id(split, index) for index in range(data.num_clients(split))}


@pytest.mark.slow
class _JobTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.output = str(self.folder / 'shards')

  def _log(self, *lines: Any, name: str = 'log.jsonl') -> list[str]:
    path = self.folder / name
    encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b''.join(line + b'\n' for line in encoded))
    return [str(path)]

  def _small_log(self) -> list[str]:
    rng = random.Random(0)
    rows = [
      {'user_id': f'user {number % 30}', 'utterance': number, 'text': 'to be ' * rng.randrange(1, 9)}
      for number in range(300)
    ]
    return self._log(*rows)


class ShakespeareTest(_JobTest):
  def test_the_embedded_data(self) -> None:
    manifest = _run(_job([_SHAKESPEARE], self.output, splits={'validation_users_share': 0.1})).manifest
    self.assertEqual(manifest['rows']['read'], 29_741)
    self.assertEqual(*_balance(manifest))
    self.assertEqual(sum(manifest['bounded_by'].values()), manifest['rows']['bounded'])
    clients = {split: counts['clients'] for split, counts in manifest['splits'].items()}
    set_aside, empty = manifest['clients_set_aside']['too_little_data'], manifest['splits']['train']['empty']
    self.assertEqual(clients['train'] + clients['validation'] + clients['test'] + set_aside, 1_075)
    data = client_shards.ClientShards(self.output)
    data.verify()
    train, tail, validation, test = (_ids(data, split) for split in client_shards.SPLITS)
    self.assertLess(tail, train)
    self.assertLen(train - tail, empty)
    self.assertEqual(manifest['empty_clients'], {'too_little_data': empty})
    self.assertLen(train | validation | test, 1_075 - set_aside)
    self.assertCountEqual(os.listdir(self.output), [*manifest['files'], 'manifest.json'])

  def test_a_clients_shards_hold_its_text_in_order(self) -> None:
    user = 'HAMLET__HAM'
    _run(_job([_SHAKESPEARE], self.output, limits={'max_examples_per_client': 100_000}))
    with gzip.open(_SHAKESPEARE) as lines:
      rows = sorted((row['utterance'], row['text']) for row in map(json.loads, lines) if row['user_id'] == user)
    text = ''.join(text + '\n' for _, text in rows)
    data = client_shards.ClientShards(self.output)
    client_id, found = client_ids.hash_id(user, _KEY.secret).hex(), ''
    for split in ('train', 'tail', 'test'):
      places = [index for index in range(data.num_clients(split)) if data.client_id(split, index) == client_id]
      for index in places:
        found += ''.join(data.schema.classes[code] for code in data.read(split, index)[0].ravel() if code)
    self.assertGreater(len(text), 10_000)
    self.assertEqual(found, text[:-1])  # The last character is only a label.

  def test_two_processes_and_shuffled_lines_give_the_same_bytes(self) -> None:
    with gzip.open(_SHAKESPEARE) as packed:
      lines = packed.read().splitlines()[:6000]
    first = _run(_job(self._log(*lines, name='first'), self.output)).manifest
    random.Random(0).shuffle(lines)
    parts = self._log(*lines[:2000], name='second') + self._log(*lines[2000:], name='third')
    other = str(self.folder / 'other')
    second = _run(_job(parts, other), '--direct_num_workers=2', '--direct_running_mode=multi_processing').manifest
    self.assertEqual(first['files'], second['files'])
    self.assertEqual(first['rows'], second['rows'])

  def test_no_file_and_no_message_has_a_raw_id(self) -> None:
    _run(_job([_SHAKESPEARE], self.output))
    for name in os.listdir(self.output):
      self.assertNotIn(b'HAMLET__HAM', pathlib.Path(self.output, name).read_bytes())

  def test_held_out_users_stay_held_out_when_data_is_added(self) -> None:
    with gzip.open(_SHAKESPEARE) as packed:
      lines = packed.read().splitlines()
    held_out = []
    for number, some in enumerate((lines[::5], lines)):
      folder = str(self.folder / str(number))
      _run(_job(self._log(*some, name=f'log {number}'), folder, limits={'min_examples_per_client': 1}))
      held_out.append(_ids(client_shards.ClientShards(folder), 'test'))
    self.assertLess(held_out[0], held_out[1])


class RepeatedJobTest(_JobTest):
  def test_a_finished_job_is_not_repeated(self) -> None:
    paths = self._small_log()
    first = _run(_job(paths, self.output))
    again = _run(_job(paths, self.output))
    self.assertEqual((first.is_new, again.is_new), (True, False))
    self.assertEqual(first.manifest, again.manifest)

  def test_a_data_set_made_otherwise_is_left_alone(self) -> None:
    paths = self._small_log()
    _run(_job(paths, self.output))
    with self.assertRaisesRegex(ValueError, 'found one made with other declaration, num_shards in .*choose another'):
      _run(_job(paths, self.output, limits={'max_examples_per_client': 5}, num_shards=3))
    with self.assertRaisesRegex(ValueError, 'found one made with other client_id_key in '):
      _run(_job(paths, self.output, key=client_ids.Key(b'other', 'other')))
    with self.assertRaisesRegex(ValueError, 'found one made with other input in '):
      _run(_job(self._log({'user_id': 'amy'}), self.output))
    client_shards.ClientShards(self.output).verify()

  def test_what_a_killed_job_left_is_replaced(self) -> None:
    paths = self._small_log()
    whole = _run(_job(paths, str(self.folder / 'whole'))).manifest['files']
    spilled = f'spill-{"0" * 32}'
    os.makedirs(os.path.join(self.output, spilled))
    left = ('shard-00000-of-00008.arrow', f'{spilled}/rows.arrow', 'index.arrow.12.part', 'pipeline_result.json')
    for name in left:
      pathlib.Path(self.output, name).write_bytes(b'half')
    self.assertEqual(_run(_job(paths, self.output)).manifest['files'], whole)
    self.assertCountEqual(os.listdir(self.output), [*whole, 'manifest.json'])


class BadInputTest(_JobTest):
  def test_bad_rows_are_counted_and_the_rest_is_used(self) -> None:
    good = [{'user_id': 'amy', 'utterance': number, 'text': 'caf\u00e9 ' * 20} for number in range(5)]
    bad = [b'nonsense', b'[]', b'\xff', {'utterance': 1, 'text': 'x'}, {'user_id': 'amy', 'utterance': 1}, good[0]]
    little = {'user_id': 'bo', 'utterance': 1, 'text': 'x'}
    long_id = {'user_id': 'x' * 10_000_000, 'utterance': 1, 'text': 'x'}
    manifest = _run(_job(self._log(*good, *bad, little, long_id), self.output)).manifest
    reasons = (
      *('not_json', 'not_an_object', 'not_utf8', 'no_client_id'),
      *('missing:text', 'duplicate_row', 'client_id_too_long'),
    )
    self.assertEqual(manifest['rows'], {'read': 13, 'used': 5, 'bounded': 1, 'quarantined': dict.fromkeys(reasons, 1)})
    self.assertEqual(manifest['empty_clients'], {'too_little_data': 1})
    self.assertEqual(manifest['notes'], {'outside_vocabulary': 100})
    encoding, untestable, few, unknown = manifest['warnings']
    self.assertStartsWith(encoding, 'Some rows are not in the encoding of the input: write encoding = ')
    self.assertStartsWith(untestable, 'No test client: ')
    self.assertStartsWith(few, 'Only 2 training clients: ')
    self.assertStartsWith(unknown, '19.8% of the characters are outside of the alphabet')

  @parameterized.named_parameters(
    ('empty', [], 'Expected rows in the input, found none'),
    ('blank', [b'', b' '], 'Expected rows in the input, found none'),
    ('only_bad_rows', [b'nonsense'] * 3, r'at least one user .* found none in 3 rows \(not_json 3\)'),
    ('too_little', [{'user_id': 'secret', 'utterance': 1, 'text': 'x'}], r'none in 1 rows \(too_little_data 1\)'),
  )
  def test_nothing_usable_leaves_no_data_set(self, lines: list[Any], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message) as caught:
      _run(_job(self._log(*lines), self.output))
    self.assertNotIn('secret', str(caught.exception))
    self.assertFalse(os.path.exists(self.output))

  @parameterized.parameters(('3%', True), ('2%', False), ('9', True), ('8', False), ('0', False))
  def test_too_many_bad_rows_stop_the_job(self, limit: str, is_enough: bool) -> None:
    paths = self._small_log() + self._log(*([b'nonsense'] * 9), name='bad')
    job = _job(paths, self.output, max_bad_rows=accounting.MaxBadRows(limit))
    if is_enough:
      self.assertEqual(_run(job).manifest['rows']['quarantined'], {'not_json': 9})
      return
    with self.assertRaisesRegex(ValueError, rf'at most {limit} bad rows, found 9 of 309 \(not_json 9\).*max_bad_rows'):
      _run(job)
    self.assertFalse(os.path.exists(self.output))

  def test_duplicates_are_no_bad_rows(self) -> None:
    paths = self._small_log()
    manifest = _run(_job(paths * 2, self.output, max_bad_rows=accounting.MaxBadRows('0'))).manifest
    self.assertEqual(manifest['rows']['quarantined'], {'duplicate_row': 300})

  def test_one_truncated_file_of_two_is_one_clear_line(self) -> None:
    cut = self.folder / 'cut.gz'
    cut.write_bytes(pathlib.Path(_SHAKESPEARE).read_bytes()[:100_000])
    with self.assertRaisesRegex(ValueError, r'^Expected a readable file, found .*cut.gz damaged'):
      _run(_job([*self._small_log(), str(cut)], self.output))
    self.assertFalse(os.path.exists(self.output))

  def test_a_full_disk_is_said_and_freed(self) -> None:
    job = _job(self._small_log(), self.output)
    with mock.patch.object(shard_writing, 'write_index', side_effect=OSError('full')):
      self.assertRaisesRegex(ValueError, 'workers to write .* found none: free disk space there', _run, job)
    self.assertTrue(_run(job).is_new)

  def test_nothing_of_the_users_outlives_a_job_that_broke(self) -> None:
    paths = self._small_log()
    with self.assertRaisesRegex(ArithmeticError, 'broken'):
      _run(_job(paths, self.output, featurizer=_Broken('text', 80)))
    self.assertFalse(os.path.exists(self.output))
    self.assertTrue(_run(_job(paths, self.output)).is_new)

  def test_a_worker_that_breaks_is_not_taken_for_a_users_mistake(self) -> None:
    with self.assertRaisesRegex(RuntimeError, 'A worker failed'):
      _run(_job(self._small_log(), self.output, featurizer=_Confused('text', 80)))
    self.assertFalse(os.path.exists(self.output))

  def test_a_slice_that_went_astray_leaves_no_data_set(self) -> None:
    read = spill.read
    with mock.patch.object(spill, 'read', side_effect=lambda slices: read(sorted(slices)[:1])):
      logs = self._small_log() + self._log({'user_id': 'amy', 'utterance': 1, 'text': 'x'}, name='other')
      with self.assertRaisesRegex(ValueError, 'account for all 301 rows, found'):
        _run(_job(logs, self.output, num_shards=1))
    self.assertFalse(os.path.exists(self.output))

  def test_two_jobs_for_one_folder(self) -> None:
    paths = self._small_log()
    with output_folder.hold(self.output), self.assertRaisesRegex(ValueError, 'no other job'):
      _run(_job(paths, self.output))
    self.assertTrue(_run(_job(paths, self.output)).is_new)

  def test_one_user_with_half_of_all_data(self) -> None:
    def rows() -> Iterator[dict[str, Any]]:
      for number in range(4_000):
        user = 'whale' if number % 2 else f'user {number % 20}'
        yield {'user_id': user, 'utterance': number, 'text': 'to be, or not to be ' * 10}

    manifest = _run(_job(self._log(*rows()), self.output, limits={'max_examples_per_client': 20})).manifest
    self.assertEqual(*_balance(manifest))
    data = client_shards.ClientShards(self.output)
    most = max(data.clients(split).examples.max(initial=0) for split in ('train', 'test'))
    self.assertLessEqual(most, 20)
    self.assertGreater(manifest['bounded_by']['max_examples_per_client'], 3_000)


@dataclasses.dataclass(frozen=True)
class _Broken(characters.Characters):
  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    raise ArithmeticError('broken')


@dataclasses.dataclass(frozen=True)
class _Confused(characters.Characters):
  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    raise ValueError('confused')


if __name__ == '__main__':
  absltest.main()
