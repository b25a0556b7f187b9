"""What a snippet has to name: the file, its inputs and outputs, and how examples are made. Of preprocessing.json."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from export import flex
from export import usage

# Of LiteRT.js, Kotlin and Swift alike.
_DTYPES = ('float32', 'int32')
_SEQUENCES = ('characters', 'words', 'items')
_TABULAR = ('table', 'windows')
_KINDS = (*_SEQUENCES, *_TABULAR, 'image')


@dataclasses.dataclass(frozen=True)
class Facts:
  """What the templates are filled with.

  Attributes:
    steps: What preprocessing.json says.
    path: The name of the file.
    is_step: Whether it takes one element of a sequence a call.
    needs_flex: Whether only TensorFlow can run it.
    training_path: The name of the file that trains; empty if there is none.
  """

  steps: Mapping[str, Any]
  path: str
  is_step: bool
  needs_flex: bool = False
  training_path: str = ''

  @property
  def _ends(self) -> Mapping[str, Any]:
    if self.is_step:
      return self.steps['step']
    if self.path != self.training_path:
      return self.steps
    infer = self.training['signatures']['infer']
    return {'input': infer['inputs'][0], 'output': infer['outputs'][0]}

  @property
  def signature(self) -> str:
    """The signature that answers."""
    return 'infer' if self.path == self.training_path else 'serving_default'

  @property
  def training(self) -> Mapping[str, Any]:
    """How a device trains the model; empty if there is no file for that."""
    return self.steps['training'] if self.training_path else {}

  @property
  def input(self) -> Mapping[str, Any]:
    """The input that is no state: its name, dtype and shape."""
    return self._ends['input']

  @property
  def output(self) -> Mapping[str, Any]:
    """The logits: their name, dtype and shape."""
    return self._ends['output']

  @property
  def states(self) -> Sequence[Mapping[str, Any]]:
    """Of each state the name of the input and of the output, and the shape."""
    return self._ends.get('states', ())

  @property
  def examples(self) -> Mapping[str, Any]:
    """How examples are made."""
    return self.steps['examples']

  @property
  def kind(self) -> str:
    """What examples are; empty for those of a featurizer of one's own."""
    kind = self.examples.get('kind', '')
    return kind if kind in _KINDS else ''

  @property
  def is_sequence(self) -> bool:
    """Whether an example is a sequence of classes."""
    return self.kind in _SEQUENCES

  @property
  def is_text(self) -> bool:
    """Whether it is made of messages."""
    return 'unicode_normalization' in self.examples

  @property
  def is_tabular(self) -> bool:
    """Whether it is made of rows with columns of numbers."""
    return self.kind in _TABULAR

  @property
  def has_normal_form(self) -> bool:
    """Whether texts have to be brought into one form to be found among those that are listed."""
    return self.kind == 'items' or (self.kind == 'table' and bool(self.examples.get('categories')))

  @property
  def separator(self) -> str:
    """What stands between two messages."""
    return self.examples.get('after_each_text', '')

  @property
  def longest(self) -> int:
    """How many elements the longest sequence has that the model has seen."""
    return self.steps['step']['longest'] if self.is_step else self.input['shape'][1]

  @property
  def row(self) -> dict[str, Any]:
    """A row with a value in each column."""
    numbers = {name: [0.0] * length if length else 0.0 for name, _, length in usage.numbers(self.examples)}
    return numbers | {each['column']: each['values'][0] for each in self.examples.get('categories', ())}

  @property
  def unsupported(self) -> str:
    """Why there is no code for the file; empty if there is."""
    if self.path in self.steps.get('quantized', {}).get('files', {}):
      return 'Its input or output is of integers that stand for numbers, as `quantized` of preprocessing.json says.'
    others = {end['dtype'] for end in (self.input, self.output)} - {*_DTYPES}
    return f'Its input or output is of {", ".join(sorted(others))}.' if others else ''


def choose(steps: Mapping[str, Any], variants: Mapping[str, Mapping[str, Any]]) -> Facts:
  """Returns the facts of the file that an app would take.

  For a sequence that is one that takes an element a call; otherwise one with floats as input and output; and of those
  the smallest that LiteRT runs alone. A file that trains is taken if all others take or give integers.

  Args:
    steps: What preprocessing.json says.
    variants: What parity.json says of each.
  """

  def rank(variant: Mapping[str, Any]) -> tuple[bool, int, bool, int]:
    form = ('step', 'whole', 'train').index(variant['form'])
    return 'quantized' in variant, form, flex.is_needed(variant['summary']), variant['bytes']

  best = min(variants.values(), key=rank)
  training_path = next((each['path'] for each in variants.values() if each['form'] == 'train'), '')
  return Facts(steps, best['path'], best['form'] == 'step', flex.is_needed(best['summary']), training_path)
