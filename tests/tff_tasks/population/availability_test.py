"""Tests of who can be invited: by a trace that fits the data set, and by day and night."""

from collections.abc import Sequence
import contextlib
import csv
import dataclasses
import os
import pathlib
import tempfile
import textwrap

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import client_shards
from pipelines.rows import client_ids
from tests import layout
from tests.tff_tasks import fakes
from tests.tff_tasks.population.samplers import draws
from tff_tasks.population import availability
from tff_tasks.population import cohorts

_CLIENTS = len(fakes.SIZES)


class TraceTest(parameterized.TestCase):
  shards: client_shards.ClientShards
  rows: list[list[str]]

  @classmethod
  def setUpClass(cls) -> None:
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.shards = fakes.write_shards(os.path.join(folder, 'shards'))
    # Client k can be invited in the slots after the k-th.
    cls.rows = [
      [cls.shards.client_id('train', client), *(str(int(slot > client)) for slot in range(3))]
      for client in range(_CLIENTS)
    ]

  def _read(self, rows: Sequence[Sequence[str]], header: str = 'client,night,day,evening') -> availability.Availability:
    text = '\n'.join([header, *map(','.join, rows)]) + '\n'
    found = availability.read(self.create_tempfile('trace.csv', content=text).full_path, self.shards)
    assert found is not None
    return found

  def test_a_round_has_the_slot_of_its_number(self) -> None:
    trace = self._read(self.rows[::-1])
    self.assertEqual(trace.slots, 3)
    coins = cohorts.Cohorts(draws.plan('poisson', (), 8, 4), draws.SEED, draws.ids(8))._coins
    for round_number, clients in ((1, 0), (2, 1), (3, 2), (4, 0), (6, 2)):
      self.assertEqual(np.flatnonzero(trace.draw(round_number, coins)).tolist(), list(range(clients)))

  def test_probabilities_are_drawn_by_coins_of_the_round(self) -> None:
    trace = self._read([[client, '0.5', '0.5', '0.5'] for client, *_ in self.rows])
    drawer = cohorts.Cohorts(draws.plan('poisson', (), 8, 4), draws.SEED, draws.ids(8))
    drawn = [tuple(trace.draw(number, drawer._coins)) for number in range(1, 41)]
    self.assertBetween(np.mean(drawn), 0.3, 0.7)
    self.assertGreater(len(set(drawn)), 30)

  def test_other_clients_and_forms_of_a_spreadsheet_are_no_mistake(self) -> None:
    others = [[self.shards.client_id('test', 0), '1', '1', '1'], ['0' * 32, '1', '1', '1']]
    found = self._read([*others, *([client.upper(), *cells] for client, *cells in self.rows), []])
    marked = self._read(self.rows, '\ufeffclient,night,day,evening')
    for slot in range(3):
      expected = self._read(self.rows).probabilities(slot, _no_coins)
      self.assertEqual(found.probabilities(slot, _no_coins).tolist(), expected.tolist())
      self.assertEqual(marked.probabilities(slot, _no_coins).tolist(), expected.tolist())

  def test_its_name_tells_contents_apart(self) -> None:
    self.assertEqual(self._read(self.rows).name, self._read(self.rows).name)
    self.assertNotEqual(self._read(self.rows).name, self._read(self.rows[::-1]).name)
    self.assertStartsWith(self._read(self.rows).name, 'a trace of slots: 3, SHA-256 ')

  @parameterized.named_parameters(
    ('number', ['', '0.5', 'often', '1'], 'Expected probabilities from 0 to 1 in the trace .*something else in line 3'),
    ('above', ['', '0.5', '1.5', '1'], 'something else in line 3: correct that line'),
    ('below', ['', '-0.5', '0.5', '1'], 'something else in line 3'),
    ('nan', ['', 'nan', '0.5', '1'], 'something else in line 3'),
    ('cells', ['', '0.5', '1'], 'Expected 3 probabilities in the trace trace.csv, found 2 in line 3'),
    (
      'raw_id',
      ['anna@example.org', '0', '0', '0'],
      'Expected ids of clients .*found something else in line 3: write the',
    ),
    ('unknown', ['0' * 32, '0', '0', '0'], 'a line for each of 8 training clients .*found none for 1'),
  )
  def test_a_line_that_does_not_fit(self, row: list[str], message: str) -> None:
    rows = [self.rows[0], [row[0] or self.rows[1][0], *row[1:]], *self.rows[2:]]
    with self.assertRaisesRegex(ValueError, message) as caught:
      self._read(rows)
    self.assertNotIn('anna', str(caught.exception))

  def test_clients_twice_or_missing(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected one line for each client .*found one again in line 10: leave'):
      self._read([*self.rows, self.rows[0]])
    with self.assertRaisesRegex(
      ValueError, f'a line for each of 8 training clients .*found none for 2, such as {self.rows[6][0]}: add them'
    ):
      self._read(self.rows[:6])

  @parameterized.parameters('client', 'user,night,day', '')
  def test_a_header_that_is_none(self, header: str) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected a first line with "client" and a name for each slot'):
      self._read(self.rows, header)

  def test_files_that_are_no_trace(self) -> None:
    with self.assertRaisesRegex(
      ValueError, 'Expected --availability to be diurnal or the path .*No such file .*diurn:'
    ):
      availability.read('diurn', self.shards)
    with self.assertRaisesRegex(ValueError, 'Expected --availability to be diurnal or the path .*directory'):
      availability.read(self.shards.path, self.shards)
    with self.assertRaisesRegex(ValueError, 'Expected text in UTF-8'):
      availability.read(self.create_tempfile(content=b'client\xff\xfe').full_path, self.shards)
    with self.assertRaisesRegex(ValueError, 'Expected a CSV file'):
      availability.read(self.create_tempfile(content='client,' + 'a' * 200_000).full_path, self.shards)
    self.assertIsNone(availability.read(None, self.shards))

  def test_the_docs_say_how_a_file_by_user_becomes_one_by_client(self) -> None:
    text = (layout.ROOT / 'docs/train.md').read_text()
    code = textwrap.dedent(text[text.index('    import csv\n') :].split('\n\n')[0])
    folder = pathlib.Path(self.create_tempdir().full_path)
    (folder / 'client_id.key').write_text('a key of 16 bytes or more')
    (folder / 'by_user.csv').write_text('user,night,day\nanna,0.1,0.9\nben,1,0.5\n')
    with contextlib.chdir(folder):
      exec(code, {})
    header, *rows = csv.reader((folder / 'trace.csv').read_text().splitlines())
    self.assertEqual(header, ['client', 'night', 'day'])
    key = client_ids.read_key(str(folder / 'client_id.key'), is_public=False).secret
    expected = [client_ids.hash_id(name, key).hex() for name in ('anna', 'ben')]
    self.assertEqual(rows, [[expected[0], '0.1', '0.9'], [expected[1], '1', '0.5']])


class DiurnalTest(absltest.TestCase):
  def test_has_a_day_and_a_night(self) -> None:
    plan = draws.plan('poisson', (), 2_000, 10)
    coins = cohorts.Cohorts(plan, draws.SEED, draws.ids(2_000))._coins
    shares = [availability.Diurnal().draw(number, coins).mean() for number in range(1, 49)]
    self.assertBetween(np.mean(shares), 0.45, 0.55)
    self.assertGreater(max(shares) - min(shares), 0.25)
    self.assertLess(np.abs(np.subtract(shares[:24], shares[24:])).max(), 0.1)  # Both days are alike.

  def test_each_client_has_an_hour_of_its_own(self) -> None:
    coins = cohorts.Cohorts(draws.plan('poisson'), draws.SEED, draws.ids(50))._coins
    table = np.stack([availability.Diurnal().probabilities(slot, coins) for slot in range(24)])
    self.assertGreater(len(set(table.argmax(axis=0))), 8)
    self.assertTrue(((table >= 0.05) & (table <= 0.95)).all())
    np.testing.assert_array_less(0.9, table.max(axis=0))


class CohortsTest(parameterized.TestCase):
  @parameterized.parameters(*draws.ALL)
  def test_nobody_is_invited_who_is_away(self, sampling: str, options: Sequence[str]) -> None:
    plan = dataclasses.replace(draws.plan(sampling, options), availability='diurnal')
    source = cohorts.Cohorts(plan, draws.SEED, draws.ids(50), 1, availability.Diurnal())
    drawn = [source.draw(number).tolist() for number in range(1, 49)]
    for number, cohort in enumerate(drawn, start=1):
      away = np.flatnonzero(~availability.Diurnal().draw(number, source._coins))
      self.assertNoCommonElements(cohort, away.tolist())
    resumed = cohorts.Cohorts(plan, draws.SEED, draws.ids(50), 1, availability.Diurnal())
    self.assertEqual([resumed.draw(number).tolist() for number in range(17, 49)], drawn[16:])

  def test_fixed_cohorts_are_filled_with_those_that_are_there(self) -> None:
    plan = dataclasses.replace(draws.plan('fixed'), availability='diurnal')
    source = cohorts.Cohorts(plan, draws.SEED, draws.ids(50), 1, availability.Diurnal())
    self.assertEqual({source.draw(number).size for number in range(1, 49)}, {10})

  def test_an_epoch_has_nobody_twice_and_most_once(self) -> None:
    plan = dataclasses.replace(draws.plan('cyclic'), availability='diurnal')
    source = cohorts.Cohorts(plan, draws.SEED, draws.ids(50), 1, availability.Diurnal())
    invited = 0
    for epoch in range(20):
      drawn = np.concatenate([source.draw(5 * epoch + position) for position in range(1, 6)])
      self.assertLen(set(drawn.tolist()), len(drawn))
      invited += len(drawn)
    self.assertGreater(invited, 0.7 * 20 * 50)  # Half of the clients are there in a round.

  def test_an_epoch_of_clients_that_are_always_there_is_the_usual_one(self) -> None:
    plan = dataclasses.replace(draws.plan('cyclic'), availability='always')
    always = availability.Trace(np.ones((50, 1)), 'always')
    source = cohorts.Cohorts(plan, draws.SEED, draws.ids(50), 1, always)
    drawn = [source.draw(number).tolist() for number in range(1, 21)]
    self.assertEqual(drawn, draws.draw(draws.plan('cyclic'), 20))

  def test_is_that_of_the_plan(self) -> None:
    plan = draws.plan('poisson')
    with self.assertRaisesRegex(ValueError, "Expected the availability of the plan, '', found 'diurnal'"):
      cohorts.Cohorts(plan, draws.SEED, draws.ids(50), 1, availability.Diurnal())
    with self.assertRaisesRegex(ValueError, "'diurnal', found ''"):
      cohorts.Cohorts(dataclasses.replace(plan, availability='diurnal'), draws.SEED, draws.ids(50))


def _no_coins(purpose: str, number: int) -> np.ndarray:
  raise NotImplementedError


if __name__ == '__main__':
  absltest.main()
