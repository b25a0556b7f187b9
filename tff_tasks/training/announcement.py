"""What a run says of itself before its first round."""

from contracts import client_shards
from contracts import comparison
from tff_tasks import config as config_lib
from tff_tasks.evaluation import baselines as baselines_lib
from tff_tasks.training import starting


def describe(
  config: config_lib.Config, start: starting.Start, last_round: int, task: str, num_weights: int
) -> list[str]:
  """Returns what is trained, and from where.

  Args:
    config: What to do.
    start: Where the run begins.
    last_round: The round that it goes on after; -1 for a run that begins.
    task: The name of the task.
    num_weights: Of the model.
  """
  plan = start.history.current.plan
  begin = 'Starting' if last_round < 0 else f'Resuming after round {last_round}:'
  if start.branched_from:
    begin = f'Branched from {start.branched_from}:'
  line = (
    f'{begin} {config.total_rounds} rounds of {task} on the {config.runtime} runtime: {num_weights:,} weights, '
    f'{plan.population:,} clients, about {plan.clients_per_round:,} a round.'
  )
  classes = f'Capability classes: {plan.capabilities}.' if plan.capabilities else ''
  return [*filter(None, [line, classes, start.note])]


def describe_evaluation(
  config: config_lib.Config, shards: client_shards.ClientShards, split: str, baselines: baselines_lib.Figures
) -> list[str]:
  """Returns who the model is evaluated on, and what it has to beat.

  Args:
    config: What to do.
    shards: The data set.
    split: Who it is evaluated on while it is trained: a split of the shards.
    baselines: Measured on them.
  """
  population = shards.num_clients('train')
  return [
    f'Evaluation: every {config.rounds_per_eval} rounds on {count_users(shards, split)}; in the end on '
    f'{count_users(shards, "test")}.',
    *comparison.describe({**baselines._asdict(), 'population': population}),
  ]


def count_users(shards: client_shards.ClientShards, split: str) -> str:
  """Returns the users of a split, as in `1,200 test users`."""
  return f'{shards.num_clients(split):,} {split} users'
