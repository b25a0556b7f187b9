"""From a run's released model to the files of a model folder: convert, check on the device's runtime, describe.

What needs TensorFlow or the device's runtime happens in guarded children; this process stays small and responsive.
"""

from collections.abc import Iterator, Mapping
import contextlib
from importlib import metadata
import json
import os
import platform
import shutil
import tempfile
import time
from typing import Any

from common import files
from common import sealed_json
from contracts import client_shards
from contracts import released_model
from contracts import run_directory
from export import acceptance
from export import guard
from export import model_card
from export import model_folder
from export import parity
from export import preprocessing
from export import source
from export import tflite
from export.variants import base
from export.variants import registry

_CARD = 'MODEL_CARD.md'
_CONTENTS = (preprocessing.CLASSES, preprocessing.FILE_NAME, _CARD, model_folder.PARITY)


# Under the names that the flag lists.
Variants = Mapping[str, base.Variant]


def export(
  run_dir: str,
  shards: client_shards.ClientShards,
  staging: str,
  limits: guard.Limits,
  variants: Variants,
  task: str | None = None,
  is_default: bool = False,
) -> dict[str, Any]:
  """Fills the staging folder and returns what its parity.json says.

  A variant that cannot be converted, or disagrees with Keras, is listed under `failed` with the reason and has no file;
  the other variants are exported. If all variants fail, no file is written and only the record is returned.

  Args:
    run_dir: The run directory.
    shards: The data that the run was trained on.
    staging: An empty folder.
    limits: Of each conversion and each check.
    variants: What to write, by the names that a flag lists (see `variants.registry.find_all`).
    task: The value of `--task`, if it is given.
    is_default: Nobody asked for these variants: those whose form the model does not have are no failures.

  Raises:
    ValueError: If the released model or its ledger is missing, damaged, or not released with the other, or the model
      diverged or is not of the schema of the shards.
    guard.Failed: If the Keras model could not be run within the limits.
  """
  with _snapshot(run_dir) as (copy, name):
    return _export(copy, run_dir, name, shards, staging, limits, variants, task, is_default)


@contextlib.contextmanager
def _snapshot(run_dir: str) -> Iterator[tuple[str, str]]:
  """Yields a folder with a copy of what is exported, and the name of its task.

  All steps see one model while a trainer may release others.
  """
  with tempfile.TemporaryDirectory() as folder:
    for name in source.FILES_OF_RUN:
      with contextlib.suppress(FileNotFoundError):
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        shutil.copyfile(os.path.join(run_dir, name), os.path.join(folder, name))
    try:
      model, _ = released_model.load_with_ledger(folder)
      yield folder, model.task.name
    # Messages name the directory that the user gave.
    except ValueError as error:
      raise ValueError(str(error).replace(folder, run_dir)) from error
    except guard.Failed as error:
      raise guard.Failed(str(error).replace(folder, run_dir)) from error


def _export(
  snapshot: str,
  run_dir: str,
  task_name: str,
  shards: client_shards.ClientShards,
  staging: str,
  limits: guard.Limits,
  variants: Variants,
  task: str | None,
  is_default: bool,
) -> dict[str, Any]:
  started = time.monotonic()
  examples = parity.held_out_examples(shards)
  with contextlib.ExitStack() as stack:

    def start(*call: Any) -> guard.Call:
      return stack.enter_context(guard.Call(limits, *call))

    # In parallel: loading TensorFlow takes most of the time of each.
    keras = start(parity.keras_answers, snapshot, shards.schema, examples.features, task)
    # References are always made: they show that the graph of their form is right.
    references = {each.name: each for each in map(registry.reference_of, variants.values())}
    named = {**references, **variants}
    conversions = [(name, variant, start(tflite.convert, snapshot, name, task)) for name, variant in named.items()]
    try:
      reference = keras.result()
    except guard.Refused as error:
      raise ValueError(str(error)) from error
    check = acceptance.Acceptance(task_name, shards.schema, examples, reference, staging, limits, is_default)
    accepted, failed = check.accept_all(conversions)
    for name in (references.keys() & accepted.keys()) - variants.keys():
      os.remove(os.path.join(staging, accepted[name]['path']))
    failed = {name: reason.replace(snapshot, run_dir) for name, reason in failed.items()}
  itself = parity.compare(examples.labels, reference.logits, reference.logits, shards.schema.first_answer)
  record = {
    'source': source.hash_of(snapshot, shards, variants, task, is_default),
    'task': task_name,
    'variants': {variant.name: accepted[variant.name] for variant in variants.values() if variant.name in accepted},
    'failed': failed,
    'keras_accuracy': itself.accuracy,
    'majority_accuracy': itself.majority_accuracy,
    'examples': itself.examples,
    'positions': itself.positions,
    'seconds': time.monotonic() - started,
  }
  if record['variants']:
    published = {figures['form'] for figures in record['variants'].values()}
    model = {
      'task': task_name,
      'data_set': shards.name,
      'run': files.short_name(run_dir),
      'round': reference.round_number,
      'weights': reference.num_weights,
      'num_classes': shards.schema.num_classes,
      'signatures': {form: ends for form, ends in check.signatures.items() if form in published},
    }
    _describe(snapshot, model, shards, record, staging)
  return record


def file_names(task: str, variants: Variants) -> list[str]:
  """Returns the names of all files that an export of a task may write."""
  return [*_CONTENTS, *(tflite.file_name(task, variant.name) for variant in variants.values())]


def _describe(
  snapshot: str,
  model: Mapping[str, Any],
  shards: client_shards.ClientShards,
  record: Mapping[str, Any],
  staging: str,
) -> None:
  steps = preprocessing.describe(shards.manifest, model['signatures'])
  card = model_card.render(
    model,
    steps,
    record,
    run_directory.read_json(snapshot, run_directory.LEDGER),
    run_directory.read_figures(snapshot),
    run_directory.read_flags(snapshot),
    {'Python': platform.python_version(), **{name: metadata.version(name) for name in source.PACKAGES}},
  )
  contents = {
    preprocessing.CLASSES: json.dumps(shards.schema.classes, ensure_ascii=False, indent=1) + '\n',
    preprocessing.FILE_NAME: json.dumps(steps, ensure_ascii=False, indent=1, allow_nan=False) + '\n',
    _CARD: card,
    model_folder.PARITY: sealed_json.dumps(record),
  }
  for name, content in contents.items():
    files.write_atomically(os.path.join(staging, name), content)
