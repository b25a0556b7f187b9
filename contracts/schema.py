"""The data set's contract: what one example of a client holds.

Written into the manifest by `pipelines`, checked by everything downstream. A leaf: imports nothing of ours and nothing
heavy.
"""

from collections.abc import Mapping
import dataclasses
import itertools
import math
from typing import Any

# A label with this value does not count: it pads a window that ends early, or a batch that is not full.
IGNORED_LABEL = -1
# The true answer is none of the classes: a word outside of the vocabulary. It counts in no loss and no accuracy, but
# coverage counts it: the share of the answers that a model can give.
UNKNOWN_LABEL = -2
# What the classes of a sequence begin with: what fills up an example, and what is not in the vocabulary. They stand in
# features only: neither is ever an answer.
SPECIAL_CLASSES = ('<pad>', '<unknown>')

_DTYPES = frozenset(
  {
    'bool',
    'float16',
    'float32',
    'float64',
    *(f'{kind}{bits}' for kind in ('int', 'uint') for bits in (8, 16, 32, 64)),
  }
)
_MOST_AXES = 8
# Of one example: far beyond what a phone can take.
_MOST_VALUES = 1 << 30


@dataclasses.dataclass(frozen=True)
class Feature:
  """One array of an example: its name, NumPy dtype and shape (of one example, without the batch)."""

  name: str
  dtype: str
  shape: tuple[int, ...]

  @property
  def size(self) -> int:
    """Number of values in one example."""
    return math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class Schema:
  """What one example holds, and how its label reads.

  Attributes:
    task: The name of the task in `models.registry` that learns from it.
    feature: The model's input.
    label: The integer label, or labels (one per position), in `[first_answer, len(classes))`, `UNKNOWN_LABEL` or
      `IGNORED_LABEL`.
    classes: What each label means, in order: characters, words, digits. Published with the model: declared, or learned
      at a price that the manifest names.
  """

  task: str
  feature: Feature
  label: Feature
  classes: tuple[str, ...]

  @property
  def num_classes(self) -> int:
    return len(self.classes)

  @property
  def is_sequence(self) -> bool:
    """Whether each element of an example is a class, and its label the class that follows it."""
    has_codes = self.feature.dtype.startswith(('int', 'uint'))
    return has_codes and bool(self.label.shape) and self.feature.shape == self.label.shape

  @property
  def first_answer(self) -> int:
    """The first class that can be an answer: a sequence's begin with special ones, which never are."""
    special = itertools.takewhile(SPECIAL_CLASSES.__contains__, self.classes if self.is_sequence else ())
    return len(list(special))

  def to_json(self) -> dict[str, Any]:
    """Returns the schema as JSON-ready values, the inverse of `from_json`."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, value: Mapping[str, Any]) -> 'Schema':
    """Reads what `to_json` wrote.

    Raises:
      ValueError: If a field is missing or has another form.
    """
    try:
      feature, label = (
        Feature(value[key]['name'], value[key]['dtype'], tuple(value[key]['shape'])) for key in ('feature', 'label')
      )
      schema = cls(value['task'], feature, label, tuple(value['classes']))
      problem = next((f'dtype or shape of {array.name}' for array in (feature, label) if not _is_valid(array)), None)
    except (KeyError, TypeError) as error:
      problem = str(error)
    if problem:
      raise ValueError(f'Expected a schema with task, feature, label and classes, found no valid {problem}.')
    return schema


def _is_valid(feature: Feature) -> bool:
  is_shape = len(feature.shape) <= _MOST_AXES and all(type(size) is int and size > 0 for size in feature.shape)
  return feature.dtype in _DTYPES and is_shape and feature.size <= _MOST_VALUES
