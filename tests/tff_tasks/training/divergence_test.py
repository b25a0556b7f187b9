from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.tff_tasks import runs
from tests.tff_tasks import scripted
from tff_tasks.population import client_data
from tff_tasks.runtime import runtime
from tff_tasks.training import divergence
from tff_tasks.training import metrics

_NOT_FINITE = [client_data.ClientError(3, runtime.NOT_FINITE)]


def _weights(value: float) -> list[np.ndarray]:
  return [np.ones((2, 3), np.float32), np.zeros(0, np.float32), np.array([0.5, value], np.float32)]


class DivergenceTest(parameterized.TestCase):
  @parameterized.parameters(np.nan, np.inf, -np.inf, 1e7, -1e7)
  def test_a_model_that_is_useless_is_the_servers_fault(self, value: float) -> None:
    message = '^Expected finite weights .* after round 7, found others: [^0-9]*server_learning_rate'
    with self.assertRaisesRegex(ValueError, message):
      divergence.check(7, _weights(1.0), _weights(value), [])

  def test_says_what_to_do(self) -> None:
    for before, after, errors in ((1.0, np.nan, []), (-5e3, -5e3, _NOT_FINITE)):
      with self.assertRaisesRegex(ValueError, ': another remedy\\.$'):
        divergence.check(7, _weights(before), _weights(after), errors, 'another remedy')

  @parameterized.parameters(0.0, 900.0, -2e4)
  def test_an_ordinary_model_passes(self, value: float) -> None:
    divergence.check(7, _weights(1.0), _weights(value), [])

  def test_clients_are_not_blamed_for_the_model_that_they_got(self) -> None:
    with self.assertRaisesRegex(ValueError, '^Expected finite updates in round 7.* above 1000: .*server_learning'):
      divergence.check(7, _weights(-5e3), _weights(-5e3), _NOT_FINITE)

  def test_clients_are_blamed_otherwise(self) -> None:
    divergence.check(7, _weights(5.0), _weights(5.0), _NOT_FINITE)
    divergence.check(7, _weights(5e3), _weights(5e3), [client_data.ClientError(3, 'damaged')])


def _rows(count: int, **figures: Any) -> list[metrics.RoundMetrics]:
  values = {'clients': 4, 'loss': 2.0, 'update_norm_max': 0.25} | figures
  return [metrics.RoundMetrics(number, **values) for number in range(1, count + 1)]


class StandstillTest(absltest.TestCase):
  def _describe(self, rows: list[metrics.RoundMetrics], moved: float, clip_norm: float | None = 1e-30) -> str:
    return ' '.join(divergence.describe_standstill(rows, -1, _weights(0.0), _weights(moved), clip_norm))

  def test_a_model_that_learns_is_no_matter(self) -> None:
    self.assertEqual(self._describe(_rows(3), 1e-3), '')
    self.assertEqual(divergence.describe_standstill(_rows(3), 3, _weights(0.0), _weights(0.0), None), [])

  def test_too_short_a_clip(self) -> None:
    self.assertRegex(self._describe(_rows(3), 1e-9), 'not changed the model.* --clip_norm=1e-30 cut .* 0.25: raise it')
    self.assertRegex(self._describe(_rows(3), 0.0, None), 'not changed the model.*too small for it.$')

  def test_empty_rounds(self) -> None:
    empty = _rows(3, clients=0, loss=None, update_norm_max=None)
    self.assertRegex(self._describe(empty, 0.0), '^3 of 3 rounds had no client.*--clients_per_round makes that rare.$')
    self.assertRegex(self._describe([*empty, *_rows(2)], 1e-3), '^3 of 5 rounds had no client')

  def test_clients_without_examples(self) -> None:
    rows = _rows(3, loss=None, update_norm_max=0.0)
    self.assertEqual(
      self._describe(rows, 0.0), 'No client of any round had an example that counts: the model has learned nothing.'
    )


class RunTest(runs.RunsTestCase):
  def test_a_server_that_diverges_keeps_the_last_good_checkpoint(self) -> None:
    with self.assertRaisesRegex(ValueError, '^Expected finite weights .* after round 1, found others: .*lower --serv'):
      self.train('run', scripted.Script(step=float('inf')))
    self.assertEqual(self.saved('run').round_number, 0)

  def test_a_model_that_stands_still_is_said_to(self) -> None:
    self.train('run', scripted.Script(step=0.0), clip_norm=1e-30)
    self.assertIn('have not changed the model', self.stream.getvalue())
    self.assertIn('--clip_norm=1e-30 cut updates of norm up to 0.5: raise it', self.stream.getvalue())
    self.stream.truncate(0)
    with self.assertRaisesRegex(ValueError, 'found --clip_norm=0.1: .* add --branch_from=') as caught:
      self.train('run', scripted.Script(step=0.1), clip_norm=0.1, total_rounds=8)
    branched = str(caught.exception).partition('--branch_from=')[2].split()[0]
    self.train('raised', scripted.Script(step=0.1), clip_norm=0.1, total_rounds=8, branch_from=branched)
    self.assertNotIn('have not changed the model', self.stream.getvalue())
    self.assertEqual(self.saved('raised').round_number, 8)

  def test_empty_rounds_are_said_to_be_empty(self) -> None:
    self.train('run', scripted.Script(clients=0))
    self.assertIn('6 of 6 rounds had no client', self.stream.getvalue())


if __name__ == '__main__':
  absltest.main()
