"""Tests of what is said of clients that a round skipped, and that the run ends on them unless it may skip them."""

import os
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from contracts import client_shards
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tests.tff_tasks import scripted
from tff_tasks.population import client_data
from tff_tasks.training import checkpoints
from tff_tasks.training import skipped_clients

_SIZES = (2,) * 40


def _errors(*clients: int) -> list[client_data.ClientError]:
  return [client_data.ClientError(client, f'Expected bytes, found {client}: repair them.') for client in clients]


class SkippedClientsTest(parameterized.TestCase):
  shards: client_shards.ClientShards

  @classmethod
  def setUpClass(cls) -> None:
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.shards = fakes.write_shards(os.path.join(folder, 'shards'), _SIZES)

  def setUp(self) -> None:
    super().setUp()
    self._said: list[str] = []

  def _skipped(self, is_skipped: bool) -> skipped_clients.SkippedClients:
    return skipped_clients.SkippedClients(self.shards, is_skipped, self._said.append)

  def test_names_the_client_and_the_way_on(self) -> None:
    with self.assertRaises(ValueError) as caught:
      self._skipped(is_skipped=False).take(_errors(3))
    self.assertEqual(
      str(caught.exception),
      f'Expected every client of a round to take part, found 1 that cannot: client '
      f'{self.shards.client_id("train", 3)}: Expected bytes, found 3: repair them; repeat the command when that is '
      'repaired, or with --on_client_error=skip to skip such clients.',
    )
    self.assertEmpty(self._said)

  @parameterized.parameters((3, ''), (4, '; and 1 more'), (1_203, '; and 1,200 more'))
  def test_names_three_at_most(self, count: int, more: str) -> None:
    with self.assertRaises(ValueError) as caught:
      self._skipped(is_skipped=False).take(_errors(*(number % len(_SIZES) for number in range(count))))
    self.assertIn(f'found {count:,} that cannot: client ', str(caught.exception))
    self.assertEqual(str(caught.exception).count('Expected bytes'), 3)
    self.assertIn(f'repair them{more}; repeat the command', str(caught.exception))

  def test_skipped_clients_are_told_once(self) -> None:
    skipped = self._skipped(is_skipped=True)
    for errors in (_errors(3, 5), _errors(5), _errors(6, 3)):
      skipped.take(errors)
    self.assertEmpty(self._said)
    skipped.tell()
    skipped.tell()
    expected = [
      f'Skipped client {self.shards.client_id("train", client)}: Expected bytes, found {client}: repair them.'
      for client in (3, 5, 6)
    ]
    self.assertEqual(self._said, expected)

  def test_ten_are_told_and_then_that_there_are_more(self) -> None:
    skipped = self._skipped(is_skipped=True)
    skipped.take(_errors(*range(10)))
    skipped.tell()
    self.assertLen(self._said, 10)
    self.assertStartsWith(self._said[-1], 'Skipped client ')
    skipped.take(_errors(0, *range(10, 40)))
    skipped.take(_errors(*range(40)))
    skipped.tell()
    self.assertEqual(self._said[10:], ['More clients are skipped; metrics.csv counts them.'])


class RunTest(runs.RunsTestCase):
  def test_a_skipped_client_is_told_of_when_its_round_is_on_the_disk(self) -> None:
    script = scripted.Script({2: [7], 4: [8]}, error=RuntimeError('dead'))
    with self.assertRaises(RuntimeError):
      self.train('run', script, on_client_error='skip', total_rounds=5, rounds_per_checkpoint=3)
    said = self.stream.getvalue()
    self.assertEqual(said.count('Skipped client '), 1)
    self.assertIn(f'Skipped client {self.shards.client_id("train", 7)}', said)
    save = mock.patch.object(checkpoints.Checkpoints, 'save', side_effect=RuntimeError('dead'))
    with save, self.assertRaises(RuntimeError):
      self.train('run', script, on_client_error='skip', total_rounds=5, rounds_per_checkpoint=1)
    self.assertEqual(self.stream.getvalue().count('Skipped client '), 1)


if __name__ == '__main__':
  absltest.main()
