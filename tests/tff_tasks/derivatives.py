"""What tests of hand-written backward passes compare."""

from collections.abc import Callable, Sequence

import tensorflow as tf


def outputs_and_gradients(
  outputs_of: Callable[..., tf.Tensor], inputs: tf.Tensor, weights: Sequence[tf.Tensor] = ()
) -> list[tf.Tensor]:
  """Returns the outputs, and the gradients by inputs and weights of a sum that weighs each output differently."""
  with tf.GradientTape() as tape:
    tape.watch([inputs, *weights])
    outputs = outputs_of(inputs)
    shares = tf.cos(tf.cast(tf.range(tf.size(outputs)), tf.float32))
    loss = tf.reduce_sum(outputs * tf.reshape(shares, tf.shape(outputs)))
  return [outputs, *tape.gradient(loss, [inputs, *weights])]
