"""Guarded calls without a process: TensorFlow is loaded here. to_tflite_test has those with one."""

from collections.abc import Callable
from typing import Any

from export import guard


class Call(guard.Call):
  """A call that is made when its result is asked for."""

  def __init__(self, limits: guard.Limits, function: Callable[..., Any], *arguments: Any) -> None:
    del limits
    self.function, self.arguments = function, arguments

  def __exit__(self, *_: object) -> None:
    pass

  def result(self) -> Any:
    try:
      return self.function(*self.arguments)
    except ValueError as error:
      raise guard.Refused(str(error)) from error
