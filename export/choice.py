"""Which of the files to keep: the smallest one that is accurate enough."""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any


@dataclasses.dataclass(frozen=True)
class Choice:
  """What a file has to be like.

  Attributes:
    max_accuracy_loss: How far its accuracy on held-out users may be below that of Keras.
    max_kb: How many kB (1,000 bytes) it may have; None for any number.
  """

  max_accuracy_loss: float
  max_kb: float | None = None

  def choose(
    self, variants: Mapping[str, Mapping[str, Any]], keras_accuracy: float
  ) -> tuple[str | None, dict[str, str]]:
    """Returns the smallest variant that holds, None if none does, and of all others why they were dropped.

    Args:
      variants: Their entries in parity.json, by name.
      keras_accuracy: That of the Keras model on the same examples.
    """
    dropped = {name: reason for name, each in variants.items() if (reason := self._refuse(each, keras_accuracy))}
    holding = {name: each for name, each in variants.items() if name not in dropped}
    best = min(holding, key=lambda name: (holding[name]['bytes'], -holding[name]['accuracy']), default=None)
    if best is not None:
      dropped |= {
        name: f'its file of {_size(each)} is no smaller than that of {best}'
        for name, each in holding.items()
        if name != best
      }
    return best, {name: dropped[name] for name in variants if name in dropped}

  def describe(self) -> str:
    """Returns what a file has to be like, a phrase."""
    size = '' if self.max_kb is None else f' and a file of at most {self.max_kb:g} kB'
    return f'an accuracy at most {self.max_accuracy_loss:g} below that of Keras{size}'

  def _refuse(self, variant: Mapping[str, Any], keras_accuracy: float) -> str:
    loss = keras_accuracy - variant['accuracy']
    reasons = []
    # Rounding of the difference is no loss.
    if not loss <= self.max_accuracy_loss + 1e-9:
      reasons.append(f'its accuracy is {loss:.4f} below that of Keras')
    if variant['bytes'] > 1_000 * (math.inf if self.max_kb is None else self.max_kb):
      reasons.append(f'its file has {_size(variant)}')
    return ' and '.join(reasons)


def _size(variant: Mapping[str, Any]) -> str:
  return f'{variant["bytes"] / 1_000:,.1f} kB'
