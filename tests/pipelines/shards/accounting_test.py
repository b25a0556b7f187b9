import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from contracts import guarantees
from pipelines import job as job_lib
from pipelines.declarations import declaration
from pipelines.execution import running
from pipelines.featurizers import table
from pipelines.featurizers import vocabularies
from pipelines.featurizers import words
from pipelines.limits import bounds
from pipelines.limits import splits
from pipelines.readers import base as readers
from pipelines.readers import jsonl
from pipelines.rows import client_ids
from pipelines.rows import reports
from pipelines.shards import accounting
from pipelines.statistics import vocabulary
from tests import layout

_LEARNED = """
[client]
id = "user"
order = "time"
public_ids = true
[examples]
kind = "words"
column = "text"
window_length = 8
vocabulary = {source = "dp", max_words = 20, epsilon = 50.0, delta = 0.5}
"""
# The program, ending with 7 where it would draw noise.
_NO_NOISE = """
import runpy, sys
from pipelines.statistics import mechanisms

mechanisms.add_noise = lambda values, stddev: sys.exit(7)
sys.argv[0] = 'pipelines.preprocess'
runpy.run_module('pipelines.preprocess', run_name='__main__', alter_sys=True)
"""


def _report(problems: tuple[str, ...] = (), **counts: int) -> reports.Report:
  report = reports.Report(problems=list(problems))
  for name, number in counts.items():
    kind, _, reason = name.partition('__')
    report.count(kind, reason, number)
  return report


def _declare(*classes: str) -> declaration.Declaration:
  featurizer = table.Table(numbers=('x',), label='kind', classes=classes or ('a',))
  client, limits = declaration.Client('user'), bounds.Limits(min_examples_per_client=2)
  return declaration.Declaration('test', jsonl.JsonLines(), client, featurizer, limits, splits.Splits())


class MaxBadRowsTest(parameterized.TestCase):
  @parameterized.parameters(('10%', 30.0), ('0.5%', 1.5), ('0%', 0.0), ('7', 7.0))
  def test_of(self, text: str, limit: float) -> None:
    self.assertAlmostEqual(accounting.MaxBadRows(text).of(300), limit)

  @parameterized.parameters('', '-1', '0.1', 'ten', '5 %')
  def test_refuses(self, text: str) -> None:
    with self.assertRaisesRegex(ValueError, 'share such as 1% or a whole number'):
      accounting.MaxBadRows(text)


