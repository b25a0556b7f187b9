"""Gradients made of operations that every device runtime has, where TensorFlow's own need kernels of TensorFlow (Flex).

An operation has its gradient by its type, whichever layer made it.
"""

from collections.abc import Callable, Iterator
import contextlib
from typing import Any

import numpy as np
import tensorflow as tf

from export.on_device import windows as windows_lib

# Of an operation and the gradient by each of its outputs, the gradients by its inputs.
_Gradient = Callable[..., Any]
_PREFIX = 'BuiltIn'
_names: dict[str, str] = {}


@contextlib.contextmanager
def built_in() -> Iterator[None]:
  """Gives operations that the graph gets meanwhile these gradients. `tf.gradients` uses them, a tape does not."""
  with tf.compat.v1.get_default_graph().gradient_override_map(_names):
    yield


def _of(operation: str) -> Callable[[_Gradient], _Gradient]:
  """Registers the gradient of a type of operation."""

  def register(gradient: _Gradient) -> _Gradient:
    _names[operation] = _PREFIX + operation
    tf.RegisterGradient(_PREFIX + operation)(gradient)
    return gradient

  return register


@_of('Relu')
def _relu(operation: Any, by_output: tf.Tensor) -> tf.Tensor:
  return by_output * _numbers(operation.outputs[0] > 0)


@_of('Relu6')
def _relu6(operation: Any, by_output: tf.Tensor) -> tf.Tensor:
  output = operation.outputs[0]
  return by_output * _numbers((output > 0) & (output < 6))


@_of('LeakyRelu')
def _leaky_relu(operation: Any, by_output: tf.Tensor) -> tf.Tensor:
  return tf.where(operation.inputs[0] > 0, by_output, operation.get_attr('alpha') * by_output)


@_of('Elu')
def _elu(operation: Any, by_output: tf.Tensor) -> tf.Tensor:
  output = operation.outputs[0]
  return tf.where(output < 0, by_output * (output + 1), by_output)


@_of('Sqrt')
def _sqrt(operation: Any, by_output: tf.Tensor) -> tf.Tensor:
  return 0.5 * by_output / operation.outputs[0]


@_of('Rsqrt')
def _rsqrt(operation: Any, by_output: tf.Tensor) -> tf.Tensor:
  output = operation.outputs[0]
  return -0.5 * by_output * output * output * output


@_of('FusedBatchNormV3')
def _normalize(operation: Any, by_output: tf.Tensor, *others: Any) -> tuple[tf.Tensor | None, ...]:
  """As LayerNormalization uses it: over the examples' own mean and variance."""
  del others
  images, scale = operation.inputs[:2]
  if not operation.get_attr('is_training'):
    raise windows_lib.no_gradient(operation, 'with given mean and variance')
  channels_last = operation.get_attr('data_format') in (b'NHWC', 'NHWC')
  axes, shape = ([0, 1, 2], [1, 1, 1, -1]) if channels_last else ([0, 2, 3], [1, -1, 1, 1])
  mean = tf.reduce_mean(images, axes, keepdims=True)
  centered = images - mean
  variance = tf.reduce_mean(centered * centered, axes, keepdims=True)
  inverse = 1 / tf.sqrt(variance + operation.get_attr('epsilon'))
  normal = centered * inverse
  by_scale, by_offset = tf.reduce_sum(by_output * normal, axes), tf.reduce_sum(by_output, axes)
  by_normal = by_output * tf.reshape(scale, shape)
  shared = tf.reduce_mean(by_normal, axes, keepdims=True)
  shared += normal * tf.reduce_mean(by_normal * normal, axes, keepdims=True)
  return inverse * (by_normal - shared), by_scale, by_offset, None, None


