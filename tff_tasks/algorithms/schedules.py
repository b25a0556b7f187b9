"""Learning rates by round."""

import tensorflow as tf


def linear(round_index: tf.Tensor, total_rounds: int) -> tf.Tensor:
  """Returns the share of the learning rate: 1 in the first half of the rounds, then down to zero in a line.

  Args:
    round_index: int32, from 0.
    total_rounds: The length of the run.
  """
  left = 1 - tf.cast(round_index, tf.float32) / total_rounds
  return tf.minimum(1.0, 2 * left)
