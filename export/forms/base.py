"""What a form is: what a file computes in one call, how its model is built, and how a file of it is driven.

A variant writes the model of one form as a file. The forms share the comparison with Keras (`parity.compare`), which
knows nothing of them.
"""

import abc
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from contracts import released_model
from export import parity

if TYPE_CHECKING:
  import numpy as np
  import tensorflow as tf


class Form(abc.ABC):
  """One way to call the released model on a device.

  Attributes:
    name: What variants call it by.
    reference: The variant without rounding. Its file shows whether the graph of this form is right: the bounds of the
      others, which allow for rounding, may not show that.
    call: What one call of a file takes, a phrase for the model card.
  """

  name: str
  reference: str
  call: str

  @abc.abstractmethod
  def build(self, released: released_model.ReleasedModel, task: str) -> 'tf.keras.Model':
    """Returns what a variant converts, with the released weights; loads TensorFlow.

    Args:
      released: The released model.
      task: What `released_model.check_task` returned.

    Raises:
      Unsupported: If the model does not have this form.
      ValueError: If the task does not fit the model.
    """

  @abc.abstractmethod
  def answers(self, path: str, features: 'np.ndarray') -> parity.Answers:
    """Runs a file on the device's runtime, as a device does; meant for a guarded child process without TensorFlow.

    Args:
      path: The file.
      features: Of held-out examples, `[n, ...]`.

    Raises:
      ValueError: If the file is none of this form, or answers the same inputs differently when it is asked again.
    """

  @abc.abstractmethod
  def calls(self, interpreter: Any, features: 'np.ndarray') -> Iterator['np.ndarray']:
    """Yields the logits of one call after the other, without end, each made as an app makes it.

    Between two of them there is nothing but the call: setting the inputs, invoking, getting the outputs.

    Args:
      interpreter: Of a file of this form, with its tensors allocated.
      features: Of held-out examples, `[n, ...]`.

    Raises:
      ValueError: If the file is none of this form.
    """
