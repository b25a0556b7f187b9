"""The ledger: what a run has released of its users' data, at what price, and what the price does not cover."""

from collections.abc import Callable, Mapping, Sequence
import itertools
from typing import Any

from contracts import guarantees
from contracts import provenance
from tff_tasks.privacy import accountant
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.privacy import population_scaling
from tff_tasks.privacy import segments as segments_lib

_WHO_SEES = 'simulated on one machine, which sees the logs, every update and the noise in the clear'

# Of simulated clients, the unit and what it does not protect.
_SIMULATED = 'one of {}, no person: how rows became clients is taken as given'
_PERSONS = (
  'persons: the data names no user, its rows were split into simulated clients, and those of one person may be in many '
  'clients; no figure here is a promise to a person'
)

_IDS_ARE_PUBLIC = 'the number of client ids is public; ids without data count too'
_BIGRAM = ('the accuracy of the bigram: counted on training users without noise, published with the model',)


def build_ledger(
  segments: Sequence[segments_lib.Segment],
  total_rounds: int,
  dimension: int,
  entries: Sequence[Mapping[str, Any]] = (),
  is_sequence: bool = True,
) -> dict[str, Any]:
  """Returns what `privacy.json` holds: the guarantee, what it covers, and every release made from user data.

  Args:
    segments: The rounds whose models were released, under the plans that they ran with; the last plan is the run's.
    total_rounds: The rounds of all segments when the run has ended, for which `scaling` is worked out.
    dimension: How many numbers an update has.
    entries: What the data set was made with: its manifest's `learned`, whose cost the plan knows.
    is_sequence: `Schema.is_sequence`: a bigram was counted too.
  """
  plan = segments[-1].plan
  problem = segments_lib.why_no_promise(segments)
  simulated = provenance.simulated_clients(entries)
  events = segments_lib.events([segment for segment in segments if segment.plan.is_private])
  public = ['who is available when'] * any(segment.plan.availability for segment in segments)
  public += ['the capability class of each client'] * any(segment.plan.capabilities for segment in segments)
  return {
    'epsilon': segments_lib.epsilon_of(segments),
    'delta': None if problem else plan.delta,
    'no_promise': problem or None,
    'training_epsilon': segments_lib.training_epsilon_of(segments),
    'training_delta': None if problem else plan.training_delta,
    'learned_epsilon': plan.learned.epsilon,
    'learned_delta': plan.learned.delta,
    'composition': 'basic: what the data set has cost and what training has cost add up, epsilon and delta alike',
    'unit': _SIMULATED.format(simulated) if simulated else guarantees.UNIT,
    'adjacency': guarantees.ADJACENCY,
    'assumption': '; '.join([_IDS_ARE_PUBLIC, *(f'{one} is public' for one in public)]),
    'bound': '' if problem else _bound_in_words([segment.plan for segment in segments]),
    'sampling': _by_segment(segments, lambda plan: plan.sampling_in_words),
    'mechanism': _by_segment(segments, _mechanism),
    'noise': _by_segment(segments, _exactness) if all(segment.plan.is_private for segment in segments) else None,
    'trust_model': _WHO_SEES if problem else f'{_WHO_SEES}: {_by_segment(segments, _trust)}',
    'events': [str(event) for event in events],
    **accountant.describe(events),
    'noise_multiplier': plan.noise_multiplier,
    'clip_norm': plan.clip_norm,
    'sensitivity': plan.norm_bound(dimension),
    'noise_stddev': plan.noise_stddev(dimension),
    'population': plan.population,
    'clients_per_round': plan.clients_per_round,
    'rounds': _count_rounds(segments),
    'segments': [_segment(segment) for segment in segments],
    'covers': _coverage(segments, entries),
    'not_covered': [*[_PERSONS] * bool(simulated), *_not_covered(problem, is_sequence, public)],
    'scaling': population_scaling.explain(_finished(segments, total_rounds)),
    'releases': _releases(segments, entries, is_sequence),
  }


def promise(segments: Sequence[segments_lib.Segment], entries: Sequence[Mapping[str, Any]] = ()) -> str:
  """Says in one line what the rounds of these segments cost."""
  problem = segments_lib.why_no_promise(segments)
  epsilon, plan = segments_lib.epsilon_of(segments), segments[-1].plan
  if epsilon is None:
    return f'none: {problem}.'
  names = provenance.names(entries)
  bound = _bound_in_words([segment.plan for segment in segments])
  spent = f'epsilon {guarantees.format_epsilon(epsilon)}{_split_in_words(segments) if names else ""}'
  return (
    f'{spent} at delta {guarantees.format_delta(plan.delta or 0.0)} for {_coverage(segments, entries)}; '
    f'noise multiplier {plan.noise_multiplier:g}, clip {plan.clip_norm:g}{f". {bound}" if bound else ""}.'
  )


def _mechanism(plan: plan_lib.PrivacyPlan) -> str:
  if not plan.is_private:
    return 'no noise'
  said = [f'DP-FedAvg: updates clipped to {plan.clip_norm:g}', plan.upload_in_words, plan.noise.describe()]
  return f'{", ".join(said)} on their sum'


def _exactness(plan: plan_lib.PrivacyPlan) -> str:
  return plan.noise.exactness


def _trust(plan: plan_lib.PrivacyPlan) -> str:
  return plan.noise.trust


