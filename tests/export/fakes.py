"""A small data set, a released model and a run directory with the figures that training leaves, all made up."""

from collections.abc import Mapping, Sequence
import csv
import json
import math
import os
from typing import Any

import numpy as np

from common import files
from common import sealed_json
from contracts import client_shards
from contracts import guarantees
from contracts import released_model
from contracts import run_directory
from contracts import schema as schema_lib
from export import parity
from pipelines.declarations import declaration
from pipelines.featurizers import base
from pipelines.limits import bounds
from pipelines.limits import splits
from pipelines.readers import jsonl
from pipelines.shards import shard_writing

CHARACTERS = schema_lib.Schema(
  'next_character',
  schema_lib.Feature('characters', 'int32', (12,)),
  schema_lib.Feature('next_characters', 'int32', (12,)),
  tuple(' abcdefghijklmnopqrs'),
)
HANDWRITING = schema_lib.Schema(
  'handwriting',
  schema_lib.Feature('image', 'uint8', (28, 28)),
  schema_lib.Feature('character', 'int32', ()),
  tuple('0123456789'),
)

METRICS = (
  'round',
  'clients',
  'loss',
  'accuracy',
  'eval_loss',
  'eval_accuracy',
  'eval_accuracy_per_user',
  'epsilon',
  'update_norm_mean',
  'update_norm_max',
  'clipped_share',
  'skipped_clients',
  'bytes_up_per_client',
  'bytes_down_per_client',
  'seconds',
)


def write_shards(
  path: str, schema: schema_lib.Schema = CHARACTERS, num_users: int = 7, split: str = 'test', prefix: str = 'user'
) -> str:
  """Writes users with 1, 2, 3, ... random examples each, the last position of each text not counted.

  Args:
    path: The folder to make.
    schema: Of the examples.
    num_users: How many users.
    split: The split that all of them are in; by default they are held out.
    prefix: What their ids begin with: of four characters.
  """
  generator = np.random.default_rng(5)
  users = []
  for user in range(num_users):
    features = generator.integers(0, min(schema.num_classes, 255), (user + 1, *schema.feature.shape))
    labels = generator.integers(0, schema.num_classes, (user + 1, *schema.label.shape))
    if schema.label.shape:
      labels[:, -1] = schema_lib.IGNORED_LABEL
    users.append(shard_writing.ClientExamples(f'{prefix}-{user:011d}'.encode(), split, features, labels))
  os.makedirs(path)
  shard_writing.write_data_set(path, schema, [shard_writing.pack(users)] if users else [])
  return path


def write_declared_shards(path: str, featurizer: base.Featurizer) -> str:
  """As `write_shards`, of a data set whose manifest says how its examples were made."""
  write_shards(path, featurizer.schema)
  written, declared = client_shards.read_manifest(path), manifest(featurizer)
  details = {name: written[name] for name in ('index', 'files', 'splits', 'rows')}
  details |= {name: declared[name] for name in ('declaration', 'learned')}
  shard_writing.write_manifest(path, featurizer.schema, details)
  return path


def make_examples(schema: schema_lib.Schema = CHARACTERS, count: int = 40) -> parity.Examples:
  """Returns random examples, which a variant may learn from."""
  generator = np.random.default_rng(3)
  features = generator.integers(0, min(schema.num_classes, 255), (count, *schema.feature.shape))
  labels = generator.integers(0, schema.num_classes, (count, *schema.label.shape))
  return parity.Examples(features.astype(schema.feature.dtype), labels.astype(schema.label.dtype))