class CheckTest(parameterized.TestCase):
  def _check(self, limit: str = '10%', **values: Any) -> None:
    accounting.check(_report(**values), accounting.MaxBadRows(limit), _declare())

  def test_a_sum_that_adds_up(self) -> None:
    self._check(read=10, used=7, bounded__x=2, quarantined__not_json=1)

  @parameterized.parameters(
    ({'read': 10, 'used': 9}, 'account for all 10 rows, found 9'),
    ({'read': 10, 'used': 11}, 'account for all 10 rows, found 11'),
    ({}, 'Expected rows in the input, found none'),
    ({'read': 10, 'used': 8, 'quarantined__not_json': 2}, r'at most 10% bad rows, found 2 of 10 \(not_json 2\)'),
    ({'read': 3, 'bounded__too_little_data': 3}, r'one user with 2 examples, found none in 3 rows \(too_little'),
    ({'problems': ('a',)}, '^a$'),
    ({'problems': ('a', 'b', 'c')}, r'^a \(2 more like it.\)$'),
  )
  def test_refuses(self, values: dict[str, Any], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      self._check(**values)

  def test_a_column_that_no_row_has_is_named_before_the_rows_are_judged(self) -> None:
    report = _report(read=10, quarantined__no_client_id=10, names__user_id=2, names__x=1, names__kind=2)
    message = "^Expected a column 'user' in the rows, found kind, user_id, x: did you mean user_id[?]$"
    with self.assertRaisesRegex(ValueError, message):
      accounting.check(report, accounting.MaxBadRows('100%'), _declare())

  @parameterized.parameters(
    ({'quarantined__order_not_integer': 10, 'found__=time': 4}, 'times: write order_type = "time" in .client.'),
    ({'quarantined__order_not_time': 10}, 'write order_format in .client., such as "%d.%m.%y %H.%M".'),
    ({'used': 9, 'quarantined__ambiguous_date': 1}, 'read in one way only, found 1 such as .* write order_format'),
  )
  def test_says_what_to_declare_of_the_order(self, counts: dict[str, Any], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      self._check(read=10, **counts)

  def test_the_reasons_add_up_to_the_bad_rows(self) -> None:
    with self.assertRaisesRegex(ValueError, r'found 5 of 10 \(not_json 2, not_utf8 3\): check the columns'):
      self._check(read=10, quarantined__not_json=2, quarantined__not_utf8=3, quarantined__duplicate_row=4, used=1)

  def test_duplicates_are_no_bad_rows(self) -> None:
    self._check(limit='0', read=10, used=5, quarantined__duplicate_row=5)


class JobTest(parameterized.TestCase):
  @parameterized.parameters(
    ('{"user_id": "a", "text": "b"}', "Expected a column 'user' in the rows, found .*user_id"),
    ('nonsense', 'at most 10% bad rows, found 9 of 9'),
  )
  def test_rows_that_end_the_job_cost_no_epsilon(self, line: str, message: str) -> None:
    path = self.create_tempfile('log.jsonl', f'{line}\n' * 9).full_path
    featurizer = words.Words('text', vocabularies.Words(source='dp', epsilon=1.0, delta=1e-5))
    declared = dataclasses.replace(_declare(), featurizer=featurizer)
    key, limit = client_ids.read_key(None, is_public=True), accounting.MaxBadRows('10%')
    described = job_lib.Job([path], declared, key, 1, limit, os.path.join(self.create_tempdir().full_path, 'shards'))
    with (
      mock.patch.object(vocabulary.VocabularyLearner, 'release', side_effect=AssertionError),
      self.assertRaisesRegex(ValueError, message),
    ):
      job_lib.run(described, running.parse_flags([]))


class CheckSplitsTest(absltest.TestCase):
  def test_somebody_has_to_be_left_to_train_on(self) -> None:
    splits = {split: {'clients': 3, 'examples': 5} for split in ('train', 'tail', 'validation', 'test')}
    accounting.check_splits(splits)
    for clients in (0, 3):  # Three without examples are nobody to train on.
      with self.assertRaisesRegex(ValueError, 'found all 6 held out'):
        accounting.check_splits(splits | {'train': {'clients': clients, 'examples': 0}})


class WarnTest(absltest.TestCase):
  def test_says_what_training_will_refuse(self) -> None:
    splits = {split: {'clients': 300, 'examples': 5} for split in ('train', 'tail', 'validation', 'test')}
    self.assertEqual(accounting.warn(splits), [])
    (said,) = accounting.warn(splits | {'test': {'clients': 0, 'examples': 0}})
    self.assertStartsWith(said, 'No test client: ')
    (said,) = accounting.warn(splits | {'train': {'clients': 300, 'examples': 0}})
    self.assertStartsWith(said, 'No training client with examples')
    (said,) = accounting.warn(splits | {'train': {'clients': 99, 'examples': 900}})
    self.assertStartsWith(said, 'Only 99 training clients: delta has to be below 1 / training clients')


class CheckBeforeLearningTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._clients = {'train': 30, 'tail': 0, 'validation': 0, 'test': 4}

  @parameterized.parameters(0.5, 1 / 30)
  def test_delta_has_to_be_below_one_over_the_clients(self, delta: float) -> None:
    message = 'Expected a delta below 1 / training clients = 0.0333 .* found .* would allow to publish a client'
    with self.assertRaisesRegex(ValueError, message):
      accounting.check_before_learning(self._clients, guarantees.Cost(1.0, delta))
    accounting.check_before_learning(self._clients, guarantees.Cost(1.0, 0.9 / 30))

  @parameterized.parameters('train', 'test')
  def test_somebody_has_to_train_and_somebody_to_be_held_out(self, split: str) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected (held-out )?users to (train|measure) on'):
      accounting.check_before_learning(self._clients | {split: 0}, guarantees.Cost(1.0, 1e-6))

  def test_a_job_is_refused_before_any_noise_is_drawn(self) -> None:
    folder = pathlib.Path(self.create_tempdir().full_path)
    rows = [{'user': f'u{row % 30}', 'time': row, 'text': 'to be or not'} for row in range(300)]
    (folder / 'log.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    (folder / 'd.toml').write_text(_LEARNED)
    flags = (f'--dataset={folder}/d.toml', f'--input={folder}/log.jsonl', f'--output_dir={folder}/shards')
    few = 'Expected held-out users .* found none beside 30 users to train on: declare a larger test_users_share'
    large = 'Expected a delta below 1 / training clients .* 0.5: .* declare a smaller one'
    for delta, share, code, message in (('0.5', 0.1, 2, large), ('0.01', 0.001, 2, few), ('0.01', 0.1, 7, '')):
      overrides = (f'--override=examples.vocabulary.delta={delta}', f'--override=splits.test_users_share={share}')
      command = [sys.executable, '-c', _NO_NOISE, *flags, *overrides]
      done = subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, timeout=120, check=False)
      self.assertEqual(done.returncode, code, done.stderr)
      self.assertEqual(list((folder / 'shards').rglob('*.clients')), [])
      if code == 2:
        self.assertRegex(done.stderr.splitlines()[-1], f'^error: {message}')


class ToJsonTest(absltest.TestCase):
  def test_says_where_the_rows_went(self) -> None:
    report = _report(
      read=6, used=3, bounded__a=1, bounded__b=1, quarantined__c=1, set_aside__d=2, empty__f=5, notes__e=4
    )
    self.assertEqual(
      accounting.to_json(report),
      {
        'rows': {'read': 6, 'used': 3, 'bounded': 2, 'quarantined': {'c': 1}},
        'bounded_by': {'a': 1, 'b': 1},
        'empty_clients': {'f': 5},
        'clients_set_aside': {'d': 2},
        'notes': {'e': 4},
      },
    )


class NotesTest(absltest.TestCase):
  def test_a_note_says_what_to_do(self) -> None:
    found = accounting.describe_notes({readers.BACKSLASHES: 1200, 'ids_normalized': 3})
    self.assertEqual(found[0][:27], 'backslashes_before_quotes 1')
    self.assertEndsWith(found[0], r'write escape = "\\" in [input]')
    self.assertEqual(found[1], 'ids_normalized 3')


if __name__ == '__main__':
  absltest.main()
