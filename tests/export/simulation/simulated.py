"""Real runs that devices repeat, with their training files; the model is small."""

import dataclasses
import os
from typing import Any

from contracts import client_shards
from contracts import released_model
from tests.export import converted
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tff_tasks import config as config_lib

CONFIG = dataclasses.replace(
  fakes.CONFIG, server_optimizer='sgd', server_learning_rate=1.0, rounds_per_checkpoint=1, client_epochs_per_round=2
)


def flagfile(config: config_lib.Config) -> str:
  """Returns the flags of a config as the program writes them."""
  values = {name: value for name, value in dataclasses.asdict(config).items() if value is not None}
  texts = {name: ','.join(value) if isinstance(value, tuple) else value for name, value in values.items()}
  return ''.join(f'--{name}={text}\n' for name, text in texts.items())


def train(shards: client_shards.ClientShards, run_dir: str, **changes: Any) -> tuple[released_model.ReleasedModel, str]:
  """Trains, really, and returns the released model and the path of its training file."""
  config = dataclasses.replace(CONFIG, shards_dir=shards.path, output_dir=run_dir, **changes)
  given = {name: value for name, value in dataclasses.asdict(config).items() if name != 'output_dir'}
  model, _ = runs.train_and_load(shards, run_dir, flagfile(config), **given)
  path = os.path.join(run_dir, 'next_character.train.tflite')
  with runs.small_model(), open(path, 'wb') as file:
    file.write(converted.convert(run_dir, 'train'))
  return model, path