def manifest(
  declared: base.Featurizer, made: base.Featurizer | None = None, learned: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
  """Returns what the manifest of a data set says of its examples, as it is read from the file.

  Args:
    declared: The featurizer of the declaration.
    made: The featurizer that made the examples, if it learned something with differential privacy.
    learned: Entries of what it learned.
  """
  made = made or declared
  client = declaration.Client('user')
  whole = declaration.Declaration('d', jsonl.JsonLines(), client, declared, bounds.Limits(), splits.Splits())
  written = {
    'declaration': whole.to_json(),
    'schema': made.schema.to_json(),
    'learned': [*made.provenance, *learned],
  }
  return json.loads(json.dumps(written))


def release(
  run_dir: str,
  schema: schema_lib.Schema = CHARACTERS,
  model_size: int = 8,
  seed: int = 1,
  spoil: float | None = None,
  round_number: int = 140,
) -> str:
  """Writes a released model with random weights into a run directory, two of them spoilt if asked."""
  import tensorflow as tf

  from models import registry

  tf.keras.utils.set_random_seed(seed)
  weights = registry.get_task(schema.task).build_model(schema, model_size, False, None).get_weights()
  if spoil is not None:
    weights[0].flat[3] = weights[-1].flat[0] = spoil
  os.makedirs(run_dir, exist_ok=True)
  model = released_model.ReleasedModel(schema, model_size, round_number, weights)
  released_model.save(model, privacy(), run_dir)
  figures = run_directory.read_json(run_dir, 'operator/run.json')
  if figures:
    text = sealed_json.dumps({**figures, 'model': model.digest})
    files.write_atomically(os.path.join(run_dir, 'operator/run.json'), text)
  return os.path.join(run_dir, 'public/model.npz')


def privacy(private: bool = True) -> dict:
  return {
    'epsilon': 7.62 if private else None,
    'delta': 1e-4 if private else None,
    'unit': 'client',
    'adjacency': guarantees.ADJACENCY,
    'sampling': 'Poisson, each client with probability 0.109',
    'mechanism': 'subsampled Gaussian' if private else 'none',
    'noise_multiplier': 0.9 if private else 0.0,
    'assumption': 'the number of client ids is public',
    'bound': '',
    'trust_model': 'simulated on one machine, which sees everything in the clear',
    'accountant': 'dp_accounting PLD',
    'accountant_version': '0.6.0',
    'neighboring_relation': 'REPLACE_SPECIAL',
    'discretization': 0.001,
    'clip_norm': 0.3,
    'sensitivity': 0.3012,
    'population': 915,
    'clients_per_round': 100,
    'rounds': 140,
    'covers': 'the models of all 140 rounds, for each training user with all of their examples'
    if private
    else 'nothing: this run adds no noise',
    'not_covered': ['the held-out users, whose data only measured the accuracy', 'operator/metrics.csv'],
    'scaling': 'With 9,150 users and 1,000 a round the same noise-to-signal ratio would give epsilon 2.',
    'no_promise': None if private else 'this run adds no noise',
    'releases': [
      {'what': 'model of each round', 'mechanism': 'Gaussian noise on the clipped, 8-bit sum', 'private': private},
      {'what': 'vocabulary', 'mechanism': 'fixed and public', 'private': True},
      {'what': 'training metrics', 'mechanism': 'exact sums', 'private': False},
    ],
  }


# What a training file needs of the flags of a run.
TRAINING_FLAGS = ('--client_epochs_per_round=1', '--client_learning_rate=0.1', '--client_batch_size=20')


def write_figures(run_dir: str, shards_dir: str, private: bool = True, rounds: int = 140) -> str:
  """Writes what training leaves beside the model: flags, metrics with empty and NaN cells, privacy, final figures."""
  run_directory.make(run_dir)
  flags = [
    '--task=next_character',
    f'--shards_dir={shards_dir}',
    '--seed=271828',
    *TRAINING_FLAGS,
    '--clip_norm=0.3',
    '--noise_multiplier=0.9',
    '--clients_per_round=100',
    '--total_rounds=140',
    '--nocentered',
    '--note=<script>alert(1)</script>',
  ]
  if os.path.exists(os.path.join(shards_dir, client_shards.MANIFEST_NAME)):
    flags.append(f'# data: {client_shards.ClientShards(shards_dir).fingerprint}')
  with open(os.path.join(run_dir, 'config.flags'), 'w') as file:
    file.write('\n'.join(flags) + '\n')
  with open(os.path.join(run_dir, 'operator/metrics.csv'), 'w', newline='') as file:
    writer = csv.DictWriter(file, METRICS, restval='')
    writer.writeheader()
    writer.writerows(_round(number, private) for number in range(rounds + 1))
  final = {
    'task': 'next_character',
    'rounds': rounds,
    'total_rounds': 140,
    'clients_per_round': 100,
    'accuracy': 0.3812,
    'accuracy_per_user': 0.3741,
    'loss': 2.23,
    'tail_accuracy': 0.384,
    'epsilon': 7.62 if private else None,
    'delta': 1e-4,
    'weights': 20_248,
    'clip_norm': 0.3,
    'quantization_bits': 8,
    'seconds': 151.3,
    'population': 915,
    'eval_split': 'validation',
    'data_set': 'my <log>',
    'baseline': 'bigram',
    'baseline_accuracy': 0.2763,
    'majority_class': '<end>',
    'majority_accuracy': 0.1634,
    'bigram_accuracy': 0.2763,
    'bigram_clients': 915,
    'coverage': 0.502,
    'eval_baseline_accuracy': 0.2801,
  }
  ledger = privacy(private)
  if os.path.exists(os.path.join(run_dir, 'public/model.npz')):
    model = released_model.load(run_dir)
    released_model.save(model, ledger, run_dir)
    final['model'] = model.digest
  else:
    files.write_atomically(os.path.join(run_dir, 'public/privacy.json'), sealed_json.dumps(ledger))
  files.write_atomically(os.path.join(run_dir, 'operator/run.json'), sealed_json.dumps(final))
  return run_dir


def write_parity(model_dir: str, record: Mapping[str, Any]) -> None:
  """Writes the parity.json of an export, what the record does not say made up."""
  figures = {
    'bytes': 5,
    'compressed_bytes': 5,
    'sha256': '',
    'summary': '',
    'argmax_agreement': 1.0,
    'max_logit_difference': 0.0,
    'accuracy': 0.5,
    'examples': 1,
    'positions': 1,
  }
  variants = {name: {**figures, **variant} for name, variant in record['variants'].items()}
  whole = {
    'source': '',
    'task': 'next_character',
    'failed': {},
    'keras_accuracy': 0.5,
    'examples': 1,
    'positions': 1,
    'seconds': 1.0,
    **record,
    'variants': variants,
  }
  with open(os.path.join(model_dir, 'parity.json'), 'w') as file:
    file.write(sealed_json.dumps(whole))


def _round(number: int, private: bool) -> dict:
  generator = np.random.default_rng(number)
  accuracy = 0.39 * (1 - math.exp(-(number + 2) / 35))
  row: dict = {'round': number, 'seconds': 0.9}
  if number % 10 == 0:
    row |= {'eval_loss': 4.4 - 5.6 * accuracy, 'eval_accuracy': accuracy, 'eval_accuracy_per_user': accuracy * 0.98}
  if number:
    row |= {
      'clients': 100,
      'loss': math.nan if number == 17 else 4.3 - 5.5 * accuracy + generator.normal(0, 0.03),
      'accuracy': accuracy + generator.normal(0, 0.004),
      'epsilon': 0.64 * math.sqrt(number) if private and number % 10 == 0 else '',
      'update_norm_mean': 0.36 + 0.2 / number + generator.normal(0, 0.01),
      'skipped_clients': 0,
      'update_norm_max': 0.7 + 1.4 / number + abs(generator.normal(0, 0.12)),
      'clipped_share': min(1.0, 0.72 + generator.normal(0, 0.03)),
      'bytes_up_per_client': 32_840 if number < 60 else 32_856,
      'bytes_down_per_client': 80_992,
    }
  return row
