"""From a run's released model to the files of a model folder: convert, check on the device's runtime, describe.

What needs TensorFlow or the device's runtime happens in guarded children; this process stays small and responsive.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
from importlib import metadata
import itertools
import json
import os
import platform
import time
from typing import Any

from common import files
from common import sealed_json
from contracts import client_shards
from contracts import formats
from contracts import run_directory
from export import check
from export import guard
from export import model_card
from export import model_folder
from export import parity
from export import preprocessing
from export import request
from export import source
from export import tflite
from export import timing
from export.variants import base
from export.variants import registry

_CARD = 'MODEL_CARD.md'
# A copy of the run's: what it promises belongs to the files.
LEDGER = os.path.basename(run_directory.LEDGER)
_CONTENTS = (preprocessing.CLASSES, preprocessing.FILE_NAME, _CARD, LEDGER, model_folder.PARITY)
# Conversions that run at a time: each takes the memory of TensorFlow.
_AT_ONCE = max(2, min(4, len(os.sched_getaffinity(0))))


def export(
  run_dir: str,
  shards: client_shards.ClientShards,
  staging: str,
  limits: guard.Limits,
  wanted: request.Request,
) -> dict[str, Any]:
  """Fills the staging folder and returns what its parity.json says.

  A variant that cannot be converted, or disagrees with Keras, is listed under `failed` with the reason and has no file;
  one of the default that does not support the model, under `skipped`. The other variants are exported. If no variant
  remains, no file is written and only the record is returned.

  Args:
    run_dir: The run directory.
    shards: The data that the run was trained on.
    staging: An empty folder.
    limits: Of each conversion and each check.
    wanted: What to write.

  Raises:
    ValueError: If the released model or its ledger is missing, damaged, or not released with the other, or the model
      diverged or is not of the schema of the shards.
    guard.Failed: If the Keras model could not be run within the limits.
  """
  with source.snapshot(run_dir) as (copy, name):
    return _export(copy, run_dir, name, shards, staging, limits, wanted)


def _export(
  snapshot: str,
  run_dir: str,
  task_name: str,
  shards: client_shards.ClientShards,
  staging: str,
  limits: guard.Limits,
  wanted: request.Request,
) -> dict[str, Any]:
  started = time.monotonic()
  examples = parity.held_out_examples(shards)
  with contextlib.ExitStack() as stack:

    def start(*call: Any) -> guard.Call:
      return stack.enter_context(guard.Call(limits, *call))

    # In parallel: loading TensorFlow takes most of the time of each.
    keras = start(parity.keras_answers, snapshot, shards.schema, examples.features, wanted.task)
    # References are always made, and first: they show that the graph of their form is right.
    references = {each.name: each for each in map(registry.reference_of, wanted.variants.values())}
    named = {**references, **wanted.variants}
    conversions = _start_in_turn(
      lambda own: start(tflite.convert, snapshot, own, wanted.task, wanted.examples_of(named[own]), wanted.allow_flex),
      named,
    )
    try:
      reference = keras.result()
    except guard.Refused as error:
      raise ValueError(str(error)) from error
    checking = check.Check(
      task_name, shards.schema, examples, reference, staging, limits, wanted.is_default, wanted.allow_flex
    )
    accepted, failed = checking.accept_all(conversions)
  itself = parity.compare(examples.labels, reference.logits, reference.logits, shards.schema.first_answer)
  failed, skipped = (_name_run(each, snapshot, run_dir) for each in (failed, checking.skipped))
  # Now that no conversion runs, which would take time from the calls, and before the choice: a file may fail here.
  timed, untimed = timing.measure_all(wanted.pick_listed(accepted), staging, examples.features, limits)
  written, dropped = wanted.select(timed, itself.accuracy)
  for name in accepted.keys() - written.keys():
    os.remove(os.path.join(staging, accepted[name]['path']))
  record: dict[str, Any] = {
    formats.KEY: formats.PARITY,
    'source': wanted.hash(snapshot, shards),
    'model': run_directory.read_json(snapshot, run_directory.LEDGER)['model'],
    'task': task_name,
    'variants': written,
    'failed': {**failed, **untimed},
    'skipped': skipped,
    'dropped': dropped,
    **wanted.describe(timed, written),
    'keras_accuracy': itself.accuracy,
    'majority_accuracy': itself.majority_accuracy,
    'examples': itself.examples,
    'positions': itself.positions,
    'seconds': time.monotonic() - started,
  }
  if written:
    of_run = {'run': files.short_name(run_dir), 'round': reference.round_number, 'weights': reference.num_weights}
    _describe(snapshot, {**of_run, 'signatures': checking.find_signatures(written)}, shards, record, staging)
  return record


def _name_run(reasons: Mapping[str, str], snapshot: str, run_dir: str) -> dict[str, str]:
  return {name: reason.replace(snapshot, run_dir) for name, reason in reasons.items()}


def _start_in_turn(
  start: Callable[[str], guard.Call], variants: Mapping[str, base.Variant]
) -> Iterator[tuple[str, base.Variant, guard.Call]]:
  """Starts some conversions, and yields all; with each that is asked for after the first, one more starts."""
  waiting = iter(variants)
  calls = [start(own) for own in itertools.islice(waiting, _AT_ONCE)]

  def go_on() -> Iterator[tuple[str, base.Variant, guard.Call]]:
    for index, (own, variant) in enumerate(variants.items()):
      yield own, variant, calls[index]
      calls.extend(start(each) for each in itertools.islice(waiting, 1))

  return go_on()


def file_names(task: str, variants: Mapping[str, base.Variant]) -> list[str]:
  """Returns the names of all files that an export of a task may write."""
  return [*_CONTENTS, *(tflite.file_name(task, variant.name) for variant in variants.values())]


def _describe(
  snapshot: str,
  model: Mapping[str, Any],
  shards: client_shards.ClientShards,
  record: Mapping[str, Any],
  staging: str,
) -> None:
  variants = record['variants'].values()
  quantized = {each['path']: each['quantized'] for each in variants if 'quantized' in each}
  steps = preprocessing.describe(shards.manifest, model['signatures'], quantized)
  card = model_card.render(
    {
      **model,
      'task': record['task'],
      'data_set': shards.name,
      'num_classes': shards.schema.num_classes,
    },
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
    LEDGER: sealed_json.dumps(run_directory.read_json(snapshot, run_directory.LEDGER)),
    model_folder.PARITY: sealed_json.dumps(record),
  }
  for name, content in contents.items():
    files.write_atomically(os.path.join(staging, name), content)
