"""What a run says of itself before its first round."""

from contracts import client_shards
from contracts import comparison
from contracts import manifests
from contracts import personalization
from tff_tasks import config as config_lib
from tff_tasks.evaluation import baselines as baselines_lib
from tff_tasks.evaluation import evaluation
from tff_tasks.training import starting


def describe(
  config: config_lib.Config,
  start: starting.Start,
  last_round: int,
  task: str,
  num_weights: int,
  update_size: int,
  on_device: personalization.FineTuning | None = None,
) -> list[str]:
  """Returns what is trained, and from where.

  Args:
    config: What to do.
    start: Where the run begins.
    last_round: The round that it goes on after; -1 for a run that begins.
    task: The name of the task.
    num_weights: Of the model.
    update_size: How many numbers an update has.
    on_device: How a device trains local layers of the model before use; None without such.
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
  local = ''
  if on_device:
    local = (
      f'Local layers: {", ".join(on_device.local_layers)}. Each client reconstructs them in each round and never sends '
      f'them: an update has {update_size:,} numbers.'
    )
  return [*filter(None, [line, local, classes, start.note])]


def describe_evaluation(
  config: config_lib.Config,
  shards: client_shards.ClientShards,
  split: str,
  baselines: baselines_lib.Figures,
  on_device: personalization.FineTuning | None = None,
) -> list[str]:
  """Returns who the model is evaluated on, and what it has to beat.

  Args:
    config: What to do.
    shards: The data set.
    split: Who it is evaluated on while it is trained: a split of the shards.
    baselines: Measured on them.
    on_device: As in `describe`.
  """
  population = shards.num_clients('train')
  who = manifests.client_word(shards.manifest)
  how = (
    f'Held-out {who}s reconstruct the local layers on one half of their examples and are measured on the other half.'
  )
  return [
    f'Evaluation: every {config.rounds_per_eval} rounds on {count_users(shards, split)}; in the end on '
    f'{count_users(shards, "test")}.',
    *[how] * (on_device is not None),
    *comparison.describe({**baselines._asdict(), 'population': population}),
  ]


def describe_accuracy(
  shards: client_shards.ClientShards, found: evaluation.Evaluation, on_device: personalization.FineTuning | None = None
) -> str:
  """Returns how the last model does on the test users, and that it is not meant to be used so if it has local layers.

  Args:
    shards: The data set.
    found: Measured on the test split.
    on_device: As in `describe`.
  """
  note = personalization.NOT_RECONSTRUCTED if on_device else ''
  return (
    f'Accuracy on {count_users(shards, "test")}{note}: {found.accuracy:.1%}, as a mean over '
    f'{manifests.client_word(shards.manifest)}s {found.accuracy_per_user:.1%}.'
  )


def count_users(shards: client_shards.ClientShards, split: str) -> str:
  """Returns the users of a split, as in `1,200 test users` or `1,200 simulated test clients`."""
  who = manifests.client_word(shards.manifest)
  return f'{shards.num_clients(split):,} {"simulated " * (who == "client")}{split} {who}s'
