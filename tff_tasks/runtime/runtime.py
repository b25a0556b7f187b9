"""What a runtime is: a way to execute a learning process, which decides its speed and never its numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tff_tasks.population import client_data
from tff_tasks.population import client_report


class RoundResult(NamedTuple):
  """What a round gives.

  Attributes:
    state: The state after it: a nested structure of NumPy arrays.
    metrics: Its metrics by name.
    skipped: The clients that could not take part: their data cannot be read or their update is not finite.
    report: What became of the update of each client whose data could be read, ordered by client.
    memory: What the accepted clients keep for their next round; None if the algorithm has nothing of that kind.
  """

  state: Any
  metrics: Any
  skipped: Sequence[client_data.ClientError] = ()
  report: client_report.ClientReport | None = None
  memory: client_report.ClientMemory | None = None


# Why a client is skipped although its data can be read.
NOT_FINITE = (
  'Expected a finite update, found NaN or infinity: look at its examples, or train in a new --output_dir with a '
  'lower --client_learning_rate.'
)


def finish_round(state: Any, metrics: Any, unreadable: Sequence[client_data.ClientError]) -> RoundResult:
  """Returns what a round gives, with the reports that its metrics hold.

  Args:
    state: The state after it.
    metrics: Its metrics, with a `ClientReport` and perhaps a `ClientMemory` somewhere in them.
    unreadable: The clients whose data could not be read.

  Raises:
    ValueError: If there is no report.
  """
  report = client_report.find(metrics, client_report.ClientReport)
  memory = client_report.find(metrics, client_report.ClientMemory)
  if report is None:
    raise ValueError('Expected an aggregator that gathers a ClientReport in its measurements, found none.')
  rejected = [client_data.ClientError(int(client), NOT_FINITE) for client in report.index[~report.accepted]]
  if memory is not None:
    accepted = np.isin(memory.index, report.index[report.accepted])
    memory = client_report.ClientMemory(*(column[accepted] for column in memory))
  return RoundResult(state, metrics, [*unreadable, *rejected], report, memory)


class Runtime(Protocol):
  """Executes the `initialize` and `next` of one learning process.

  Attributes:
    settled: What a run that goes on must give to the runtime again, or its last bits differ: whatever `json` writes.
      Only the runtime knows what it means. May grow in the first rounds.
    choice: How that was chosen, for people to read, or what else to know of the runtime; empty before it was chosen, or
      if it was given.
  """

  @property
  def choice(self) -> str: ...

  @property
  def settled(self) -> Mapping[str, Any]: ...

  def initialize(self) -> Any:
    """Returns the state of round 0."""

  def prepare(self, state: Any, cohort: client_data.Cohort) -> None:
    """Begins what the first round needs, and returns: the initial model is measured meanwhile. May do nothing.

    Args:
      state: The state of round 0.
      cohort: Who takes part in round 1.
    """

  def next(self, state: Any, cohort: client_data.Cohort, upcoming: client_data.Cohort | None = None) -> RoundResult:
    """Runs one round on its cohort, which may be empty.

    Args:
      state: The state before it.
      cohort: Who takes part.
      upcoming: Who takes part in the next round, and can be read meanwhile.
    """

  def close(self) -> None:
    """Ends whatever the runtime started; it cannot be used afterwards."""