@_of('StridedSlice')
def _slice(operation: Any, by_output: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
  """Of a part without gaps: the rest gets zeros."""
  values, *ends = operation.inputs
  starts, stops, strides = (tf.get_static_value(each) for each in ends)
  masks = {name: operation.get_attr(f'{name}_mask') for name in ('begin', 'end', 'ellipsis', 'new_axis', 'shrink_axis')}
  if (
    starts is None or stops is None or strides is None or (strides != 1).any() or masks['ellipsis'] or masks['new_axis']
  ):
    raise windows_lib.no_gradient(operation, 'with gaps or a new axis')
  paddings = []
  for axis, size in enumerate(values.shape):
    if masks['shrink_axis'] >> axis & 1:
      start = int(starts[axis]) % size
      paddings.append([start, size - start - 1])
      continue
    bounds = (
      int(bound[axis]) if axis < len(bound) and not masks[name] >> axis & 1 else None
      for name, bound in (('begin', starts), ('end', stops))
    )
    start, stop, _ = slice(*bounds).indices(size)
    paddings.append([start, size - max(start, stop)])
  shape = [size - sum(padding) for size, padding in zip(values.shape, paddings, strict=True)]
  return tf.pad(tf.reshape(by_output, shape), paddings), None, None, None


@_of('Conv2D')
def _convolve(operation: Any, by_output: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  images, kernel = operation.inputs
  *size, channels, filters = kernel.shape
  if channels != images.shape[-1]:
    raise windows_lib.no_gradient(operation, 'in groups')
  windows = windows_lib.of(operation, size)
  rows = tf.reshape(by_output, [-1, filters])
  patches = tf.reshape(tf.concat(windows.cut(images), -1), [rows.shape[0], -1])
  by_kernel = tf.reshape(tf.matmul(patches, rows, transpose_a=True), kernel.shape)
  if max(windows.dilation) > 1:
    by_patches = tf.matmul(rows, tf.reshape(kernel, [-1, filters]), transpose_b=True)
    by_windows = tf.split(tf.reshape(by_patches, [*by_output.shape[:3], -1]), size[0] * size[1], axis=-1)
    return windows.add(by_windows), by_kernel
  by_images = tf.raw_ops.Conv2DBackpropInput(
    input_sizes=images.shape,
    filter=kernel,
    out_backprop=by_output,
    strides=operation.get_attr('strides'),
    padding=operation.get_attr('padding').decode(),
  )
  return by_images, by_kernel


@_of('DepthwiseConv2dNative')
def _convolve_depthwise(operation: Any, by_output: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  images, kernel = operation.inputs
  *size, channels, multiplier = kernel.shape
  windows = windows_lib.of(operation, size)
  by_output = tf.reshape(by_output, [*by_output.shape[:3], channels, multiplier])
  of_position = tf.unstack(tf.reshape(kernel, [-1, channels, multiplier]))
  by_windows = [tf.reduce_sum(by_output * one, axis=-1) for one in of_position]
  by_kernel = [tf.reduce_sum(one[..., tf.newaxis] * by_output, axis=[0, 1, 2]) for one in windows.cut(images)]
  return windows.add(by_windows), tf.reshape(tf.stack(by_kernel), kernel.shape)


@_of('MaxPool')
def _max_pool(operation: Any, by_output: tf.Tensor) -> tf.Tensor:
  """The first of the largest numbers of a window takes the gradient."""
  windows = windows_lib.of(operation, operation.get_attr('ksize')[1:3])
  largest, parts = operation.outputs[0], []
  for values in windows.cut(operation.inputs[0], float(np.finfo(np.float32).min)):
    part = by_output * _numbers(values >= largest)
    parts.append(part)
    by_output -= part
  return windows.add(parts)


@_of('AvgPool')
def _average_pool(operation: Any, by_output: tf.Tensor) -> tf.Tensor:
  windows = windows_lib.of(operation, operation.get_attr('ksize')[1:3])
  is_inside = windows.cut(tf.ones([1, *windows.image, 1]))
  share = by_output / tf.add_n(is_inside)
  return windows.add([share] * len(is_inside))


def _numbers(condition: tf.Tensor) -> tf.Tensor:
  return tf.cast(condition, tf.float32)