def _bound_in_words(plans: Sequence[plan_lib.PrivacyPlan]) -> str:
  """Says which bounds the epsilon is, and what costs less; empty if it is exact."""
  return '. '.join(dict.fromkeys(plan.bound for plan in plans if plan.bound))


def _split_in_words(segments: Sequence[segments_lib.Segment]) -> str:
  learned_cost = guarantees.format_epsilon(segments[-1].plan.learned.epsilon)
  training = segments_lib.training_epsilon_of(segments)
  return f' (data set {learned_cost}, training {guarantees.format_epsilon(training or 0.0)})'


def _coverage(segments: Sequence[segments_lib.Segment], entries: Sequence[Mapping[str, Any]]) -> str:
  """Says what the guarantee is about: the models, and what was learned for the data set."""
  problem = segments_lib.why_no_promise(segments)
  if problem:
    return f'nothing: {problem}'
  names = provenance.names(entries)
  besides = f' and what the data set was made with ({"; ".join(names)})' if names else ''
  whom = 'for each training user with all of their examples'
  if provenance.simulated_clients(entries):
    whom = 'for each simulated client with all of its examples, and for no person'
  return f'the models of all {_count_rounds(segments)} rounds{besides}, {whom}'


def _count_rounds(segments: Sequence[segments_lib.Segment]) -> int:
  return sum(segment.rounds for segment in segments)


def _finished(segments: Sequence[segments_lib.Segment], total_rounds: int) -> list[segments_lib.Segment]:
  *before, last = segments
  return [*before, last._replace(rounds=total_rounds - _count_rounds(before))]


def _by_segment(segments: Sequence[segments_lib.Segment], describe: Callable[[plan_lib.PrivacyPlan], str]) -> str:
  """Returns what is to be said of the plans: once if it is the same for all, else with the number of rounds."""
  said = [(text, _count_rounds(list(group))) for text, group in itertools.groupby(segments, lambda s: describe(s.plan))]
  return said[0][0] if len(said) == 1 else '; '.join(f'{_in_rounds(rounds)}: {text}' for text, rounds in said)


def _in_rounds(rounds: int) -> str:
  return f'{rounds} round{"" if rounds == 1 else "s"}'


def _segment(segment: segments_lib.Segment) -> dict[str, Any]:
  plan = segment.plan
  return {
    'rounds': segment.rounds,
    'mechanism': _mechanism(plan),
    'sampling': plan.sampling_in_words,
    'noise_multiplier': plan.noise_multiplier,
    'is_seeded': plan.is_seeded,
  }


def _releases(
  segments: Sequence[segments_lib.Segment], entries: Sequence[Mapping[str, Any]], is_sequence: bool
) -> list[dict[str, Any]]:
  measured, published = 'exact, for the operator only', guarantees.PUBLISHED
  is_private = not segments_lib.why_no_promise(segments)
  plan = segments[-1].plan
  models = {
    'what': f'models of all {_count_rounds(segments)} rounds',
    'mechanism': _by_segment(segments, _mechanism),
    'private': is_private,
    'epsilon': segments_lib.training_epsilon_of(segments),
    'delta': plan.training_delta if is_private else None,
  }
  return [
    models,
    *provenance.releases(entries),
    {'what': 'limits of the data set', 'mechanism': 'declared, not learned from data', 'private': True},
    {'what': 'rows, clients and examples counted in the manifest', 'mechanism': measured, 'private': False},
    {'what': 'training loss, accuracy, update norms and cohort sizes', 'mechanism': measured, 'private': False},
    {'what': 'accuracy on the held-out tails of training users', 'mechanism': measured, 'private': False},
    {'what': 'accuracy and other metrics on held-out users', 'mechanism': published, 'private': False},
    {
      'what': 'accuracy of single held-out users before and after fine-tuning, if it was measured',
      'mechanism': measured,
      'private': False,
    },
    {'what': 'majority and coverage of the answers of held-out users', 'mechanism': published, 'private': False},
    *[{'what': 'bigram counted on training users', 'mechanism': published, 'private': False}] * is_sequence,
    *({'what': what, 'mechanism': published, 'private': False} for what in guarantees.EXPORTED),
  ]


def _not_covered(problem: str, is_sequence: bool, public: Sequence[str]) -> list[str]:
  if problem:
    return [f'everything: {problem}']
  return [
    'figures measured on training users (loss, accuracy, update norms, cohorts): exact, keep them with the operator',
    'held-out users: the model was not trained on their data, but its accuracy, the majority and the coverage, which '
    'are published with it, are exact figures of that data; the effect of fine-tuning on single users is not '
    'published: keep it with the operator',
    *_BIGRAM * is_sequence,
    'the counts in the manifest of the data set: exact, keep them with the operator',
    'the hash of the data set, which is published with the model: whoever has a guess of all the data can confirm it',
    'other runs on the same users, and other data sets learned from them: their epsilons add up',
    'the number of ids of training clients, which is taken as public',
    *(f'{one}, which is taken as public' for one in public),
    'the choice of hyperparameters, if it was made by trying them on these clients',
    'checkpoints, which contain the secret seed of the noise, and what clients keep between rounds (client_state.db), '
    'which has no noise: keep them with the operator',
    'the machine that trains: it sees the logs and every update in the clear',
  ]
