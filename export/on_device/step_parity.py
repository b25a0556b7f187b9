"""Compares steps of a training file with those of Keras: plain SGD on batches of held-out examples of many clients.

Keras computes in the form of training, with its own gradients, so an error of the hand-made ones is found, too.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from contracts import personalization
from contracts import released_model
from export import guard
from export import parity
from export.on_device import training_file
from export.on_device import training_settings
from export.on_device import weights as weights_lib

# More steps may meet a tie of activations, after which two trainings part that differ by 1e-7.
_STEPS = 3
# Of the largest change of a weight: both round the same sums in another order, which showed as less than 1e-5. A
# gradient that is wrong in one place shows as more than 1e-2.
_MAX_SHARE = 1e-3
# Where no weight moves, all that is left is rounding.
_LEAST_CHANGE = 1e-3
# Of a loss, and of the largest logit: both are sums in another order.
_MAX_LOSS_SHARE = 1e-4
_MAX_LOGIT_SHARE = 1e-3
_LEAST = 1e-6
# So many examples are answered with the weights after the last step.
_ANSWERED = 8


class Steps(NamedTuple):
  """What some steps give.

  Attributes:
    losses: Of each batch before its step.
    weights: After the last step.
    before: Before the first.
    logits: Of some examples, with the weights after the last step.
  """

  losses: list[float]
  weights: list[np.ndarray]
  before: list[np.ndarray]
  logits: np.ndarray


def compare(
  limits: guard.Limits, path: str, run_dir: str, task: str | None, examples: parity.Examples
) -> dict[str, Any]:
  """Runs some steps with Keras and with a file, each in a guarded child process, and compares what they give.

  Args:
    limits: Of each process.
    path: The file.
    run_dir: The run directory.
    task: The value of `--task`, if it is given.
    examples: Held-out ones.

  Returns:
    What parity.json says of it.

  Raises:
    guard.Failed: If they differ by more than rounding, or cannot be run.
  """
  tuning = training_settings.read(run_dir)
  examples = cut(examples, tuning)
  with guard.Call(limits, keras_steps, run_dir, task, tuning, examples) as keras:
    found: Steps = guard.call(limits, file_steps, path, tuning, examples)
    expected: Steps = keras.result()
  difference = weights_lib.difference(found.weights, expected.weights)
  change = max(weights_lib.difference(expected.weights, expected.before), _LEAST_CHANGE)
  steps = len(expected.losses)
  _require_close('weights', steps, difference, _MAX_SHARE * change, 'a layer has another gradient on the device')
  loss = weights_lib.difference([np.array(found.losses)], [np.array(expected.losses)])
  _require_close(
    'losses', steps, loss, max(_MAX_LOSS_SHARE * max(expected.losses), _LEAST), 'the loss is another one on the device'
  )
  logits = weights_lib.difference([found.logits], [expected.logits])
  largest = float(np.abs(expected.logits).max(initial=0))
  _require_close(
    'logits of infer', steps, logits, max(_MAX_LOGIT_SHARE * largest, _LEAST), 'infer has not the trained weights'
  )
  # One digit of a share: the sizes of the steps would say something about the few people on whose examples they were.
  return {'steps': steps, 'relative_weight_difference': float(f'{difference / change:.0e}')}


def keras_steps(run_dir: str, task: str | None, tuning: personalization.FineTuning, examples: parity.Examples) -> Steps:
  """Takes steps of Keras' SGD from the released weights; meant for a guarded child process."""
  import tensorflow as tf

  from models import registry
  from models import task as task_lib

  released = released_model.load(run_dir)
  keras = registry.rebuild(released, name=released_model.check_task(released, task, run_dir))
  layers = [keras.get_layer(name) for name in tuning.local_layers] or [keras]
  variables = [variable for layer in layers for variable in layer.trainable_variables]
  optimizer = tf.keras.optimizers.SGD(tuning.learning_rate)
  before, losses = keras.get_weights(), []
  for features, labels in batches(examples, tuning.batch_size):
    with tf.GradientTape() as tape:
      logits = keras(tf.cast(features, keras.input.dtype), training=True)
      sums = task_lib.sums(tf.cast(labels, tf.int32), logits, released.schema.first_answer)
      loss = tf.math.divide_no_nan(tf.reduce_sum(sums.loss), tf.reduce_sum(sums.count))
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    losses.append(float(loss))
  answered = tf.cast(examples.features[:_ANSWERED], keras.input.dtype)
  return Steps(losses, keras.get_weights(), before, np.asarray(keras(answered, training=False)))


def file_steps(path: str, tuning: personalization.FineTuning, examples: parity.Examples) -> Steps:
  """Takes steps of a file on the device's runtime; meant for a guarded child process without TensorFlow.

  Raises:
    ValueError: If a call has not the effect that its name says.
  """
  file = training_file.TrainingFile.open(path)
  before = file.get_weights()

  def take() -> tuple[list[float], list[np.ndarray]]:
    losses = [file.train(*batch, tuning.learning_rate) for batch in batches(examples, tuning.batch_size)]
    return losses, file.get_weights()

  losses, trained = take()
  file.reset()
  _require_same('reset', 'the released weights', file.get_weights(), before)
  _require_same('train', 'the same weights after the same steps', take()[1], trained)
  file.reset()  # So that the weights in the runtime are others than those that are given next.
  file.set_weights(trained)
  _require_same('set_weights', 'the weights that were given', file.get_weights(), trained)
  return Steps(losses, trained, before, file.infer(examples.features[:_ANSWERED]))


def cut(examples: parity.Examples, tuning: personalization.FineTuning) -> parity.Examples:
  """Returns those of a few batches, of which the last is not full: what fills it up must not count.

  They are at even steps through all, which are sorted by client: no step is on the examples of one client alone.
  """
  count, total = _STEPS * tuning.batch_size - tuning.batch_size // 2, len(examples.labels)
  rows = np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)
  return parity.Examples(*(array[rows] for array in examples))


def batches(examples: parity.Examples, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields the batches of examples in their order: features and labels."""
  for rows in training_file.cut(np.arange(len(examples.labels)), size):
    yield examples.features[rows], examples.labels[rows]


def _require_same(signature: str, expected: str, found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> None:
  if not all(np.array_equal(one, other, equal_nan=True) for one, other in zip(found, wanted, strict=True)):
    raise ValueError(
      f'Expected {expected} from {signature}, found others: the file is no training file of this program'
    )


def _require_close(what: str, steps: int, difference: float, allowed: float, reason: str) -> None:
  if not difference <= allowed:  # NaN compares false with everything.
    raise guard.Failed(
      f'Expected {what} within {allowed:.2g} of those of Keras after {steps} steps, found {difference:.2g} away: '
      f'{reason}; list no train in --variants'
    )
