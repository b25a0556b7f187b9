"""From a run's released model to the files of a model folder: convert, check on the device's runtime, describe.

What needs TensorFlow or the device's runtime happens in guarded children; this process stays small and responsive.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import itertools
import os
import time
from typing import Any, NamedTuple

import numpy as np

from common import files
from contracts import client_shards
from contracts import formats
from contracts import held_out_figures
from export import check
from export import documents
from export import guard
from export import held_out
from export import model_folder
from export import parity
from export import request
from export import source
from export import tflite
from export import timing
from export.variants import base
from export.variants import registry

# Conversions that run at a time: each takes the memory of TensorFlow.
_AT_ONCE = max(2, min(4, len(os.sched_getaffinity(0))))


class Export(NamedTuple):
  """What an export found.

  Attributes:
    record: What its parity.json says.
    figures: Of held-out users, for the operator.
  """

  record: dict[str, Any]
  figures: held_out_figures.Figures


def export(
  run_dir: str,
  shards: client_shards.ClientShards,
  staging: str,
  limits: guard.Limits,
  wanted: request.Request,
) -> Export:
  """Fills the staging folder.

  A variant that cannot be converted, or disagrees with Keras, is listed under `failed` with the reason and has no file;
  one of the default that does not support the model, under `skipped`. The other variants are exported. If no variant
  remains, no file is written.

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
  with source.snapshot(run_dir) as run:
    return _export(run, run_dir, shards, staging, limits, wanted)


def _export(
  run: source.Snapshot,
  run_dir: str,
  shards: client_shards.ClientShards,
  staging: str,
  limits: guard.Limits,
  wanted: request.Request,
) -> Export:
  started = time.monotonic()
  examples = parity.held_out_examples(shards)
  expected, checking, accepted, failed = _convert(run, shards, examples, staging, limits, wanted)
  figures = _measure(run, shards, examples, expected)
  itself = parity.compare(examples.labels, expected, expected, shards.schema.first_answer)
  failed, skipped = (_name_run(each, run.folder, run_dir) for each in (failed, checking.skipped))
  # Now that no conversion runs, which would take time from the calls, and before the choice: a file may fail here.
  timed, untimed = timing.measure_all(wanted.pick_listed(accepted), staging, examples.features, limits)
  written, dropped = wanted.select(timed, itself.accuracy)
  for name in accepted.keys() - written.keys():
    os.remove(os.path.join(staging, accepted[name]['path']))
  record: dict[str, Any] = {
    formats.KEY: formats.PARITY,
    'source': wanted.hash(run.folder, shards),
    'model': run.model.digest,
    'task': run.model.task.name,
    'variants': written,
    'failed': {**failed, **untimed},
    'skipped': skipped,
    'dropped': dropped,
    **wanted.describe({*timed, *failed, *untimed}, written),
    'keras_accuracy': itself.accuracy,
    'majority_accuracy': itself.majority_accuracy,
    'examples': itself.examples,
    'positions': itself.positions,
    'seconds': time.monotonic() - started,
  }
  if written:
    signatures = checking.find_signatures(written)
    published = figures if wanted.publishes_figures else None
    said = wanted.stated, wanted.list_flags(), published, wanted.runtime
    exported = documents.Exported(run, files.short_name(run_dir), shards, signatures, record, *said)
    for name, content in documents.write(exported).items():
      os.makedirs(os.path.dirname(os.path.join(staging, name)), exist_ok=True)
      files.write_atomically(os.path.join(staging, name), content)
  return Export(record, figures)


def _measure(
  run: source.Snapshot, shards: client_shards.ClientShards, examples: parity.Examples, logits: np.ndarray
) -> held_out_figures.Figures:
  sizes = np.asarray(shards.clients(parity.SPLIT).examples)
  return held_out.measure(
    examples.labels,
    parity.find_owners(shards),
    logits,
    shards.schema,
    run.model.digest,
    held_out=int(np.count_nonzero(sizes)),
    is_sample=len(examples.labels) < int(sizes.sum()),
  )


def _convert(
  run: source.Snapshot,
  shards: client_shards.ClientShards,
  examples: parity.Examples,
  staging: str,
  limits: guard.Limits,
  wanted: request.Request,
) -> tuple[np.ndarray, check.Check, dict[str, dict[str, Any]], dict[str, str]]:
  """Makes the files; returns the logits of Keras, what checked the files, and what `Check.accept_all` returns."""
  with contextlib.ExitStack() as stack:

    def start(*call: Any) -> guard.Call:
      return stack.enter_context(guard.Call(limits, *call))

    # In parallel: loading TensorFlow takes most of the time of each.
    keras = start(parity.keras_answers, run.folder, shards.schema, examples.features, wanted.task)
    # References are always made, and first: they show that the graph of their form is right.
    references = {each.name: each for each in map(registry.reference_of, wanted.variants.values())}
    named = {**references, **wanted.variants}
    facts = wanted.collect_facts(shards)
    conversions = _start_in_turn(
      lambda own: start(
        tflite.convert, run.folder, own, wanted.task, wanted.examples_of(named[own]), wanted.allow_flex, facts
      ),
      named,
    )
    try:
      expected = keras.result()
    except guard.Refused as error:
      raise ValueError(str(error)) from error
    settings = limits, wanted.is_default, wanted.allow_flex, run.folder, wanted.task
    checking = check.Check(run.model.task.name, shards.schema, examples, expected, staging, *settings)
    accepted, failed = checking.accept_all(conversions)
  return expected, checking, accepted, failed


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
  return [*documents.DOCUMENTS, *(model_folder.file_name(task, variant.name) for variant in variants.values())]
