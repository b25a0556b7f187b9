"""Tests of where means and standard deviations come from. What is learned is noisy: chances of failing are given."""

import dataclasses
import hashlib
import json
import math
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa

from contracts import guarantees
from pipelines.rows import rows as rows_lib
from pipelines.statistics import mechanisms
from pipelines.statistics import scaling

_LEARNED = scaling.Scaling('dp', epsilon=1.0, delta=1e-6, lower=(-10.0, 0.0), upper=(10.0, 1.0))
_COLUMNS = ('x', 'y')
_GRID = 2**20
_CLIENTS = strategies.lists(
  strategies.lists(strategies.tuples(*[strategies.floats(allow_nan=True, allow_infinity=True)] * 2), max_size=5),
  max_size=4,
)


def _rows(*clients: list[tuple[float, float]]) -> rows_lib.ClientRows:
  x, y = zip(*[row for client in clients for row in client], strict=True) if any(clients) else ((), ())
  table = pa.table({'y': pa.array(y, pa.float64()), 'x': pa.array(x, pa.float64())})
  return rows_lib.ClientRows(table, np.cumsum([0, *map(len, clients)]))


def _contribute(*clients: list[tuple[float, float]]) -> np.ndarray:
  return scaling.ScalingLearner(_COLUMNS, _LEARNED).contribute(_rows(*clients))


