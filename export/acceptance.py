"""Which files are good enough: each is checked on the device's runtime, and compared with the output of Keras."""

from collections.abc import Sequence
import itertools
import os
from typing import Any

from common import files
from contracts import schema as schema_lib
from export import guard
from export import parity
from export import tflite
from export.forms import base as forms_base
from export.variants import base
from export.variants import registry


class Acceptance:
  """Compares files with the output of the Keras model.

  Attributes:
    signatures: Of the files of each form that were accepted.

  Args:
    task_name: What files are called after.
    schema: Of the examples.
    examples: Of held-out users.
    reference: The answers of the Keras model to them.
    staging: Where files are written.
    limits: Of each check.
    is_default: Nobody asked for these variants: those whose form the model does not have are no failures.
  """

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
        raise guard.Failed(
          f'Expected the {(wanted or end)[0]} of {_reference(variant)}, {_describe_end(wanted)}, found '
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
