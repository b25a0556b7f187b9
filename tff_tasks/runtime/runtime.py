"""What a runtime is: a way to execute a learning process, which decides its speed and never its numbers."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from tff_tasks.population import client_data


class RoundResult(NamedTuple):
  """What a round gives.

  Attributes:
    state: The state after it: a nested structure of NumPy arrays.
    metrics: Its metrics by name.
    left_out: The clients that could not take part: their data cannot be read or their update is not finite.
  """

  state: Any
  metrics: Any
  left_out: Sequence[client_data.ClientError] = ()


# Why a client is skipped although its data can be read.
NOT_FINITE = (
  'Expected a finite update, found NaN or infinity: look at its examples, or train in a new --output_dir with a '
  'lower --client_learning_rate.'
)


class Runtime(Protocol):
  """Executes the `initialize` and `next` of one learning process.

  Attributes:
    use_xla: Whether XLA compiles the client's work; None if that is not known yet, or not for us to say.
    choice: How that was chosen, for people to read, or what else to know of the runtime; empty before it was chosen, or
      if it was given.
  """

  use_xla: bool | None
  choice: str

  def initialize(self) -> Any:
    """Returns the state of round 0."""

  def next(self, state: Any, cohort: client_data.Cohort, upcoming: client_data.Cohort | None = None) -> RoundResult:
    """Runs one round on its cohort, which may be empty.

    Args:
      state: The state before it.
      cohort: Who takes part.
      upcoming: Who takes part in the next round, and can be read meanwhile.
    """

  def close(self) -> None:
    """Ends whatever the runtime started; it cannot be used afterwards."""
