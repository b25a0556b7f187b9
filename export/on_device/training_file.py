"""Runs a training file on the device's runtime, as an app does. No TensorFlow."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from export import flex
from export import parity

SIGNATURES = ('train', 'infer', 'get_weights', 'set_weights', 'reset')
_REMEDY = 'export with --variants=train, and name that file'


class TrainingFile:
  """A training file that is loaded: a model whose weights are in the runtime.

  Attributes:
    batch_size: Examples a step; where there are fewer, the last one is repeated without counting.

  Args:
    interpreter: Of the file.

  Raises:
    ValueError: If it is no training file.
  """

  def __init__(self, interpreter: Any) -> None:
    found = interpreter.get_signature_list()
    missing = [name for name in SIGNATURES if name not in found]
    if missing:
      raise ValueError(
        f'Expected a training file with the signatures {", ".join(SIGNATURES)}, found none of {", ".join(missing)}: '
        f'{_REMEDY}.'
      )
    self._run = {name: interpreter.get_signature_runner(name) for name in SIGNATURES}
    inputs = self._run['train'].get_input_details()
    self._batch = {name: np.zeros(inputs[name]['shape'], inputs[name]['dtype']) for name in ('x', 'y', 'weight')}
    self.batch_size = len(self._batch['x'])
    weights = self._run['get_weights'].get_output_details()
    self._names = sorted(weights, key=lambda name: int(name.removeprefix('w')))

  @classmethod
  def open(cls, path: str) -> 'TrainingFile':
    """Returns a file that is loaded.

    Raises:
      ValueError: If it is no training file.
    """
    return cls(flex.open_interpreter(path))

  def describe(self) -> list[parity.End]:
    """Returns the inputs and outputs of all signatures; names are those of the signature and of the end: `train.x`."""
    ends = []
    for name, run in self._run.items():
      for kind, details in (('input', run.get_input_details()), ('output', run.get_output_details())):
        ends += [(kind, f'{name}.{end[1]}', *end[2:]) for end in sorted(parity.describe_ends(kind, details))]
    return ends

  def get_weights(self) -> list[np.ndarray]:
    """Returns the weights, in the order of `keras.Model.get_weights`."""
    weights = self._run['get_weights']()
    return [weights[name] for name in self._names]

  def set_weights(self, weights: Sequence[np.ndarray]) -> None:
    """Replaces the weights."""
    self._run['set_weights'](**dict(zip(self._names, weights, strict=True)))

  def reset(self) -> None:
    """Takes back all training: the weights are the released ones again."""
    self._run['reset']()

  def infer(self, features: np.ndarray) -> np.ndarray:
    """Returns the logits of examples, `[n, ..., num_classes]`."""
    features = features.astype(self._batch['x'].dtype)
    return np.concatenate([self._run['infer'](x=features[row : row + 1])['logits'] for row in range(len(features))])

  def train(self, features: np.ndarray, labels: np.ndarray, learning_rate: float) -> float:
    """Takes one step of SGD on at most `batch_size` examples, and returns their mean loss before it.

    Raises:
      ValueError: If there are none, or more.
    """
    count, batch = len(features), self._batch
    if not 1 <= count <= self.batch_size:
      raise ValueError(
        f'Expected at most {self.batch_size} examples a step and at least one, found {count}: pass a part of them.'
      )
    # A real example fills up, as in training: zeros may give NaN in some layer, and a weight of 0 times NaN is NaN.
    for name, values, filler in (('x', features, features[-1]), ('y', labels, labels[-1]), ('weight', 1, 0)):
      batch[name][:count], batch[name][count:] = values, filler
    return float(self._run['train'](**batch, lr=np.float32(learning_rate))['loss'])

  def train_epochs(
    self, features: np.ndarray, labels: np.ndarray, orders: Iterable[np.ndarray], size: int, learning_rate: float
  ) -> None:
    """Takes a step on each batch of some epochs, the last of an epoch with the examples that remain.

    Args:
      features: `[n, ...]`.
      labels: `[n, ...]`; those below 0 do not count.
      orders: Of each epoch the indices of the examples in their order.
      size: Examples a step, at most `batch_size`.
      learning_rate: Of SGD.
    """
    for order in orders:
      for rows in cut(order, size):
        self.train(features[rows], labels[rows], learning_rate)


def cut(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
  """Yields the batches of an epoch."""
  for start in range(0, len(order), size):
    yield order[start : start + size]
