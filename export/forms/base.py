"""What a form is: what a file computes in one call, how its model is built, and how a file of it is driven.

A variant writes the model of one form as a file. The forms share the comparison with Keras (`parity.compare`), which
knows nothing of them.
"""

import abc
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from contracts import released_model
from export import parity

if TYPE_CHECKING:
  import numpy as np

  from export import guard


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
  def build(self, released: released_model.ReleasedModel, task: str, run_dir: str) -> Any:
    """Returns what a variant converts, with the released weights; loads TensorFlow.

    Args:
      released: The released model.
      task: What `released_model.check_task` returned.
      run_dir: The run directory.

    Returns:
      What `Variant.convert` says of this form.

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

  def check_further(
    self, limits: 'guard.Limits', path: str, run_dir: str, task: str | None, examples: parity.Examples
  ) -> Mapping[str, Any]:
    """Checks of a file what its answers do not show; by default there is nothing of that kind.

    Args:
      limits: Of each child process.
      path: The file.
      run_dir: The run directory.
      task: The value of `--task`, if it is given.
      examples: Held-out ones.

    Returns:
      What parity.json says of it.

    Raises:
      guard.Failed: If the file does something else than Keras.
    """
    del limits, path, run_dir, task, examples
    return {}
