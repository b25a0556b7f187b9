"""The ledger: what a run has released of its users' data, at what price, and what the price does not cover."""

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Any

from pipelines import guarantees
from tff_tasks import accountant
from tff_tasks import learned
from tff_tasks import noise
from tff_tasks import privacy

# The line beside the epsilon says what it would take to get here.
_GOOD_EPSILON = 2.0
_TRUST_MODEL = (
    'simulated on one machine, which sees the logs, every update and the noise in the clear: the guarantee protects '
    'each client against whoever gets what is released, not against that machine or its operator'
)


def build_ledger(
    segments: Sequence[privacy.Segment],
    total_rounds: int,
    dimension: int,
    entries: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
  """Returns what `privacy.json` holds: the guarantee, what it covers, and every release made from user data.

  Args:
    segments: The rounds whose models were released, under the plans that they ran with; the last plan is the run's.
    total_rounds: The length of the whole run, for which `scaling` is worked out.
    dimension: Number of weights of the model.
    entries: What the data set was made with: its manifest's `learned`, whose cost the plan knows.
  """
  plan = segments[-1].plan
  problem = privacy.why_no_promise(segments)
  return {
      'epsilon': privacy.epsilon_of(segments),
      'delta': None if problem else plan.delta,
      'no_promise': problem or None,
      'training_epsilon': privacy.training_epsilon_of(segments),
      'training_delta': None if problem else plan.training_delta,
      'learned_epsilon': plan.learned.epsilon,
      'learned_delta': plan.learned.delta,
      'composition': 'basic: what the data set has cost and what training has cost add up, epsilon and delta alike',
      'unit': guarantees.UNIT,
      'adjacency': guarantees.ADJACENCY,
      'assumption': 'the number of client ids is public; ids without data count too',
      'bound': _bound_in_words([segment.plan for segment in segments]),
      'sampling': _sampling_in_words(plan),
      'mechanism': _mechanism(plan),
      'noise': noise.EXACTNESS if plan.is_private else None,
      'trust_model': _TRUST_MODEL,
      **accountant.describe([segment.plan.round for segment in segments if segment.plan.is_private]),
      'noise_multiplier': plan.noise_multiplier,
      'clip_norm': plan.clip_norm,
      'sensitivity': plan.norm_bound(dimension),
      'noise_stddev': plan.noise_stddev(dimension),
      'population': plan.population,
      'clients_per_round': plan.clients_per_round,
      'rounds': _count_rounds(segments),
      'segments': [_segment(segment) for segment in segments],
      'covers': _coverage(segments, learned.names(entries)),
      'not_covered': _not_covered(problem),
      'scaling': explain_scaling(plan, _GOOD_EPSILON, total_rounds),
      'releases': _releases(segments, entries),
  }


def promise(segments: Sequence[privacy.Segment], entries: Sequence[Mapping[str, Any]] = ()) -> str:
  """Says in one line what the rounds of these segments cost."""
  problem = privacy.why_no_promise(segments)
  epsilon, plan = privacy.epsilon_of(segments), segments[-1].plan
  if epsilon is None:
    return f'none: {problem}.'
  names = learned.names(entries)
  bound = _bound_in_words([segment.plan for segment in segments])
  spent = f'epsilon {guarantees.format_epsilon(epsilon)}{_split_in_words(segments) if names else ""}'
  return (
      f'{spent} at delta {plan.delta:g} for {_coverage(segments, names)}; '
      f'noise multiplier {plan.noise_multiplier:g}, clip {plan.clip_norm:g}{f". {bound}" if bound else ""}.'
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
    return 'No guarantee: more clients do not change that.'
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
    epsilon = scale(plan, factor).epsilon(rounds)
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


def _mechanism(plan: privacy.PrivacyPlan) -> str:
  if not plan.is_private:
    return 'no noise'
  grid = f'{plan.quantization_bits} bits' if plan.quantization_bits else 'a fine grid'
  return f'DP-FedAvg: updates clipped to {plan.clip_norm:g}, rounded to {grid}, Gaussian noise on their sum'


def _sampling_in_words(plan: privacy.PrivacyPlan) -> str:
  if plan.sampling == 'poisson':
    return f'Poisson: each of {plan.population} clients with probability {plan.sampling_probability:.4g} a round'
  return f'fixed: {plan.clients_per_round} of {plan.population} clients a round, without replacement'


def _bound_in_words(plans: Sequence[privacy.PrivacyPlan]) -> str:
  """Says which bound the epsilon of fixed cohorts is, and what costs less; empty without them."""
  if all(plan.sampling == 'poisson' for plan in plans):
    return ''
  return (
      'With fixed cohorts this is the bound against an observer who knows who took part in every round: sampling does '
      'not hide a client. --sampling=poisson costs much less at the same noise'
  )


def _split_in_words(segments: Sequence[privacy.Segment]) -> str:
  learned_cost = guarantees.format_epsilon(segments[-1].plan.learned.epsilon)
  training = privacy.training_epsilon_of(segments)
  return f' (data set {learned_cost}, training {guarantees.format_epsilon(training or 0.0)})'


def _coverage(segments: Sequence[privacy.Segment], names: Sequence[str]) -> str:
  """Says what the guarantee is about: the models, and what was learned for the data set (`names`)."""
  problem = privacy.why_no_promise(segments)
  if problem:
    return f'nothing: {problem}'
  besides = f' and what the data set was made with ({"; ".join(names)})' if names else ''
  return (
      f'the models of all {_count_rounds(segments)} rounds{besides}, for each training user with all of their examples '
      f'({guarantees.ADJACENCY})'
  )


def _count_rounds(segments: Sequence[privacy.Segment]) -> int:
  return sum(segment.rounds for segment in segments)


def _segment(segment: privacy.Segment) -> dict[str, Any]:
  plan = segment.plan
  return {
      'rounds': segment.rounds,
      'mechanism': _mechanism(plan),
      'sampling': _sampling_in_words(plan),
      'noise_multiplier': plan.noise_multiplier,
      'is_seeded': plan.is_seeded,
  }


def _releases(segments: Sequence[privacy.Segment], entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  measured, published = 'exact, for the operator only', 'exact, published with the model'
  is_private = not privacy.why_no_promise(segments)
  plan = segments[-1].plan
  models = {
      'what': f'models of rounds 1 to {_count_rounds(segments)}',
      'mechanism': _mechanism(plan),
      'private': is_private,
      'epsilon': privacy.training_epsilon_of(segments),
      'delta': plan.training_delta if is_private else None,
  }
  return [
      models,
      *learned.releases(entries),
      {'what': 'limits of the data set', 'mechanism': 'declared, not learned from data', 'private': True},
      {'what': 'rows, clients and examples counted in the manifest', 'mechanism': measured, 'private': False},
      {'what': 'training loss, accuracy, update norms and cohort sizes', 'mechanism': measured, 'private': False},
      {'what': 'accuracy on the held-out tails of training users', 'mechanism': measured, 'private': False},
      {'what': 'accuracy and other metrics on held-out users', 'mechanism': published, 'private': False},
      {'what': 'majority and coverage: of the answers of held-out users', 'mechanism': published, 'private': False},
      {'what': 'bigram (of sequences): counted on training users', 'mechanism': published, 'private': False},
  ]


def _not_covered(problem: str) -> list[str]:
  if problem:
    return [f'everything: {problem}']
  return [
      'figures measured on training users (loss, accuracy, update norms, cohorts): exact, keep them with the operator',
      'held-out users: the model never saw them, the accuracy, majority and coverage that are published with it did',
      'the accuracy of the bigram (of sequences): counted on training users without noise, published with the model',
      'the counts in the manifest of the data set: exact, keep them with the operator',
      'other runs on the same users, and other data sets learned from them: their epsilons add up',
      'the number of ids of training clients, which is taken as public',
      'the choice of hyperparameters, if it was made by trying them on these clients',
      'checkpoints, which contain the secret seed of the noise: keep them with the operator',
      'the machine that trains: it sees the logs and every update in the clear',
  ]
