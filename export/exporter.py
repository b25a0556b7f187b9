"""From a run's released model to the files of a model folder: convert, check on the device's runtime, describe.

What needs TensorFlow or the device's runtime happens in guarded children; this process stays small and responsive.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
from importlib import metadata
import itertools
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
from contracts import formats
from contracts import released_model
from contracts import run_directory
from contracts import schema as schema_lib
from export import guard
from export import model_card
from export import model_folder
from export import parity
from export import preprocessing
from export import source
from export import tflite
from export.forms import base as forms_base
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
    check = _Check(task_name, shards.schema, examples, reference, staging, limits, is_default)
    accepted, failed = check.accept_all(conversions)
    for name in (references.keys() & accepted.keys()) - variants.keys():
      os.remove(os.path.join(staging, accepted[name]['path']))
    failed = {name: reason.replace(snapshot, run_dir) for name, reason in failed.items()}
  itself = parity.compare(examples.labels, reference.logits, reference.logits, shards.schema.first_answer)
  record: dict[str, Any] = {
    formats.KEY: formats.PARITY,
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

  def accept_all(
    self, conversions: Sequence[tuple[str, base.Variant, guard.Call]]
  ) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Returns the figures of the variants that agree with Keras, and the reasons of those that failed, by name.

    If the reference of a form fails, all variants of the form fail: they have the same graph, and their wider bounds,
    which allow for rounding, may not show its error.

    Args:
      conversions: Of each variant the name that a flag has for it, the variant, and the call that converts.
    """
    accepted: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    for own, variant, conversion in sorted(conversions, key=lambda each: each[1].name != _reference(each[1])):
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
    return accepted, failed

  def _accept(self, own: str, variant: base.Variant, content: bytes) -> dict[str, Any]:
    """Writes a variant's file into the staging folder and returns its figures; removes a file that disagrees."""
    path = os.path.join(self._staging, tflite.file_name(self._task_name, variant.name))
    files.write_atomically(path, content)
    try:
      answers, summary = guard.call(self._limits, tflite.check, path, self._examples.features, own)
      figures = self._compare(answers, variant)
    except guard.Failed:
      os.remove(path)
      raise
    return {
      'path': os.path.basename(path),
      **files.describe(path),
      'form': variant.form,
      'summary': summary,
      'stored': answers.stored,
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
      if wanted != end:
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
