"""Max pooling of images with a backward pass written by hand.

TensorFlow's own looks through each window once more, one number after the other, unless oneDNN sees it beside the
forward pass, which it does not within a loop: a quarter of the time of a convolutional network. Here it is arithmetic
of whole rows.
"""

from collections.abc import Callable

import tensorflow as tf


@tf.custom_gradient
def max_pool(images: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
  """Returns the largest of every two by two numbers, which alone takes the gradient: the first of them if several are.

  Args:
    images: `[batch, height, width, channels]`, of which the batch alone may be unknown and height and width are even.

  Returns:
    `[batch, height / 2, width / 2, channels]`.
  """
  _, height, width, channels = images.shape
  # A row of windows is a row: fewer axes are faster.
  windows = tf.reshape(images, [-1, 2, width // 2, 2, channels])
  upper_left, upper_right, lower_left, lower_right = (windows[:, row, :, column] for row in (0, 1) for column in (0, 1))
  upper, lower = tf.maximum(upper_left, upper_right), tf.maximum(lower_left, lower_right)

  def gradient(by_pooled: tf.Tensor) -> tf.Tensor:
    rows = tf.reshape(by_pooled, [-1, width // 2, channels])
    to_upper, to_lower = _share(upper >= lower, rows)
    pairs = [_share(upper_left >= upper_right, to_upper), _share(lower_left >= lower_right, to_lower)]
    return tf.reshape(tf.stack([tf.stack(pair, axis=2) for pair in pairs], axis=1), [-1, height, width, channels])

  return tf.reshape(tf.maximum(upper, lower), [-1, height // 2, width // 2, channels]), gradient


def _share(is_first: tf.Tensor, gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns what of a gradient goes to the first of two, and the rest."""
  first = tf.where(is_first, gradient, 0.0)
  return first, gradient - first


def run_layers(model: tf.keras.Model) -> None:
  """Makes the layers of a model that `max_pool` can run be run by it, nested ones too; others stay as they are."""
  for layer in model.submodules:
    if _is_two_by_two(layer):
      layer.call = _build_call(layer)


def _is_two_by_two(layer: tf.Module) -> bool:
  return (
    type(layer) is tf.keras.layers.MaxPooling2D
    and (layer.pool_size, layer.strides) == ((2, 2), (2, 2))
    and (layer.padding, layer.data_format) == ('valid', 'channels_last')
  )


def _build_call(layer: tf.keras.layers.MaxPooling2D) -> Callable[[tf.Tensor], tf.Tensor]:
  run_by_keras = layer.call

  @tf.autograph.experimental.do_not_convert
  def call(images: tf.Tensor) -> tf.Tensor:
    _, *size = images.shape
    if None in size:
      return run_by_keras(images)
    height, width, _ = size
    if height % 2 or width % 2:
      images = images[:, : height // 2 * 2, : width // 2 * 2]
    return max_pool(images)

  return call
