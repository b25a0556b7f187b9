"""Tests that the state before a round has the noise of that round, from the mechanism and the secret."""

import dataclasses
from typing import Any, NamedTuple
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tff_tasks.aggregation import round_noise
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.privacy.mechanisms import gaussian

_CLIPPED = plan_lib.PrivacyPlan(population=100, clients_per_round=4, quantization_bits=0, clip_norm=5.0)
_NOISED = dataclasses.replace(_CLIPPED, noise_multiplier=2.0, delta=1e-3)
_SECRET = seeds.Seed.from_number(1)


class _State(NamedTuple):
  aggregator: dict[str, Any]


def _noise(plan: plan_lib.PrivacyPlan, dimension: int, round_number: int = 3) -> np.ndarray | None:
  """Returns the noise of a round; None if the plan has none."""
  state = _State({'round': np.int32(round_number - 1)})
  return round_noise.RoundNoise(plan, dimension, _SECRET).add(round_number, state).aggregator.get('noise')


class RoundNoiseTest(parameterized.TestCase):
  def test_is_on_the_grid_of_the_sum_with_the_deviation_of_the_plan(self) -> None:
    for bits in (0, 8):
      plan, size = dataclasses.replace(_NOISED, quantization_bits=bits), 100_000
      codec, drawn = plan.codec(size), _noise(plan, size)
      assert codec is not None
      assert drawn is not None
      self.assertEqual((drawn.dtype, drawn.shape), (np.int64, (codec.encoded_size,)))
      # The relative error of a deviation from n draws is 1 / sqrt(2 n): 1.4 % is six of those.
      self.assertAlmostEqual(np.std(drawn) * codec.step / plan.noise_stddev(size), 1.0, delta=0.014)
      self.assertGreaterEqual(plan.noise_levels(size) * codec.step, plan.noise_stddev(size))

  def test_another_secret_gives_other_noise(self) -> None:
    state = _State({'round': np.int32(0)})
    drawn = [round_noise.RoundNoise(_NOISED, 50, seeds.Seed.from_number(number)).add(1, state) for number in (1, 2)]
    self.assertEmpty(np.intersect1d(*(one.aggregator['noise'] for one in drawn)))

  @parameterized.parameters(0, 1, 3, 4)
  def test_refuses_the_state_before_another_round(self, round_number: int) -> None:
    with self.assertRaisesRegex(ValueError, f'Expected noise for round 2, found that of round {round_number}'):
      round_noise.RoundNoise(_NOISED, 50, _SECRET).add(round_number, _State({'round': np.int32(1)}))

  def test_correlated_noise_begins_with_the_first_round_of_its_secret(self) -> None:
    plan = dataclasses.replace(
      _NOISED, sampling='min_separation', sampling_options=('separation=5',), mechanism='bisr', quantization_bits=0
    )
    state = _State({'round': np.int32(6)})
    drawn = [round_noise.RoundNoise(plan, 50, _SECRET, first).add(7, state).aggregator['noise'] for first in (7, 6)]
    alone = round_noise.RoundNoise(dataclasses.replace(plan, mechanism='gaussian'), 50, _SECRET).add(7, state)
    np.testing.assert_array_equal(drawn[0], alone.aggregator['noise'])
    self.assertFalse(np.array_equal(drawn[1], drawn[0]))

  @parameterized.parameters(('float64', 50, 'float64 of shape .50'), ('int64', 49, 'int64 of shape .49'))
  def test_refuses_what_is_no_such_noise(self, kind: str, size: int, message: str) -> None:
    source = mock.Mock(draw=lambda round_number: np.zeros(size, kind))
    with mock.patch.object(gaussian.Gaussian, 'source', return_value=source):
      drawn = round_noise.RoundNoise(dataclasses.replace(_NOISED, quantization_bits=0), 50, _SECRET)
      with self.assertRaisesRegex(ValueError, f'Expected int64 noise of shape .50,. from .*, found {message}'):
        drawn.add(1, _State({'round': np.int32(0)}))

  @parameterized.parameters(([0] * 50, ''), ([0.5] * 50, 'float64 of shape .50'), (None, 'object of shape ..'))
  def test_a_list_of_integers_is_noise(self, given: Any, message: str) -> None:
    with mock.patch.object(gaussian.Gaussian, 'source', return_value=mock.Mock(draw=lambda round_number: given)):
      drawn = round_noise.RoundNoise(dataclasses.replace(_NOISED, quantization_bits=0), 50, _SECRET)
    state = _State({'round': np.int32(0)})
    if message:
      with self.assertRaisesRegex(ValueError, f'Expected int64 noise of shape .50,. from .*, found {message}'):
        drawn.add(1, state)
    else:
      np.testing.assert_array_equal(drawn.add(1, state).aggregator['noise'], np.zeros(50, np.int64))

  def test_a_plan_without_noise_leaves_the_state_alone(self) -> None:
    state = _State({'round': np.int32(1)})
    self.assertIs(round_noise.RoundNoise(_CLIPPED, 50, _SECRET).add(9, state), state)


if __name__ == '__main__':
  absltest.main()
