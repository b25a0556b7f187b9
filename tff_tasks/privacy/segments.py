"""What the rounds of a run cost: segments with one plan and one secret, their epsilon, and the noise for a target."""

from collections.abc import Sequence
import dataclasses
import math
from typing import NamedTuple

import dp_accounting

from contracts import guarantees
from tff_tasks.privacy import accountant
from tff_tasks.privacy import calibration
from tff_tasks.privacy import plan as plan_lib


class Segment(NamedTuple):
  """Consecutive rounds with one plan and one secret.

  Attributes:
    plan: The privacy plan of the rounds.
    rounds: How many there are.
    run_id: The run that they are of; accounting needs nothing of what follows.
    attempt: Counts the secrets of that run, from 0: it has one more for each time that it ran released rounds again.
    first_round: The first of them.
  """

  plan: plan_lib.PrivacyPlan
  rounds: int
  run_id: str = ''
  attempt: int = 0
  first_round: int = 1

  @property
  def last_round(self) -> int:
    """The last of them; `first_round - 1` while there is none."""
    return self.first_round + self.rounds - 1


def epsilon_of(segments: Sequence[Segment]) -> float | None:
  """Returns the epsilon at the last plan's `delta` of all that the segments released, or None: see `why_no_promise`.

  By basic composition: what the data set has cost, and the models.
  """
  return None if why_no_promise(segments) else segments[-1].plan.learned.epsilon + _compose(segments)


def training_epsilon_of(segments: Sequence[Segment]) -> float | None:
  """Returns the epsilon at the last plan's `training_delta` of the models alone, or None: see `why_no_promise`."""
  return None if why_no_promise(segments) else _compose(segments)


def why_no_promise(segments: Sequence[Segment]) -> str:
  """Returns why the segments of a run have no guarantee, in words; empty if they have one.

  One segment is enough to spoil the whole run: the models of all rounds are released.
  """
  if not segments[-1].plan.is_private:
    return 'this run adds no noise'
  if not all(segment.plan.is_private for segment in segments):
    return 'rounds that this run goes on from added no noise'
  if any(segment.plan.is_seeded for segment in segments):
    return 'the noise comes from --seed, and who knows the seed can subtract it: leave --seed out for a promise'
  if segments[-1].plan.learned.epsilon + _compose(segments) > guarantees.LARGEST_EPSILON:
    return f'epsilon is above {guarantees.LARGEST_EPSILON:g}, which protects nobody: use more noise or fewer rounds'
  return ''


def events(segments: Sequence[Segment]) -> list[dp_accounting.DpEvent]:
  """Returns what segments with noise cost, one event for each secret.

  Rounds with one secret are accounted for together, also if a part of them is a segment by itself: their noise may be
  correlated.
  """
  rounds: dict[tuple[plan_lib.PrivacyPlan, str, int], int] = {}
  for segment in segments:
    secret = segment.plan, segment.run_id, segment.attempt
    rounds[secret] = rounds.get(secret, 0) + segment.rounds
  return [plan.event(number) for (plan, _, _), number in rounds.items()]


def epsilon_of_plan(plan: plan_lib.PrivacyPlan, rounds: int) -> float | None:
  """Returns the epsilon at `delta` of all that is released in `rounds` rounds, or None if there is no guarantee."""
  return epsilon_of([Segment(plan, rounds)])


def calibrated(
  plan: plan_lib.PrivacyPlan, target_epsilon: float, rounds: int, before: Sequence[Segment] = ()
) -> plan_lib.PrivacyPlan:
  """Returns a plan with the smallest noise multiplier (to 1e-3) that keeps `rounds` rounds within the epsilon.

  Args:
    plan: The plan; its noise is not looked at.
    target_epsilon: The epsilon.
    rounds: The rounds of the plan.
    before: Rounds that were released before; if they spoil every promise, they are not counted.

  Raises:
    ValueError: If no noise multiplier does.
  """
  if target_epsilon <= plan.learned.epsilon:
    raise ValueError(
      f'Expected a target_epsilon above {plan.learned.epsilon:g}, which the data set alone has spent, found '
      f'{target_epsilon:g}: set a larger --target_epsilon, or preprocess with smaller epsilons.'
    )
  if target_epsilon > guarantees.LARGEST_EPSILON:
    raise ValueError(
      f'Expected a target_epsilon of at most {guarantees.LARGEST_EPSILON:g}, found {target_epsilon:g}, which '
      'promises nothing of use: set a smaller one, or train without noise '
      '(--noise_multiplier=0 --target_epsilon=0).'
    )
  counted = before if all(segment.plan.is_private and not segment.plan.is_seeded for segment in before) else ()

  def spent(thousandths: int) -> float:
    secret = dataclasses.replace(_with_noise(plan, thousandths), is_seeded=False)
    epsilon = epsilon_of([*counted, Segment(secret, rounds)])
    return math.inf if epsilon is None else epsilon

  thousandths = calibration.smallest_within(spent, target_epsilon, int(plan_lib.MAX_NOISE_MULTIPLIER * 1000) - 1)
  if thousandths is None:
    raise ValueError(
      f'Expected a target_epsilon that some noise reaches in {rounds} rounds, found {target_epsilon}: set '
      'fewer --total_rounds, a larger --target_epsilon, or --noise_multiplier instead.'
    )
  return _with_noise(plan, thousandths)


def _compose(segments: Sequence[Segment]) -> float:
  """Returns the epsilon of segments with noise at the training delta; infinite if it is of no use."""
  return accountant.epsilon(events(segments), segments[-1].plan.training_delta or 0.0)


def _with_noise(plan: plan_lib.PrivacyPlan, thousandths: int) -> plan_lib.PrivacyPlan:
  return dataclasses.replace(plan, noise_multiplier=thousandths / 1000)
