"""Learning rates by round."""

from typing import Any

import tensorflow as tf


def learning_rate(rate: float, schedule: str, round_index: Any, total_rounds: int) -> Any:
  """Returns the learning rate of a client in a round, a float or a tensor.

  Args:
    rate: Of the first round.
    schedule: One of `config.SCHEDULES`.
    round_index: int32, from 0.
    total_rounds: The length of the run.
  """
  return rate if schedule == 'constant' else rate * linear(round_index, total_rounds)


def linear(round_index: tf.Tensor, total_rounds: int) -> tf.Tensor:
  """Returns the share of the learning rate: 1 in the first half of the rounds, then down to zero in a line.

  Args:
    round_index: int32, from 0.
    total_rounds: The length of the run.
  """
  left = 1 - tf.cast(round_index, tf.float32) / total_rounds
  return tf.minimum(1.0, 2 * left)
