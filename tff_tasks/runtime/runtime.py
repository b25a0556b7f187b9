"""What a runtime is: a way to execute a learning process, which decides its speed and never its numbers."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from tff_tasks import client_data


class RoundResult(NamedTuple):
  """The state after a round (a nested structure of NumPy arrays), and the round's metrics by name."""

  state: Any
  metrics: Any


class Runtime(Protocol):
  """Executes the `initialize` and `next` of one learning process."""

  def initialize(self) -> Any:
    """Returns the state of round 0."""

  def next(self, state: Any, clients: Sequence[client_data.LoadClient]) -> RoundResult:
    """Runs one round on its clients, of which there may be none."""

  def close(self) -> None:
    """Ends whatever the runtime started; it cannot be used afterwards."""
