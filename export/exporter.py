"""From a run's released model to the files of a model folder: convert, check on the device's runtime, describe.

What needs TensorFlow or the device's runtime happens in guarded children; this process stays small and responsive.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
import contextlib
from importlib import metadata
import itertools
import json
import os
import platform
import time
from typing import Any
import zlib

from common import files
from common import sealed_json
from contracts import client_shards
from contracts import formats
from contracts import run_directory
from contracts import schema as schema_lib
from export import guard
from export import model_card
from export import model_folder
from export import parity
from export import preprocessing
from export import quantization
from export import request
from export import source
from export import tflite
from export.forms import base as forms_base
from export.variants import base
from export.variants import registry

_CARD = 'MODEL_CARD.md'
_CONTENTS = (preprocessing.CLASSES, preprocessing.FILE_NAME, _CARD, model_folder.PARITY)
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
  the other variants are exported. If no variant remains, no file is written and only the record is returned.

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
    check = _Check(task_name, shards.schema, examples, reference, staging, limits, wanted.is_default)
    accepted, failed = check.accept_all(conversions)
  itself = parity.compare(examples.labels, reference.logits, reference.logits, shards.schema.first_answer)
  failed = {name: reason.replace(snapshot, run_dir) for name, reason in failed.items()}
  skipped = {name: failed.pop(name) for name in check.refused if wanted.is_default}
  written, dropped = wanted.select(accepted, itself.accuracy)
  for name in accepted.keys() - written.keys():
    os.remove(os.path.join(staging, accepted[name]['path']))
  record: dict[str, Any] = {
    formats.KEY: formats.PARITY,
    'source': wanted.hash(snapshot, shards),
    'task': task_name,
    'variants': written,
    'failed': failed,
    'skipped': skipped,
    'dropped': dropped,
    **wanted.describe(written),
    'keras_accuracy': itself.accuracy,
    'majority_accuracy': itself.majority_accuracy,
    'examples': itself.examples,
    'positions': itself.positions,
    'seconds': time.monotonic() - started,
  }
  if written:
    of_run = {'run': files.short_name(run_dir), 'round': reference.round_number, 'weights': reference.num_weights}
    _describe(snapshot, {**of_run, 'signatures': check.signatures}, shards, record, staging)
  return record


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


class _Check:
  """Compares files with the output of the Keras model."""

  def __init__(
    self,
    task_name: str,
    schema: schema_lib.Schema,
    examples: parity.Examples,
    reference: parity.Reference,
    staging: str,
    limits: guard.Limits,
    is_default: bool = False,
  ) -> None:
    self._task_name = task_name
    self._schema = schema
    self._examples = examples
    self._reference = reference
    self._staging = staging
    self._limits = limits
    self._is_default = is_default
    self.signatures: dict[str, list[parity.End]] = {}
    self.refused: list[str] = []

  def accept_all(
    self, conversions: Iterable[tuple[str, base.Variant, guard.Call]]
  ) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Returns the figures of the variants that agree with Keras, and the reasons of those that failed, by name.

    If the reference of a form fails, all variants of the form fail: they have the same graph, and their wider bounds,
    which allow for rounding, may not show its error.

    Args:
      conversions: Of each variant the name that a flag has for it, the variant, and the call that converts;
        references first.
    """
    accepted: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    for own, variant, conversion in conversions:
      if _reference(variant) in failed:
        failed[variant.name] = f'not made: it has the graph of {_reference(variant)}, which failed'
        continue
      try:
        content = conversion.result()
        if not isinstance(content, forms_base.Unsuitable):
          accepted[variant.name] = self._accept(own, variant, content)
        elif not self._is_default:
          failed[variant.name] = content.reason
      except guard.Failed as error:
        failed[variant.name] = str(error)
        if isinstance(error, guard.Refused) and variant.calibration != 'none':
          self.refused.append(variant.name)
    return accepted, failed

  def _accept(self, own: str, variant: base.Variant, content: bytes) -> dict[str, Any]:
    """Writes a variant's file into the staging folder and returns its figures; removes a file that disagrees."""
    path = os.path.join(self._staging, tflite.file_name(self._task_name, variant.name))
    files.write_atomically(path, content)
    try:
      answers, summary = guard.call(self._limits, tflite.check, path, self._examples.features, own)
      figures = self._compare(answers, variant)
    except guard.Failed as error:
      os.remove(path)
      # Also if it is one that refuses: the file is at fault, not the model that it was made from.
      raise guard.Failed(str(error)) from error
    return {
      'path': os.path.basename(path),
      **files.describe(path),
      'compressed_bytes': len(zlib.compress(content, 9)),
      'form': variant.form,
      'summary': summary,
      'stored': answers.stored,
      **({'quantized': quantization.describe(answers.quantized)} if answers.quantized else {}),
      'argmax_agreement': figures.argmax_agreement,
      'max_logit_difference': figures.max_logit_difference,
      'accuracy': figures.accuracy,
      'examples': figures.examples,
      'positions': figures.positions,
    }

  def _compare(self, answers: parity.Answers, variant: base.Variant) -> parity.Figures:
    logits, expected = answers.logits, self._reference.logits
    if logits.shape != expected.shape:
      found = [len(logits) // len(expected), *logits.shape[1:]]
      raise guard.Failed(f'Expected logits of shape {[1, *expected.shape[1:]]}, found {found}')
    # Of the reference, which is the first: an app has one description of the inputs and outputs of all files of a form.
    signature = self.signatures.setdefault(variant.form, answers.signature)
    for wanted, end in itertools.zip_longest(signature, answers.signature):
      if wanted != end and not (wanted and end and _stands_for(end, wanted, answers)):
        kind = next(each[0] for each in (wanted, end) if each)
        raise guard.Failed(
          f'Expected the {kind} of {_reference(variant)}, {_describe_end(wanted)}, found '
          f'{_describe_end(end)}: convert the model with the inputs and outputs that it has'
        )
    figures = parity.compare(self._examples.labels, logits, expected, self._schema.first_answer)
    broken = parity.disagreement(figures, variant.bounds)
    if broken:
      raise guard.Failed(broken)
    return figures


def _stands_for(end: parity.End, wanted: parity.End, answers: parity.Answers) -> bool:
  """Returns whether an input or output is of integers that stand for the numbers of the wanted one."""
  return end[0] in answers.quantized and (end[0], end[1], end[3]) == (wanted[0], wanted[1], wanted[3])


def _describe_end(end: parity.End | None) -> str:
  return f'{end[1]} of {end[2]} {list(end[3])}' if end else 'none'


def _reference(variant: base.Variant) -> str:
  return registry.reference_of(variant).name


def _describe(
  snapshot: str,
  model: Mapping[str, Any],
  shards: client_shards.ClientShards,
  record: Mapping[str, Any],
  staging: str,
) -> None:
  variants = record['variants'].values()
  published = {each['form'] for each in variants}
  signatures = {form: ends for form, ends in model['signatures'].items() if form in published}
  quantized = {each['path']: each['quantized'] for each in variants if 'quantized' in each}
  steps = preprocessing.describe(shards.manifest, signatures, quantized)
  card = model_card.render(
    {
      **model,
      'task': record['task'],
      'data_set': shards.name,
      'num_classes': shards.schema.num_classes,
      'signatures': signatures,
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
    model_folder.PARITY: sealed_json.dumps(record),
  }
  for name, content in contents.items():
    files.write_atomically(os.path.join(staging, name), content)
