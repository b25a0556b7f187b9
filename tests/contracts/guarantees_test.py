import math

from absl.testing import absltest
from absl.testing import parameterized

from contracts import guarantees

_ENTRY = {
  'what': 'words',
  'source': 'dp',
  'mechanism': 'noisy counts',
  'epsilon': 1.5,
  'delta': 1e-6,
  'unit': 'client',
  'adjacency': guarantees.ADJACENCY,
}


class ReadCostTest(parameterized.TestCase):
  def test_reads_epsilon_and_delta(self) -> None:
    self.assertEqual(guarantees.read_cost(_ENTRY, 'repeat'), guarantees.Cost(1.5, 1e-6))
    self.assertEqual(guarantees.read_cost({**_ENTRY, 'epsilon': 0, 'delta': 0}, 'repeat'), guarantees.NOTHING)

  def test_adjacency_is_zero_out(self) -> None:
    self.assertIn('zero-out', guarantees.ADJACENCY)

  @parameterized.parameters(
    ({'unit': 'row'}, "cost of 'words' for unit 'client' .*, found 'row'"),
    ({'unit': None}, 'found None'),
    ({'adjacency': 'one client added or removed'}, "'one client added or removed', which cannot be added .*: repeat"),
    ({'epsilon': -3}, 'Expected a finite epsilon >= 0 .*, found -3 and 1e-06: repeat'),
    ({'epsilon': math.inf}, 'found inf'),
    ({'epsilon': math.nan}, 'found nan'),
    ({'epsilon': '1'}, "found '1'"),
    ({'epsilon': None}, 'found None'),
    ({'epsilon': True}, 'found True'),
    ({'delta': 1.0}, 'found 1.5 and 1.0'),
    ({'delta': -1e-9}, 'and -1e-09'),
    ({'delta': math.nan}, 'and nan'),
    ({'delta': None}, 'and None'),
  )
  def test_refuses(self, changes: dict, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      guarantees.read_cost({**_ENTRY, **changes}, 'repeat')


class FormatEpsilonTest(parameterized.TestCase):
  @parameterized.parameters(
    (6.9993, '7.00'),
    (7.0, '7.00'),
    (1.1, '1.10'),
    (1.100001, '1.11'),
    (41.84125, '41.85'),
    (1234.5, '1234.50'),
    (0.1, '0.10'),
    (0.0999, '0.1'),
    (0.001, '0.001'),
    (0.0012345, '0.0013'),
    (1e-9, '1e-09'),
    (0.0, '0'),
    (math.inf, 'inf'),
  )
  def test_rounds_up_and_never_to_nothing(self, epsilon: float, expected: str) -> None:
    self.assertEqual(guarantees.format_epsilon(epsilon), expected)

  def test_is_never_less_than_the_epsilon(self) -> None:
    for exponent in range(-200, 40):
      epsilon = 10 ** (exponent / 20) * 1.23
      self.assertGreaterEqual(float(guarantees.format_epsilon(epsilon)), epsilon)


class FormatDeltaTest(absltest.TestCase):
  def test_is_rounded_up(self) -> None:
    expected = {1e-4: '0.0001', 1.049e-4: '0.000105', 1.0001e-5: '1.01e-05', 3.553e-5: '3.56e-05', 0.0: '0'}
    self.assertEqual({delta: guarantees.format_delta(delta) for delta in expected}, expected)


if __name__ == '__main__':
  absltest.main()
