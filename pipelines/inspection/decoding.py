"""One example as people read it: text, a picture made of characters, or a few numbers."""

import numpy as np

from contracts import schema as schema_lib
from pipelines.featurizers import packing

# What stands between two classes of a text, by task.
_SEPARATORS = {'next_character': '', 'next_word': ' ', 'next_item': ', '}

_INKS = '@%#*+=-:. '  # From 0, which is black, to 255.
_PICTURE_COLUMNS = 40
_MOST_NUMBERS = 10


def decode(schema: schema_lib.Schema, features: np.ndarray, labels: np.ndarray) -> str:
  """Returns one example and its label, in one line or more.

  Positions that only pad the example are not shown.

  Args:
    schema: What an example holds.
    features: The example's `[*schema.feature.shape]`.
    labels: The example's `[*schema.label.shape]`.
  """
  labels = np.asarray(labels)
  if schema.task in _SEPARATORS:
    return _spell(schema, features, labels)
  is_picture = features.dtype == np.uint8 and features.ndim == 2
  shown = _draw(features) if is_picture else _summarize(features)
  return f'{shown}\nlabel: {", ".join(_names(schema, labels)) or "none"}'


def _spell(schema: schema_lib.Schema, features: np.ndarray, labels: np.ndarray) -> str:
  """Returns the text that the features hold and, after it, the last label, which is the one that they do not hold."""
  names = [schema.classes[code] for code in features]
  last = max((place for place, name in enumerate(names) if name != packing.PAD), default=0)
  names += _names(schema, labels[last])
  return _SEPARATORS[schema.task].join(name for name in names if name != packing.PAD)


def _names(schema: schema_lib.Schema, labels: np.ndarray) -> list[str]:
  """Returns what the labels mean, without those that only pad."""
  meant = [label for label in labels.ravel() if label != schema_lib.IGNORED_LABEL]
  return [packing.UNKNOWN if label == schema_lib.UNKNOWN_LABEL else schema.classes[label] for label in meant]


def _draw(image: np.ndarray) -> str:
  """Returns a picture of a line of characters for every two rows, since a character is twice as high as it is wide."""
  step = -(-image.shape[1] // _PICTURE_COLUMNS)
  bands = _mean(_mean(image.astype(np.float64), 2 * step, axis=0), step, axis=1)
  inks = np.round(bands / 255 * (len(_INKS) - 1)).astype(int)
  return '\n'.join(''.join(_INKS[ink] for ink in band).rstrip() for band in inks)


def _mean(image: np.ndarray, size: int, axis: int) -> np.ndarray:
  """Returns the means of each `size` rows (or columns), of fewer at the end."""
  starts = np.arange(0, image.shape[axis], size)
  counts = np.diff(starts, append=image.shape[axis])
  return np.add.reduceat(image, starts, axis) / np.expand_dims(counts, 1 - axis)


def _summarize(values: np.ndarray) -> str:
  if values.ndim < 2:
    shown = ' '.join(f'{value:.3g}' for value in values.ravel()[:_MOST_NUMBERS])
    return f'{values.size} numbers: {shown}{" …" * (values.size > _MOST_NUMBERS)} ({_range(values)})'
  channels = values.reshape(-1, values.shape[-1]).T
  lines = [f'channel {place}: {_range(channel)}' for place, channel in enumerate(channels[:_MOST_NUMBERS])]
  lines += [f'… {len(channels) - _MOST_NUMBERS} more channels'] * (len(channels) > _MOST_NUMBERS)
  return '\n'.join([f'{" x ".join(map(str, values.shape))} numbers', *lines])


def _range(values: np.ndarray) -> str:
  return f'least {values.min():.3g}, mean {values.mean():.3g}, greatest {values.max():.3g}'
