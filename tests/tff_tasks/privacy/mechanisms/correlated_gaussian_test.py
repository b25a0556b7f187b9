"""Tests that correlated noise is the combination of its draws to the last bit, and is correlated as it should be."""

import math
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import mpmath
import numpy as np
from scipy import special

from tff_tasks.privacy.mechanisms import correlated_gaussian
from tff_tasks.privacy.mechanisms import noise

_KEY = bytes(range(32))
_COEFFICIENTS = (1.0, -0.5, -0.125)


def _source(
  stddev: float, size: int, first_round: int = 1, key: bytes = _KEY
) -> correlated_gaussian.CorrelatedGaussian:
  return correlated_gaussian.CorrelatedGaussian(key, stddev, size, _COEFFICIENTS, first_round)


def _exact(round_number: int, index: int, stddev: float, first_round: int) -> int:
  """Returns the noise of a coordinate with hundreds of digits, from the tails that the words stand for."""
  with mpmath.workprec(600):
    total = mpmath.mpf(0)
    for back, coefficient in enumerate(_COEFFICIENTS[: round_number - first_round + 1]):
      tail, sign = noise.Words(_KEY).number(round_number - back, index)
      for _ in range(4):
        tail.extend()
      inside = 1 - mpmath.ldexp(2 * tail.number + 1, -tail.bits)
      total += coefficient * sign * mpmath.sqrt(2) * mpmath.erfinv(inside)
    return int(mpmath.nint(stddev * total))


class CorrelatedGaussianTest(parameterized.TestCase):
  @parameterized.product(stddev=(0.4, 37.5, 1e6, 2.0**34), round_number=(5, 6, 9))
  def test_is_the_rounded_combination_of_its_draws(self, stddev: float, round_number: int) -> None:
    drawn = _source(stddev, 40, 5).draw(round_number).tolist()
    self.assertEqual(drawn, [_exact(round_number, index, stddev, 5) for index in range(40)])

  @parameterized.parameters(
    {'_ERROR': 1.0},
    {'_LEAST_TAIL': 1 << 63},
    {'_LEAST_TAIL': 1 << 63, '_LARGEST': 0.5},  # More than half of the draws are not in float64.
  )
  def test_what_is_decided_exactly_is_what_is_decided_fast(self, **changes: Any) -> None:
    expected = _source(1000.0, 60).draw(4)
    with mock.patch.multiple(correlated_gaussian, **changes):
      np.testing.assert_array_equal(_source(1000.0, 60).draw(4), expected)

  def test_what_is_in_doubt_is_decided_with_more_digits(self) -> None:
    """Of a Gaussian that is a half-integer but for what follows the 64th bit."""
    source = _source(1.0, 1)
    with mock.patch.object(noise.Tail, 'scaled', lambda tail, bits: (1 << (bits - 1)) + (bits > 64)):
      found = {source._decide(1, 0, (sign,)) for sign in (1.0, -1.0)}
    self.assertEqual(found, {-1, 1})

  def test_the_error_in_float64_is_far_below_what_is_allowed_for_it(self) -> None:
    random = np.random.default_rng(0)
    for tail in (2.0 ** -random.uniform(1, 18, 300)).tolist():
      with mpmath.workprec(200):
        exact = mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * mpmath.mpf(tail))
        self.assertLess(abs(-special.ndtri(tail) - exact), (correlated_gaussian._ERROR - 1.26 * 2.0**-46) / 2)

  def test_rounds_are_correlated_as_their_coefficients_say(self) -> None:
    """Fails by chance once in a million times for another key: 21 covariances, six standard deviations each."""
    size, rounds = 200_000, 6
    source = _source(1e5, size, 11)
    drawn = np.array([source.draw(11 + number) for number in range(rounds)]) / 1e5
    matrix = np.sum([value * np.eye(rounds, k=-back) for back, value in enumerate(_COEFFICIENTS)], axis=0)
    # The standard deviation of a sample covariance of Gaussians is at most sqrt(2 / n) times the larger variance.
    self.assertLess(np.abs(np.cov(drawn) - matrix @ matrix.T).max(), 6 * math.sqrt(2 / size) * 1.27)

  def test_a_round_does_not_depend_on_what_was_drawn_before(self) -> None:
    whole = _source(1e6, 1000)
    drawn = {number: whole.draw(number) for number in range(1, 9)}
    for number in (8, 1, 3, 2):
      np.testing.assert_array_equal(_source(1e6, 1000).draw(number), drawn[number])
      np.testing.assert_array_equal(whole.draw(number), drawn[number])

  def test_rounds_in_turn_draw_each_once(self) -> None:
    source = _source(1e6, 100)
    with mock.patch.object(noise.Words, 'of_round', autospec=True, side_effect=noise.Words.of_round) as drawn:
      for number in range(1, 8):
        source.draw(number)
    self.assertEqual([call.args[1] for call in drawn.call_args_list], list(range(1, 8)))

  def test_a_fresh_key_begins_with_independent_noise(self) -> None:
    """That of a branch and of rounds that run again: what was drawn with the other key has no part in it."""
    fresh = _source(1e6, 50, 4, bytes(32))
    first = noise.RoundedGaussian(bytes(32), 1e6, 50).draw(4)
    np.testing.assert_array_equal(fresh.draw(4), first)
    self.assertFalse(np.array_equal(_source(1e6, 50, 1, bytes(32)).draw(4), first))
    with self.assertRaisesRegex(ValueError, 'Expected a round from 4 on, found 3'):
      fresh.draw(3)

  @parameterized.parameters(0.0, math.nan, 2.0**36 + 1)
  def test_refuses_what_it_cannot_draw(self, stddev: float) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected noise of .* found .*: ask for less'):
      _source(stddev, 1)


if __name__ == '__main__':
  absltest.main()
