"""What the featurizers of sequences of characters, words or items have in common."""

import dataclasses
from typing import Any, ClassVar, Self

from pipelines.featurizers import base
from pipelines.featurizers import packing
from pipelines.statistics import base as learning
from pipelines.statistics import vocabulary


class Sequence(base.Featurizer):
  """Cuts one column into entries of a vocabulary, and these into windows.

  A subclass is a dataclass with fields `column`, `window_length`, and the vocabulary, whose name is `VOCABULARY`.
  """

  column: str
  window_length: int

  VOCABULARY: ClassVar[str] = 'vocabulary'

  def __post_init__(self) -> None:
    packing.check_window_length(self.window_length)

  @property
  def vocabulary_in_use(self) -> vocabulary.Vocabulary:
    return getattr(self, self.VOCABULARY)

  @property
  def provenance(self) -> list[dict[str, Any]]:
    return self.vocabulary_in_use.provenance()

  @property
  def learner(self) -> learning.Learner | None:
    return self.vocabulary_in_use.learner(self.column)

  def with_learned(self, value: Any) -> Self:
    learned: dict[str, Any] = {self.VOCABULARY: self.vocabulary_in_use.with_learned(value)}
    return dataclasses.replace(self, **learned)  # type: ignore[type-var]  # Featurizers are dataclasses.

  def weight_needed(self, examples: int) -> int:
    return examples * self.window_length + 1
