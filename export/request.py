"""What an export is asked for: which variants, what they learn from, and which of them to keep."""

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import hashlib
from typing import Any

from common import files
from contracts import client_shards
from contracts import held_out_figures
from contracts import schema as schema_lib
from export import calibration
from export import choice as choice_lib
from export import parity
from export import source
from export.metadata import facts as facts_lib
from export.variants import base
from export.variants import registry

# What stands in the card for examples to learn from, by their kind.
_DATA_FLAGS = {
  'public': ['--public_data=EXAMPLES'],
  'released': ['--calibration_shards=EXAMPLES', '--accept_unaccounted_calibration'],
}
_PUBLISHED = (
  "The card has exact figures of clients' data: the numbers of clients and examples, accuracy by held-out user, and "
  'which answers are taken for which. No epsilon covers them. Figures from fewer than '
  f'{held_out_figures.FEW} users are omitted, which is no guarantee.'
)


@dataclasses.dataclass(frozen=True)
class Request:
  """What to make of a run.

  Attributes:
    variants: By the names that a flag lists (see `variants.registry.find_all`).
    task: The value of `--task`, if it is given.
    data: What variants learn from, if there is something.
    is_default: Whether nobody asked for these very variants: one that refuses the model is no failure then.
    choice: What the one variant of each form that is kept has to be like; None keeps all.
    allow_flex: Whether files may have operations that only TensorFlow's own kernels compute.
    stated: Who answers for the model, and its licence.
    publishes_figures: Whether the card has exact figures of clients' data that no epsilon covers.
    runtime: LiteRT.js by file name, for the page; none: there is no page.
  """

  variants: Mapping[str, base.Variant]
  task: str | None = None
  data: calibration.Calibration | None = None
  is_default: bool = False
  choice: choice_lib.Choice | None = None
  allow_flex: bool = False
  stated: facts_lib.Credits = facts_lib.NOBODY
  publishes_figures: bool = False
  runtime: Mapping[str, bytes] = dataclasses.field(default_factory=dict)

  def hash(self, run_dir: str, shards: client_shards.ClientShards) -> str:
    """Returns a hash of all that the model folder depends on; see `source.hash_of`."""
    data = self.data and [self.data.kind, self.data.shards.fingerprint, files.short_name(self.data.shards.path)]
    choice = self.choice and dataclasses.astuple(self.choice)
    runtime = {name: hashlib.sha256(content).hexdigest() for name, content in self.runtime.items()}
    settings: list[Any] = [data, self.is_default, choice, self.allow_flex]
    settings += [self.stated, self.publishes_figures, runtime]
    return source.hash_of(run_dir, shards, self.variants, self.task, settings)

  def examples_of(self, variant: base.Variant) -> parity.Examples | None:
    """Returns what a variant learns from, None if it learns from nothing.

    Raises:
      ValueError: If a shard is damaged.
    """
    return self.data.read(variant.max_examples) if self.data and variant.calibration != 'none' else None

  def collect_facts(self, shards: client_shards.ClientShards) -> facts_lib.Facts:
    """Returns what the metadata of all files say.

    Args:
      shards: What the run was trained on.
    """
    return facts_lib.collect(shards, self.stated, self.data.kind if self.data else '')

  def list_flags(self) -> list[str]:
    """Returns the flags that ask for the same again, with capital letters in place of folders."""
    flags = [] if self.is_default else [f'--variants={",".join(self.variants)}']
    if self.data:
      flags += _DATA_FLAGS[self.data.kind]
    if self.choice:
      flags += ['--choose_best', f'--max_accuracy_loss={self.choice.max_accuracy_loss:g}']
      flags += [] if self.choice.max_kb is None else [f'--max_kb={self.choice.max_kb:g}']
    given = {'task': self.task, 'model_author': self.stated.author, 'model_license': self.stated.license}
    flags += [f'--{name}={value}' for name, value in given.items() if value]
    flags += ['--allow_flex'] * self.allow_flex
    flags += ['--litert_js=LITERT_JS'] * bool(self.runtime)
    return flags + ['--accept_unaccounted_figures'] * self.publishes_figures

  def pick_listed(self, accepted: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns those of the accepted variants that were asked for, in that order: references are always made."""
    return {each.name: accepted[each.name] for each in self.variants.values() if each.name in accepted}

  def select(
    self, accepted: Mapping[str, dict[str, Any]], keras_accuracy: float
  ) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Returns the variants to write, in the order that was asked for, and why others were dropped.

    The choice is made for each form: an app that feeds whole examples has no use for a file that takes steps. For the
    same reason a file of integers replaces one of floats only if somebody listed it.

    Args:
      accepted: The entries in parity.json of all that were made, by name.
      keras_accuracy: That of the Keras model on the same examples.
    """
    made = self.pick_listed(accepted)
    if not self.choice:
      return made, {}
    best, dropped = set[str | None](), self._drop_other_types(made)
    made = {name: each for name, each in made.items() if name not in dropped}
    for form in dict.fromkeys(each['form'] for each in made.values()):
      of_form = {name: each for name, each in made.items() if each['form'] == form}
      chosen, others = self.choice.choose(of_form, keras_accuracy)
      best.add(chosen)
      dropped |= others
    return {name: each for name, each in made.items() if name in best}, dropped

  def _drop_other_types(self, made: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    reason = (
      'its input or output is of integers, which an app has to be written for: list it in --variants to choose it'
    )
    return {name: reason for name, each in made.items() if self.is_default and 'quantized' in each}

  def describe(self, made: Collection[str], written: Collection[str]) -> dict[str, Any]:
    """Returns what parity.json says of the choice, the card, and the data, if a variant that was made learned from it.

    Args:
      made: The variants of which parity.json says something: also of one that failed, or that the choice dropped.
      written: Those whose files are in the folder.
    """
    learning = [each for each in self.variants.values() if each.name in made and each.calibration != 'none']
    return {
      **({'calibration': self.data.describe(learning, written)} if self.data and learning else {}),
      **({'choice': self.choice.describe()} if self.choice else {}),
      **({'published_figures': _PUBLISHED} if self.publishes_figures else {}),
    }

  def skipped(self) -> str:
    """Returns which variants were not made for want of examples, and how to get them; empty if all were."""
    if self.data or not self.is_default:
      return ''
    return f'Skipped {", ".join(registry.LEARNING)}, which learn from examples: {calibration.HOW_TO}.'


def make(
  names: Sequence[str] | None,
  task: str | None,
  schema: schema_lib.Schema,
  data: calibration.Calibration | None,
  choice: choice_lib.Choice | None,
  allow_flex: bool = False,
  stated: facts_lib.Credits = facts_lib.NOBODY,
  publishes_figures: bool = False,
  runtime: Mapping[str, bytes] | None = None,
) -> Request:
  """Returns the request that flags make.

  Args:
    names: The value of `--variants`; None if it is not given.
    task: The value of `--task`.
    schema: What the model was trained on.
    data: What `calibration.open_data` returned.
    choice: Of `--choose_best`.
    allow_flex: The value of `--allow_flex`.
    stated: The values of `--model_author` and `--model_license`.
    publishes_figures: The value of `--accept_unaccounted_figures`.
    runtime: LiteRT.js, if there is to be a page.

  Raises:
    ValueError: If there is no variant of a name, or no examples for one, or no variant for the examples.
  """
  default = [*registry.choose_default(schema), *(registry.LEARNING if data else ())]
  variants = registry.find_all(default if names is None else names)
  calibration.check(variants, data)
  return Request(variants, task, data, names is None, choice, allow_flex, stated, publishes_figures, runtime or {})
