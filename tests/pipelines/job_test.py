"""Tests of a whole preprocessing job: real data, repeated and interrupted jobs, input that is not what it should be."""

import dataclasses
import gzip
import json
import os
import pathlib
import random
import tempfile
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from pipelines import client_shards
from pipelines import featurizers
from pipelines import job as job_lib
from pipelines import sources
from pipelines import transforms

_SHAKESPEARE = str(pathlib.Path(__file__).parents[2] / 'examples/shakespeare/utterances.jsonl.gz')
_COLUMNS = sources.Columns('user_id', 'utterance', 'text')


def _job(paths: list[str], output_dir: str, **flags: Any) -> job_lib.Job:
  values = {'window_length': 80, 'cap': 256, 'floor': 2, 'num_shards': 8} | flags
  return job_lib.Job(
      paths=paths,
      source=sources.ReadJsonLines(paths, _COLUMNS),
      featurizer=featurizers.NextCharacter(values['window_length']),
      limits=transforms.Limits(values['cap'], values['floor']),
      splits=transforms.Splits(0.1, 0.1, 'pocketfed'),
      num_shards=values['num_shards'],
      output_dir=output_dir,
      flags=values | {'output_dir': output_dir},
  )


def _run(job: job_lib.Job, *beam_flags: str) -> job_lib.Outcome:
  return job_lib.run(job, job_lib.parse_beam_flags(beam_flags))


def _balance(manifest: dict[str, Any]) -> tuple[int, int]:
  rows = manifest['rows']
  return rows['read'], rows['used'] + rows['bounded'] + sum(rows['quarantined'].values())


class _JobTest(parameterized.TestCase):

  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
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
    manifest = _run(_job([_SHAKESPEARE], self.output)).manifest
    self.assertEqual(manifest['rows']['read'], 29_741)
    self.assertEqual(*_balance(manifest))
    self.assertEqual(sum(manifest['bounded_by'].values()), manifest['rows']['bounded'])
    clients = {split: counts['clients'] for split, counts in manifest['splits'].items()}
    self.assertEqual(clients['train'] + clients['test'] + manifest['clients_set_aside']['too_little_data'], 1_075)
    self.assertEqual(clients['train'], clients['tail'])
    data = client_shards.ClientShards(self.output)
    data.verify()
    self.assertEmpty(set(data.clients('train').client_id) & set(data.clients('test').client_id))
    self.assertCountEqual(os.listdir(self.output), [*manifest['files'], 'manifest.json'])

  def test_a_clients_shards_hold_its_text_in_order(self) -> None:
    user = 'HAMLET__HAM'
    _run(_job([_SHAKESPEARE], self.output, cap=100_000))
    with gzip.open(_SHAKESPEARE) as lines:
      rows = sorted((row['utterance'], row['text']) for row in map(json.loads, lines) if row['user_id'] == user)
    text = ''.join(text + '\n' for _, text in rows)
    data = client_shards.ClientShards(self.output)
    found = ''
    for split in ('train', 'tail', 'test'):
      if user in (ids := data.clients(split).client_id.tolist()):
        found += ''.join(data.schema.classes[code] for code in data.read(split, ids.index(user))[0].ravel() if code)
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


class RepeatedJobTest(_JobTest):

  def test_a_finished_job_is_not_repeated(self) -> None:
    paths = self._small_log()
    first = _run(_job(paths, self.output, floor=1))
    again = _run(_job(paths, self.output, floor=1))
    self.assertEqual((first.is_new, again.is_new), (True, False))
    self.assertEqual(first.manifest, again.manifest)

  def test_a_data_set_made_otherwise_is_left_alone(self) -> None:
    paths = self._small_log()
    _run(_job(paths, self.output, floor=1))
    with self.assertRaisesRegex(ValueError, 'found one made with other --cap, --window_length in .*choose another'):
      _run(_job(paths, self.output, floor=1, cap=5, window_length=40))
    with self.assertRaisesRegex(ValueError, 'found one made with other input in '):
      _run(_job(self._log({'user_id': 'amy'}), self.output, floor=1))
    client_shards.ClientShards(self.output).verify()

  def test_a_folder_with_other_files_is_left_alone(self) -> None:
    os.makedirs(self.output)
    pathlib.Path(self.output, 'thesis.tex').write_text('all my work')
    with self.assertRaisesRegex(ValueError, 'found thesis.tex in '):
      _run(_job(self._small_log(), self.output))
    self.assertEqual(os.listdir(self.output), ['thesis.tex'])

  def test_what_a_killed_job_left_is_replaced(self) -> None:
    paths = self._small_log()
    whole = _run(_job(paths, str(self.folder / 'whole'), floor=1)).manifest['files']
    os.makedirs(self.output)
    left = ('shard-00000-of-00008.arrow', 'shard-00099-of-00100.arrow', 'index.arrow.12.part', 'pipeline_result.json')
    for name in left:
      pathlib.Path(self.output, name).write_bytes(b'half')
    self.assertEqual(_run(_job(paths, self.output, floor=1)).manifest['files'], whole)
    self.assertCountEqual(os.listdir(self.output), [*whole, 'manifest.json'])

  def test_a_damaged_data_set_is_reported(self) -> None:
    paths = self._small_log()
    _run(_job(paths, self.output, floor=1))
    os.remove(os.path.join(self.output, 'shard-00003-of-00008.arrow'))
    with self.assertRaisesRegex(ValueError, 'shard-00003-of-00008.arrow .* no such file'):
      _run(_job(paths, self.output, floor=1))


