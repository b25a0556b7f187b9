"""The ledger: what a run has released of its users' data, at what price, and what the price does not cover."""

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Any

from tff_tasks import learned
from tff_tasks import privacy

# The line beside the epsilon says what it would take to get here.
_GOOD_EPSILON = 2.0


def build_ledger(
    plan: privacy.PrivacyPlan,
    rounds: int,
    total_rounds: int,
    dimension: int,
    is_seed_secret: bool,
    entries: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
  """Returns what `privacy.json` holds: the guarantee, what it covers, and every release made from user data.

  Args:
    plan: What runs.
    rounds: Rounds whose models were released.
    total_rounds: The length of the whole run, for which `scaling` is worked out.
    dimension: Number of weights of the model.
    is_seed_secret: Whether the noise comes from a seed that nobody was told.
    entries: What the data set was made with: its manifest's `learned`, whose price the plan knows.
  """
  return {
      'epsilon': plan.epsilon(rounds),
      'delta': plan.delta if plan.is_private else None,
      'training_epsilon': plan.training_epsilon(rounds),
      'training_delta': plan.training_delta,
      'learned_epsilon': plan.learned.epsilon,
      'learned_delta': plan.learned.delta,
      'composition': 'basic: what the data set has cost and what training has cost add up, epsilon and delta alike',
      'unit': 'client',
      'adjacency': plan.adjacency,
      'sampling': _sampling_in_words(plan),
      'mechanism': _mechanism(plan),
      'noise_multiplier': plan.noise_multiplier,
      'clip_norm': plan.clip_norm,
      'sensitivity': plan.sensitivity(dimension),
      'population': plan.population,
      'clients_per_round': plan.clients_per_round,
      'rounds': rounds,
      'covers': _coverage(plan, rounds, learned.names(entries)),
      'not_covered': _not_covered(plan.is_private, is_seed_secret),
      'scaling': explain_scaling(plan, _GOOD_EPSILON, total_rounds),
      'releases': _releases(plan, rounds, entries),
  }


def promise(plan: privacy.PrivacyPlan, rounds: int, entries: Sequence[Mapping[str, Any]] = ()) -> str:
  """Says in one line what these many rounds cost."""
  epsilon = plan.epsilon(rounds)
  if epsilon is None:
    return 'none, this run adds no noise.'
  names = learned.names(entries)
  return (
      f'epsilon {epsilon:.2f}{_split_in_words(plan, rounds) if names else ""} at delta {plan.delta:g} for '
      f'{_coverage(plan, rounds, names)}; '
      f'noise multiplier {plan.noise_multiplier:g}, clip {plan.clip_norm:g}.'
  )


def scale(plan: privacy.PrivacyPlan, factor: float) -> privacy.PrivacyPlan:
  """Returns the plan with `factor` times the clients, in all and a round, and as much more noise on their sum.

  The noise on the mean stays what it was, and so should the accuracy; delta falls as the population grows. What the
  data set was made with keeps its epsilon, at a delta that falls as well.
  """
  population = math.ceil(plan.population * factor)
  shrinking = plan.population / population
  return dataclasses.replace(
      plan,
      population=population,
      clients_per_round=math.ceil(plan.clients_per_round * factor),
      noise_multiplier=plan.noise_multiplier * factor,
      delta=plan.delta * shrinking if plan.delta is not None else None,
      learned=plan.learned._replace(delta=plan.learned.delta * shrinking),
      # Epsilon does not depend on it, and more clients than its sums can hold are no mistake of this run.
      quantization_bits=0,
  )


def explain_scaling(plan: privacy.PrivacyPlan, target_epsilon: float, rounds: int) -> str:
  """Says how many clients would bring epsilon down to a target at the same noise-to-signal ratio.

  The method of TFF's tutorial on differential privacy: find the noise that the model bears with few clients, then add
  clients.
  """
  epsilon = plan.epsilon(rounds)
  if epsilon is None:
    return 'No noise, no guarantee: more clients do not change that.'
  if epsilon <= target_epsilon:
    return f'Epsilon is at or below {target_epsilon:g} as it is.'
  enough = _smallest_factor(plan, target_epsilon, rounds)
  if enough is None:
    return f'No number of clients brings epsilon to {target_epsilon:g} at the same noise-to-signal ratio.'
  bigger = scale(plan, enough)
  return (
      f'With {bigger.population:,} users and {bigger.clients_per_round:,} clients a round, the same noise-to-signal '
      f'ratio would cost epsilon {target_epsilon:g} (noise multiplier {bigger.noise_multiplier:.2f}, delta '
      f'{bigger.delta:.1e}).'
  )


def _smallest_factor(plan: privacy.PrivacyPlan, target_epsilon: float, rounds: int) -> float | None:
  """Returns the factor for `scale`, to one percent, or None if none within reason is enough."""
  if plan.learned.epsilon >= target_epsilon:
    return None
  limit = min(1024, 0.999 * privacy.MAX_NOISE_MULTIPLIER / plan.noise_multiplier)

  def is_enough(factor: float) -> bool:
    return (scale(plan, factor).epsilon(rounds) or 0.0) <= target_epsilon

  low, high = 1.0, min(2.0, limit)
  while not is_enough(high):
    if high == limit:
      return None
    low, high = high, min(2 * high, limit)
  while high / low > 1.01:
    middle = math.sqrt(low * high)
    low, high = (low, middle) if is_enough(middle) else (middle, high)
  return high


def _mechanism(plan: privacy.PrivacyPlan) -> str:
  if not plan.is_private:
    return 'no noise'
  rounding = f', rounded to {plan.quantization_bits} bits' if plan.quantization_bits else ''
  return f'DP-FedAvg: updates clipped to {plan.clip_norm:g}{rounding}, Gaussian noise on their sum'


def _sampling_in_words(plan: privacy.PrivacyPlan) -> str:
  if plan.sampling == 'poisson':
    return f'Poisson: each of {plan.population} clients with probability {plan.sampling_probability:.4g} a round'
  return f'fixed: {plan.clients_per_round} of {plan.population} clients a round, without replacement'


def _split_in_words(plan: privacy.PrivacyPlan, rounds: int) -> str:
  return f' (data set {plan.learned.epsilon:.2f}, training {plan.training_epsilon(rounds):.2f})'


def _coverage(plan: privacy.PrivacyPlan, rounds: int, names: Sequence[str]) -> str:
  """Says what the guarantee is about: the models, and what was learned for the data set (`names`)."""
  if not plan.is_private:
    return 'nothing: this run adds no noise'
  besides = f' and what the data set was made with ({"; ".join(names)})' if names else ''
  return (
      f'the models of all {rounds} rounds{besides}, for each training user with all of their examples '
      f'({plan.adjacency})'
  )


def _releases(plan: privacy.PrivacyPlan, rounds: int, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  measured = 'exact, for the operator only'
  models = {'what': f'models of rounds 1 to {rounds}', 'mechanism': _mechanism(plan), 'private': plan.is_private}
  return [
      models | {'epsilon': plan.training_epsilon(rounds), 'delta': plan.training_delta},
      *learned.releases(entries, plan.sampling),
      {'what': 'limits of the data set', 'mechanism': 'declared, not learned from data', 'private': True},
      {'what': 'rows, clients and examples counted in the manifest', 'mechanism': measured, 'private': False},
      {'what': 'training loss, accuracy, update norms and cohort sizes', 'mechanism': measured, 'private': False},
      {'what': 'accuracy on the held-out tails of training users', 'mechanism': measured, 'private': False},
      {'what': 'accuracy on held-out users', 'mechanism': 'exact, published with the model', 'private': False},
  ]


def _not_covered(is_private: bool, is_seed_secret: bool) -> list[str]:
  if not is_private:
    return ['everything: this run adds no noise']
  items = [
      'figures measured on training users (loss, accuracy, update norms, cohorts): exact, keep them with the operator',
      'held-out users: the model never saw them, the accuracy that is published with it did',
      'the counts in the manifest of the data set: exact, keep them with the operator',
      'other runs on the same users, and other data sets learned from them: their epsilons add up',
      'the number of training clients, which is taken as public',
      'the choice of hyperparameters, if it was made by trying them on these clients',
      'attacks on floating-point noise, and on a generator that is not cryptographic',
      'checkpoints, which hold the secret seed of the noise: keep them with the operator',
  ]
  if not is_seed_secret:
    items.append('anyone who knows the --seed of this run, and so its noise: for a promise, run without --seed')
  return items
