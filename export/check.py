"""Compares converted files with the Keras model, and says which are accepted and why others failed."""

from collections.abc import Iterable, Mapping
import itertools
import os
from typing import Any
import zlib

import numpy as np

from common import files
from contracts import schema as schema_lib
from export import guard
from export import model_folder
from export import parity
from export import quantization
from export import tflite
from export.forms import registry as forms
from export.variants import base
from export.variants import registry
from models import unsupported


class Check:
  """Compares files with the output of the Keras model.

  Attributes:
    skipped: Why variants of the default were not made that do not support the model, by name.
  """

  def __init__(
    self,
    task_name: str,
    schema: schema_lib.Schema,
    examples: parity.Examples,
    expected: np.ndarray,
    staging: str,
    limits: guard.Limits,
    is_default: bool = False,
    allow_flex: bool = False,
    run_dir: str = '',
    task: str | None = None,
  ) -> None:
    self._task_name = task_name
    self._schema = schema
    self._examples = examples
    self._expected = expected
    self._staging = staging
    self._limits = limits
    self._is_default = is_default
    self._allow_flex = allow_flex
    self._run_dir = run_dir
    self._task = task
    self._signatures: dict[str, list[parity.End]] = {}
    self.skipped: dict[str, str] = {}

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
        if not isinstance(content, unsupported.Unsupported):
          accepted[variant.name] = self._accept(own, variant, content)
        else:
          # Nobody asked for a variant of the default: there is no fault in a model that it does not support.
          (self.skipped if self._is_default else failed)[variant.name] = str(content)
      except guard.Failed as error:
        failed[variant.name] = str(error)
    return accepted, failed

  def find_signatures(self, written: Mapping[str, Mapping[str, Any]]) -> dict[str, list[parity.End]]:
    """Returns the inputs and outputs of the files of each form.

    Where some files have integers for the numbers of others, they are those of the others.

    Args:
      written: The figures of the files that are published, by variant.
    """
    signatures: dict[str, list[parity.End]] = {}
    for name, figures in sorted(written.items(), key=lambda each: 'quantized' in each[1]):
      signatures.setdefault(figures['form'], self._signatures[name])
    return signatures

  def _accept(self, own: str, variant: base.Variant, content: bytes) -> dict[str, Any]:
    """Writes a variant's file into the staging folder and returns its figures; removes a file that disagrees."""
    path = os.path.join(self._staging, model_folder.file_name(self._task_name, variant.name))
    files.write_atomically(path, content)
    try:
      answers, summary = guard.call(self._limits, tflite.check, path, self._examples.features, own, self._allow_flex)
      figures = self._compare(answers, variant)
      form = forms.FORMS[variant.form]
      further = form.check_further(self._limits, path, self._run_dir, self._task, self._examples)
    except guard.Failed as error:
      os.remove(path)
      # Also if it is one that refuses: the file is at fault, not the model that it was made from.
      raise guard.Failed(str(error)) from error
    self._signatures[variant.name] = answers.signature
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
      **further,
    }

  def _compare(self, answers: parity.Answers, variant: base.Variant) -> parity.Figures:
    logits, expected = answers.logits, self._expected
    if logits.shape != expected.shape:
      found = [len(logits) // len(expected), *logits.shape[1:]]
      raise guard.Failed(f'Expected logits of shape {[1, *expected.shape[1:]]}, found {found}')
    # Of the reference, which is the first: an app has one description of the inputs and outputs of all files of a form.
    signature = self._signatures.get(_reference(variant), answers.signature)
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