class ScalingTest(parameterized.TestCase):
  def _write(self, content: str) -> scaling.Scaling:
    self._folder = pathlib.Path(self.create_tempdir().full_path)
    (self._folder / 'public.csv').write_text(content)
    return scaling.Scaling('public', file='public.csv')

  def test_none(self) -> None:
    values = np.array([[1, 2]], np.float32)
    self.assertIs(scaling.Scaling().apply(values), values)
    self.assertEmpty(scaling.Scaling().entries())
    self.assertIsNone(scaling.Scaling().learner(_COLUMNS))

  def test_declared(self) -> None:
    declared = scaling.Scaling('declared', mean=(1.0, 10.0), stddev=(2.0, 0.5))
    scaled = declared.apply(np.array([[1, 10], [5, 11]], np.float32))
    self.assertEqual((scaled.tolist(), scaled.dtype), ([[0, 0], [2, 2]], np.float32))
    (entry,) = declared.entries()
    self.assertEqual(entry, entry | {'source': 'declared', 'epsilon': 0.0, 'mean': [1.0, 10.0], 'stddev': [2.0, 0.5]})

  def test_a_public_file(self) -> None:
    public = self._write('x,y\n1,10\n3,\n,20\n').load(str(self._folder))
    self.assertEqual((public.names, public.mean, public.stddev), (('x', 'y'), (2.0, 15.0), (1.0, 5.0)))
    (entry,) = public.entries()
    sha256 = hashlib.sha256((self._folder / 'public.csv').read_bytes()).hexdigest()
    self.assertEqual(entry, entry | {'source': 'public', 'file': 'public.csv', 'sha256': sha256, 'mean': [2.0, 15.0]})
    public.check(('x', 'y'))
    with self.assertRaisesRegex(ValueError, 'Expected the columns y, x in the file of the scaling, found x, y'):
      public.check(('y', 'x'))

  @parameterized.parameters(
    ('x\n1\n1\n', 'vary in the file public.csv'),
    ('x\n', 'vary in the file public.csv'),
    ('x,name\n1,a\n2,b\n', 'Expected a file of numbers under a header'),
    ('', 'Expected a file of numbers under a header'),
    ('x\n1\nnan\n', 'vary in the file public.csv'),
  )
  def test_a_file_that_will_not_do(self, content: str, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message) as caught:
      self._write(content).load(str(self._folder))
    self.assertNotIn('\n', str(caught.exception))

  @parameterized.parameters(
    ('x,y\n1,1\n1,3\n', "found 'x': remove it from the file and from the columns", 'y\n1\n3\n'),
    ('x,y\na,1\nb,3\n', 'write a line of column names, then numbers alone.', 'x,y\n2,1\n4,3\n'),
    ('', 'write a line of column names, then numbers alone.', 'y\n1\n3\n'),
  )
  def test_a_file_is_corrected(self, content: str, message: str, corrected: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      self._write(content).load(str(self._folder))
    loaded = self._write(corrected).load(str(self._folder))
    loaded.check(corrected.partition('\n')[0].split(','))
    self.assertEqual(loaded.mean[-1], 2.0)

  @parameterized.parameters('dp', 'public')
  def test_nobody_declares_what_was_learned_or_read(self, source: str) -> None:
    given = dataclasses.replace(_LEARNED, source=source, mean=(0.0,), stddev=(1.0,), file='f' * (source == 'public'))
    expected = f'a mean with source "declared" alone, found one with {source!r}: remove mean and stddev.'
    with self.assertRaisesRegex(ValueError, expected):
      given.load('/nowhere')
    self._write('x\n1\n3\n')
    file = 'public.csv' if source == 'public' else ''
    dataclasses.replace(given, mean=(), stddev=(), file=file).load(str(self._folder))

  def test_another_file_than_the_declared_one(self) -> None:
    public = dataclasses.replace(self._write('x\n1\n2\n'), sha256='0' * 64)
    with self.assertRaisesRegex(ValueError, 'declared sha256, found another public.csv'):
      public.load(str(self._folder))

  @parameterized.parameters(
    (scaling.Scaling('declared', mean=(0.0,), stddev=(1.0,)), 'a mean of each of 2 columns, found 1'),
    (scaling.Scaling('dp', epsilon=1, delta=1e-6, lower=(0.0,), upper=(1.0,)), 'a lower of each of 2 columns'),
  )
  def test_it_is_of_as_many_columns_as_there_are(self, given: scaling.Scaling, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      given.check(_COLUMNS)

  def test_what_is_not_known_cannot_be_applied(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected the scaling of source "dp" to be known'):
      _LEARNED.apply(np.zeros((1, 2), np.float32))

  @parameterized.parameters(
    ({'source': 'exact'}, 'Expected source to be none, declared, public, dp'),
    ({'source': 'declared'}, 'Expected a mean and a stddev of each column, found 0 and 0'),
    ({'source': 'declared', 'mean': (1.0, 2.0), 'stddev': (1.0,)}, 'found 2 and 1'),
    ({'source': 'declared', 'mean': (1.0,), 'stddev': (0.0,)}, 'Expected each stddev > 0, found 0'),
    ({'source': 'public'}, 'Expected a file'),
    ({'source': 'none', 'file': 'f'}, 'Expected a file with source "public" alone'),
    ({'source': 'dp', 'lower': (0.0,), 'upper': (1.0,), 'delta': 1e-6}, 'Expected 0 < epsilon'),
    ({'source': 'dp', 'epsilon': 1.0, 'delta': 1e-6}, 'Expected lower and upper of each column'),
    ({'source': 'dp', 'epsilon': 1.0, 'delta': 1e-6, 'lower': (1.0,), 'upper': (1.0,)}, 'each lower < upper'),
    ({'source': 'dp', 'epsilon': 1.0, 'delta': 1e-6, 'lower': (-1e308,), 'upper': (1e308,)}, 'each lower < upper'),
  )
  def test_mistakes(self, fields: dict, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      scaling.Scaling(**fields)


class ContributeTest(parameterized.TestCase):
  def test_by_hand(self) -> None:
    # x is divided by 10, y is mapped to 2 y - 1; values beyond a range are moved to its end.
    sums = _contribute([(5.0, 0.5), (-5.0, 1.0)], [(90.0, 0.0)]) / _GRID
    np.testing.assert_allclose(sums, [2, 0 + 1, 0.5 - 1, (0.25 - 0.5) + (1 - 0.5), (0.5 - 0.5) + (1 - 0.5)])

  @hypothesis.settings(max_examples=200, deadline=None)
  @hypothesis.given(_CLIENTS, strategies.integers(0, 4))
  def test_a_client_adds_no_more_than_it_may_whatever_the_others_have(self, clients: list, place: int) -> None:
    client = [(1e300, -math.inf), (math.inf, 0.3)]
    added = _contribute(*clients[:place], client, *clients[place:]) - _contribute(*clients)
    np.testing.assert_array_equal(added, _contribute(client))
    for one in clients:
      self.assertLessEqual(np.linalg.norm(_contribute(one) / _GRID), math.sqrt(1 + 1.25 * 2))

  def test_the_bound_is_reached(self) -> None:
    self.assertEqual(np.linalg.norm(_contribute([(10.0, 1.0)] * 3) / _GRID), math.sqrt(1 + 1.25 * 2))

  def test_rounds_towards_zero(self) -> None:
    for value, expected in ((0.9, 0), (-0.9, 0), (1.9, 1), (-1.9, -1)):
      self.assertEqual(_contribute([(10 * value / _GRID, 0.5)])[1], expected)

  def test_clients_without_rows_add_nothing(self) -> None:
    np.testing.assert_array_equal(_contribute([], []), np.zeros(5))


class ReleaseTest(parameterized.TestCase):
  def test_learns_what_the_data_has(self) -> None:
    rng = np.random.default_rng(0)
    clients = [list(zip(rng.normal(3, 2, 5), rng.random(5), strict=True)) for _ in range(4000)]
    learner = scaling.ScalingLearner(_COLUMNS, _LEARNED)
    total = learner.add(*(learner.contribute(_rows(*clients[start::2])) for start in range(2)))
    release = learner.release(total)
    # The noise has a deviation of 8 on sums of 4000, or 0.002 of half a range, which leaves the mean of x one of 0.025
    # (some of it the sample's own) and its stddev one of 3%. Beyond six of these once in hundred million times.
    np.testing.assert_array_less(np.abs(np.subtract(release.value['mean'], [3, 0.5])), [0.15, 0.02])
    np.testing.assert_allclose(release.value['stddev'], [2, 12**-0.5], rtol=0.2)
    learned = _LEARNED.with_learned(release.value)
    self.assertIsNone(learned.learner(_COLUMNS))
    self.assertEmpty(learned.entries())
    x, y = np.array([row for client in clients for row in client]).T
    scaled = learned.apply(np.stack([x, y], axis=1).astype(np.float32))
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=0.25)

  @parameterized.parameters(0, 1, 10)
  def test_few_clients_give_noise_and_no_failure(self, count: int) -> None:
    learner = scaling.ScalingLearner(_COLUMNS, _LEARNED)
    total = learner.contribute(_rows(*[[(3.0, 0.5)]] * count)) if count else None
    learned = _LEARNED.with_learned(learner.release(total).value)
    learned.check(_COLUMNS)
    for mean, stddev, lower, upper in zip(learned.mean, learned.stddev, learned.lower, learned.upper, strict=True):
      self.assertBetween(mean, lower, upper)
      self.assertBetween(stddev, 0, (upper - lower) / 2)

  def test_a_column_that_never_varies_is_not_blown_up(self) -> None:
    learner = scaling.ScalingLearner(_COLUMNS, _LEARNED)
    release = learner.release(learner.contribute(_rows(*[[(3.0, 0.5)]] * 4000)))
    least = math.sqrt(release.entry['noise_stddev'] / release.entry['noisy_clients'])
    self.assertGreaterEqual(release.value['stddev'][1], 0.5 * least * (1 - 1e-9))

  def test_what_the_guarantee_rests_on_is_on_record(self) -> None:
    entry = scaling.ScalingLearner(_COLUMNS, _LEARNED).release(None).entry
    expected = {
      'what': 'mean and standard deviation of x, y',
      'source': 'dp',
      'epsilon': 1.0,
      'delta': 1e-6,
      'unit': 'client',
      'adjacency': guarantees.ADJACENCY,
      'lower': [-10.0, 0.0],
      'upper': [10.0, 1.0],
      'noise_stddev': mechanisms.calibrate_gaussian(1.0, 1e-6, math.sqrt(3.5)),
    }
    self.assertEqual(entry, entry | expected)
    json.dumps(entry, allow_nan=False)


if __name__ == '__main__':
  absltest.main()
