"""What costs privacy and has no class in dp_accounting."""

import dataclasses

import dp_accounting


@dataclasses.dataclass(frozen=True)
class KnownCohortDpEvent(dp_accounting.DpEvent):
  """A round that has the client with a probability, where the observer knows whether it does.

  It costs `event` if it has the client, and nothing if it does not: a mixture, in which the probability is not secret.

  Attributes:
    probability: That the round has the client.
    event: What it costs then.
  """

  probability: float
  event: dp_accounting.DpEvent
