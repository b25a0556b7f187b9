"""The noise of a round, drawn outside of the round and put into the state that it begins with."""

import collections
from typing import Any

import numpy as np

from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.privacy.mechanisms import base

NOISE = 'noise'  # Where the state of the aggregation has the noise of the round that comes.


class RoundNoise:
  """Puts the noise of a round into the state that the round begins with.

  Args:
    plan: Says how much noise, and by which mechanism.
    dimension: How many numbers an update has.
    seed: Where it comes from.
    first_round: The first round that the seed draws.
  """

  def __init__(self, plan: plan_lib.PrivacyPlan, dimension: int, seed: seeds.Seed, first_round: int = 1) -> None:
    self._source: base.Source | None = None
    self._size, self._name = 0, plan.mechanism
    if plan.is_private and (codec := plan.codec(dimension)):
      self._size = codec.encoded_size
      self._source = plan.noise.source(seed.key('noise'), plan.noise_levels(dimension), self._size, first_round)

  def add(self, round_number: int, state: Any) -> Any:
    """Returns the state of a learning process with the noise of a round, which begins at 1, if the plan has noise.

    The state that comes out of the round has none. A state without noise, or with that of another plan, ends the round
    with an error.

    Raises:
      ValueError: If it is the state before another round, or the mechanism draws something else than such noise.
    """
    if self._source is None:
      return state
    following = int(state.aggregator['round']) + 1
    if round_number != following:
      raise ValueError(f'Expected noise for round {following}, found that of round {round_number}.')
    aggregator = collections.OrderedDict(state.aggregator)
    aggregator[NOISE] = self._check(self._source.draw(round_number))
    return state._replace(aggregator=aggregator)

  def _check(self, drawn: Any) -> np.ndarray:
    noise = np.asarray(drawn)
    if noise.dtype != np.int64 or noise.shape != (self._size,):
      raise ValueError(
        f'Expected int64 noise of shape ({self._size},) from --mechanism={self._name}, found {noise.dtype} of shape '
        f'{noise.shape}: correct what its method source returns.'
      )
    return noise
