"""How many clients would bring epsilon down to a target at the same noise-to-signal ratio.

The method of TFF's tutorial on differential privacy: find the noise that the model bears with few clients, then add
clients.
"""

from collections.abc import Sequence
import dataclasses
import math

from contracts import guarantees
from tff_tasks.compression import registry as compressions
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.privacy import segments as segments_lib

_GOOD_EPSILON = 2.0
_LARGEST_FACTOR = 1024.0


def explain(segments: Sequence[segments_lib.Segment], target_epsilon: float = _GOOD_EPSILON) -> str:
  """Says in one sentence how many clients it would take.

  Args:
    segments: All rounds of a finished run.
    target_epsilon: The epsilon to reach.
  """
  epsilon = segments_lib.epsilon_of(segments)
  if epsilon is None:
    return 'No guarantee: more clients do not change that.'
  if epsilon <= target_epsilon:
    return f'Epsilon is at or below {target_epsilon:g} as it is.'
  enough = _smallest_factor(segments, target_epsilon)
  if enough is None:
    return f'No number of clients brings epsilon to {target_epsilon:g} at the same noise-to-signal ratio.'
  bigger = scale(segments[-1].plan, enough)
  noises = [math.ceil(100 * scale(segment.plan, enough).noise_multiplier) / 100 for segment in segments]
  named = ', then '.join(f'{noise:.2f}' for noise in dict.fromkeys(noises))
  return (
    f'With {bigger.population:,} users and {bigger.clients_per_round:,} clients a round, the same noise-to-signal '
    f'ratio would cost epsilon {target_epsilon:g} (noise multiplier {named}, delta '
    f'{guarantees.format_delta(bigger.delta or 0.0)}).'
  )


def scale(plan: plan_lib.PrivacyPlan, factor: float) -> plan_lib.PrivacyPlan:
  """Returns the plan with `factor` times the clients, in all and a round, and as much more noise on their sum.

  The noise on the mean does not change, and so the accuracy should not; delta falls as the population grows. What the
  data set was made with has the same epsilon, at a delta that falls as well.
  """
  population = math.ceil(plan.population * factor)
  shrinking = plan.population / population
  return dataclasses.replace(
    plan,
    population=population,
    clients_per_round=min(math.ceil(plan.clients_per_round * factor), plan.sampler.most_clients(population)),
    noise_multiplier=plan.noise_multiplier * factor,
    delta=plan.delta * shrinking if plan.delta is not None else None,
    learned=plan.learned._replace(delta=plan.learned.delta * shrinking),
    # Epsilon does not depend on it, and more clients than its sums can hold are no mistake of this run.
    compression=compressions.QUANTIZATION,
    compression_options=(),
    quantization_bits=0,
  )


def _smallest_factor(segments: Sequence[segments_lib.Segment], target_epsilon: float) -> float | None:
  """Returns the factor for `scale`, to one percent, or None if none within reason is enough."""
  if segments[-1].plan.learned.epsilon >= target_epsilon:
    return None
  loudest = max(segment.plan.noise_multiplier for segment in segments)
  limit = min(_LARGEST_FACTOR, 0.999 * plan_lib.MAX_NOISE_MULTIPLIER / loudest)

  def is_enough(factor: float) -> bool:
    scaled = [segment._replace(plan=scale(segment.plan, factor)) for segment in segments]
    epsilon = segments_lib.epsilon_of(scaled)
    return epsilon is not None and epsilon <= target_epsilon

  low, high = 1.0, min(2.0, limit)
  while not is_enough(high):
    if high == limit:
      return None
    low, high = high, min(2 * high, limit)
  while high / low > 1.01:
    middle = math.sqrt(low * high)
    low, high = (low, middle) if is_enough(middle) else (middle, high)
  return high