class BadInputTest(_JobTest):

  def test_bad_rows_are_counted_and_the_rest_is_used(self) -> None:
    good = [{'user_id': 'amy', 'utterance': number, 'text': 'caf\u00e9 ' * 20} for number in range(5)]
    bad = [b'nonsense', b'[]', b'\xff', {'utterance': 1, 'text': 'x'}, {'user_id': 'amy', 'utterance': 1}, good[0]]
    little = {'user_id': 'bo', 'utterance': 1, 'text': 'x'}
    manifest = _run(_job(self._log(*good, *bad, little), self.output)).manifest
    quarantined = dict.fromkeys(('not_json', 'not_an_object', 'not_utf8', 'no_user_id', 'no_text', 'duplicate_row'), 1)
    self.assertEqual(manifest['rows'], {'read': 12, 'used': 5, 'bounded': 1, 'quarantined': quarantined})
    self.assertEqual(manifest['clients_set_aside'], {'too_little_data': 1})
    self.assertEqual(manifest['notes'], {'characters_unknown': 100})

  @parameterized.named_parameters(
      ('empty', [], 'Expected rows in .*log.jsonl, found none'),
      ('blank', [b'', b' '], 'Expected rows in .*log.jsonl, found none'),
      ('only_bad_rows', [b'nonsense'] * 3, r'at least one user .* found none in 3 rows \(not_json 3\)'),
      ('too_little', [{'user_id': 'secret', 'utterance': 1, 'text': 'x'}], r'none in 1 rows \(too_little_data 1\)'),
  )
  def test_nothing_usable_leaves_no_data_set(self, lines: list[Any], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message) as caught:
      _run(_job(self._log(*lines), self.output))
    self.assertNotIn('secret', str(caught.exception))
    self.assertEmpty(os.listdir(self.output))

  def test_one_truncated_file_of_two_is_one_clear_line(self) -> None:
    cut = self.folder / 'cut.gz'
    cut.write_bytes(pathlib.Path(_SHAKESPEARE).read_bytes()[:100_000])
    with self.assertRaisesRegex(ValueError, r'^Expected a readable file, found .*cut.gz damaged \(Compressed file end'):
      _run(_job([*self._small_log(), str(cut)], self.output))
    self.assertEmpty(os.listdir(self.output))

  def test_a_folder_that_cannot_be_made(self) -> None:
    pathlib.Path(self.folder, 'file').write_text('')
    with self.assertRaisesRegex(ValueError, 'Expected to make .*, found Not a directory'):
      _run(_job(self._small_log(), str(self.folder / 'file' / 'shards')))

  def test_no_room_for_the_index_is_said(self) -> None:
    self.enterContext(mock.patch.object(client_shards, 'write_index', side_effect=OSError('full')))
    with self.assertRaisesRegex(ValueError, 'Expected the workers to write their result .* found none'):
      _run(_job(self._small_log(), self.output, floor=1))
    self.assertEmpty(os.listdir(self.output))

  def test_a_fresh_manifest_is_nowhere_before_the_end(self) -> None:
    paths = self._small_log()
    with self.assertRaisesRegex(ArithmeticError, 'broken'):
      _run(dataclasses.replace(_job(paths, self.output, floor=1), featurizer=_Broken(80)))
    with self.assertRaisesRegex(ValueError, 'no manifest.json'):
      client_shards.ClientShards(self.output)
    self.assertTrue(_run(_job(paths, self.output, floor=1)).is_new)


class BeamFlagsTest(parameterized.TestCase):

  def test_beam_gets_its_flags(self) -> None:
    options = job_lib.parse_beam_flags(['--direct_num_workers', '2', '--runner=FlinkRunner']).get_all_options()
    self.assertEqual((options['direct_num_workers'], options['runner']), (2, 'FlinkRunner'))

  @parameterized.parameters('--window_lenth=3', 'positional', '--direct_num_workers=many')
  def test_what_beam_does_not_know_is_an_error(self, argument: str) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected .* found'):
      job_lib.parse_beam_flags([argument])


class _Broken(featurizers.NextCharacter):

  def featurize(self, rows: Any, max_examples: int) -> featurizers.Featurized:
    raise ArithmeticError('broken')


if __name__ == '__main__':
  absltest.main()
