"""Evaluates the released model of a run on client shards.

  python -m tff_tasks.evaluate --run_dir=runs/quickstart/run --shards_dir=runs/quickstart/shards

The figures are exact: they say something of the clients that they are measured on, and belong to the operator.
"""

import json
from typing import Any

from absl import flags

from common import cli
from contracts import client_shards
from contracts import comparison
from contracts import manifests
from contracts import personalization
from contracts import released_model
from tff_tasks.flags import personalization as personalization_flags
from tff_tasks.runtime import start_up

_RUN_DIR = flags.DEFINE_string('run_dir', None, 'Run directory of tff_tasks.train.', required=True)
_SHARDS_DIR = flags.DEFINE_string(
  'shards_dir', None, 'Client shards of the schema of the run, made by pipelines.preprocess.', required=True
)
_TASK = flags.DEFINE_string(
  'task', None, 'Task of your own as package.module:attribute, if the run was trained with one: its code is run.'
)
_SPLIT = flags.DEFINE_enum(
  'split',
  'test',
  list(client_shards.SPLITS),
  'test, validation: held-out users; tail: held-out examples of training users; train: what they trained on.',
)
_EPOCHS, _LEARNING_RATE = personalization_flags.FLAGS
_JSON = flags.DEFINE_boolean('json', False, 'Prints the figures as JSON.')


@flags.multi_flags_validator(
  ['personalize_epochs', 'split'],
  'Expected --personalize_epochs with users who took part in no round, found another split: add --split=test or '
  '--split=validation.',
)
def _are_users_held_out(values: dict[str, Any]) -> bool:
  return not values['personalize_epochs'] or values['split'] in ('test', 'validation')


def main() -> None:
  """Evaluates and prints the figures."""
  shards = client_shards.ClientShards(_SHARDS_DIR.value)
  # Before TensorFlow is loaded.
  released_model.check_task(released_model.load(_RUN_DIR.value), _TASK.value, _RUN_DIR.value)
  with cli.large_imports():
    start_up.start_tensorflow()
    from tff_tasks.evaluation import released_evaluation
    from tff_tasks.training import run_directory
  personalize = released_evaluation.Personalize(_EPOCHS.value, _LEARNING_RATE.value) if _EPOCHS.value else None
  figures = released_evaluation.measure(_RUN_DIR.value, shards, _SPLIT.value, personalize, _TASK.value)
  if _JSON.value:
    print(json.dumps(run_directory.finite(figures), indent=1))
    return
  who = manifests.client_word(shards.manifest)
  note = f'{personalization.NOT_RECONSTRUCTED}:' if personalization.has_local_layers(figures) else ''
  print(
    f'Round {figures["round"]} of {figures["task"]} on {figures["clients"]:,} {figures["split"]} {who}s of '
    f'{figures["data_set"]} ({figures["examples"]:,} examples):',
    f'accuracy{note} {figures["accuracy"]:.1%}, as a mean over {who}s {figures["accuracy_per_user"]:.1%}, loss '
    f'{figures["loss"]:.3f}.',
    *comparison.describe(figures),
    *personalization.describe(figures),
    'These figures are exact: keep them with the operator, or count them as a release.',
    sep='\n',
  )


if __name__ == '__main__':
  cli.run(main)
