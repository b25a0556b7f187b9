"""The windows of images that a convolution or a pool sees, cut out and put back by built-in operations."""

from collections.abc import Sequence
import dataclasses
from typing import Any

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Windows:
  """The windows that a convolution or a pool sees, height and width each.

  Attributes:
    size: Of a window.
    stride: From one window to the next.
    dilation: From one number of a window to the next.
    count: How many windows there are.
    before: How far the images are padded before their first number.
    image: The height and width of the images.
  """

  size: Sequence[int]
  stride: Sequence[int]
  dilation: Sequence[int]
  count: Sequence[int]
  before: Sequence[int]
  image: Sequence[int]

  @property
  def _padded(self) -> list[int]:
    """What the windows cover; the numbers behind that are in no window."""
    return [
      max(before + image, (count - 1) * stride + (size - 1) * dilation + 1)
      for before, image, count, stride, size, dilation in zip(
        self.before, self.image, self.count, self.stride, self.size, self.dilation, strict=True
      )
    ]

  def _positions(self) -> list[list[int]]:
    """Returns of each number of a window where it is in the first one."""
    (rows, columns), (down, right) = self.size, self.dilation
    return [[row * down, column * right] for row in range(rows) for column in range(columns)]

  def cut(self, images: tf.Tensor, padding: float = 0.0) -> list[tf.Tensor]:
    """Returns of each number of a window those of all windows, `[batch, *count, channels]`."""
    after = [
      padded - before - image for padded, before, image in zip(self._padded, self.before, self.image, strict=True)
    ]
    paddings = list(zip(self.before, after, strict=True))
    padded = tf.pad(images, [[0, 0], *paddings, [0, 0]], constant_values=padding)
    (down, right), (rows, columns) = self.stride, self.count
    return [
      padded[:, row : row + (rows - 1) * down + 1 : down, column : column + (columns - 1) * right + 1 : right]
      for row, column in self._positions()
    ]

  def add(self, windows: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns images whose numbers are the sums of what `cut` would take from them, in its order."""
    total: tf.Tensor = 0.0
    for values, position in zip(windows, self._positions(), strict=True):
      total += self._place(values, position)
    (top, left), (height, width) = self.before, self.image
    return total[:, top : top + height, left : left + width]

  def _place(self, values: tf.Tensor, position: Sequence[int]) -> tf.Tensor:
    """Returns padded images of zeros with these numbers, one for each window."""
    batch, rows, columns, channels = values.shape
    (down, right), padded = self.stride, self._padded
    if down > 1:
      values = tf.pad(tf.reshape(values, [batch, rows, 1, columns * channels]), [[0, 0], [0, 0], [0, down - 1], [0, 0]])
      values = tf.reshape(values, [batch, rows * down, columns, channels])[:, : (rows - 1) * down + 1]
      rows = values.shape[1]
    if right > 1:
      values = tf.pad(
        tf.reshape(values, [batch * rows, columns, 1, channels]), [[0, 0], [0, 0], [0, right - 1], [0, 0]]
      )
      values = tf.reshape(values, [batch, rows, columns * right, channels])[:, :, : (columns - 1) * right + 1]
      columns = values.shape[2]
    (top, left), (height, width) = position, padded
    return tf.pad(values, [[0, 0], [top, height - top - rows], [left, width - left - columns], [0, 0]])


def of(operation: Any, size: Sequence[int]) -> Windows:
  """Returns the windows of an operation on images.

  Raises:
    LookupError: If it is one that no Keras layer makes.
  """
  images, output = operation.inputs[0], operation.outputs[0]
  padding = operation.get_attr('padding')
  if operation.get_attr('data_format') != b'NHWC' or padding not in (b'VALID', b'SAME'):
    raise no_gradient(operation, f'with data format {operation.get_attr("data_format")!r} and padding {padding!r}')
  strides = operation.get_attr('strides')[1:3]
  dilations = operation.get_attr('dilations')[1:3] if 'dilations' in operation.node_def.attr else [1, 1]
  image, count = images.shape[1:3].as_list(), output.shape[1:3].as_list()
  covered = [
    (number - 1) * stride + (width - 1) * dilation + 1
    for number, stride, width, dilation in zip(count, strides, size, dilations, strict=True)
  ]
  missing = [max(0, wanted - there) for wanted, there in zip(covered, image, strict=True)]
  before = [number // 2 if padding == b'SAME' else 0 for number in missing]
  return Windows(size, strides, dilations, count, before, image)


def no_gradient(operation: Any, what: str) -> LookupError:
  """Returns an error in the words that `tf.gradients` has for an operation without a gradient."""
  return LookupError(f"No gradient defined for operation '{operation.name}' (op type: {operation.type}) {what}")
