"""What a run is and what it has released so far: a part of every checkpoint, and what the ledger is made of."""

from collections.abc import Iterable, Mapping
import dataclasses
import secrets
from typing import Any, NamedTuple

from pipelines import guarantees
from tff_tasks import privacy

_ID_BYTES = 8


class Stretch(NamedTuple):
  """Consecutive rounds with one plan and one secret.

  Attributes:
    run_id: The run that they are of.
    attempt: Counts the secrets of that run, from 0: it has one more for each time that it ran released rounds again.
    first_round: Its first round.
    last_round: Its last round; `first_round - 1` while there is none.
    plan: The privacy plan of the rounds.
  """

  run_id: str
  attempt: int
  first_round: int
  last_round: int
  plan: privacy.PrivacyPlan

  @property
  def rounds(self) -> int:
    return self.last_round - self.first_round + 1


@dataclasses.dataclass(frozen=True)
class History:
  """A run with what it has released.

  Attributes:
    flags: The flags of the run by name, as they stand in a flag file.
    data: The fingerprint of its data.
    total_rounds: Its last round, as planned.
    stretches: All rounds whose models were released or may be by now, in their order: those of the runs that this one
      branched from, those that were run again, and last the one that the next round is of.
  """

  flags: Mapping[str, str]
  data: str
  total_rounds: int
  stretches: tuple[Stretch, ...]

  @property
  def current(self) -> Stretch:
    return self.stretches[-1]

  @property
  def run(self) -> tuple[str, int]:
    """The id of the run, and its attempt."""
    return self.current.run_id, self.current.attempt

  @property
  def parents(self) -> list[str]:
    """The ids of the runs that this one branched from, each once."""
    return [run_id for run_id in dict.fromkeys(stretch.run_id for stretch in self.stretches) if run_id != self.run[0]]

  @property
  def first_round(self) -> int:
    """The first round of this run, those of the runs that it branched from left aside."""
    return next(stretch.first_round for stretch in self.stretches if stretch.run_id == self.run[0])

  @property
  def rounds_in_all(self) -> int:
    """The rounds of all stretches when the run has reached its last round."""
    return sum(stretch.rounds for stretch in self.with_current(last_round=self.total_rounds).stretches)

  def with_current(self, **changes: Any) -> 'History':
    """Returns the history with another value of attributes of the current stretch."""
    return dataclasses.replace(self, stretches=(*self.stretches[:-1], self.current._replace(**changes)))

  def with_lost(self, released_round: int) -> 'History':
    """Returns the history with the rounds after its last one that were released all the same: they count, too."""
    lost = self.current._replace(first_round=self.current.last_round + 1, last_round=released_round)
    return dataclasses.replace(self, stretches=(*self.stretches, lost)) if lost.rounds > 0 else self

  def followed_by(self, new: 'History', round_number: int) -> 'History':
    """Returns the history of `new`, a run that goes on after a round of this one with a secret of its own.

    Args:
      new: What `begin` returned.
      round_number: The round.
    """
    first_round = round_number + 1
    current = new.current._replace(first_round=first_round, last_round=first_round - 1)
    return dataclasses.replace(new, stretches=(*self.stretches, current))

  def to_json(self) -> dict[str, Any]:
    stretches = [{**stretch._asdict(), 'plan': dataclasses.asdict(stretch.plan)} for stretch in self.stretches]
    flags, total_rounds = dict(self.flags), self.total_rounds
    return {'flags': flags, 'data': self.data, 'total_rounds': total_rounds, 'stretches': stretches}

  @classmethod
  def from_json(cls, value: Mapping[str, Any]) -> 'History':
    stretches = [Stretch(**{**stretch, 'plan': _read_plan(stretch['plan'])}) for stretch in value['stretches']]
    return cls(value['flags'], value['data'], value['total_rounds'], tuple(stretches))


def begin(flagfile: str, data: str, total_rounds: int, plan: privacy.PrivacyPlan) -> History:
  """Returns the history of a run before its first round.

  Args:
    flagfile: Its flags, one a line.
    data: The fingerprint of its data.
    total_rounds: Its last round.
    plan: Its privacy plan.
  """
  flags = {line.split('=')[0]: line for line in flagfile.splitlines() if line}
  return History(flags, data, total_rounds, (Stretch(secrets.token_hex(_ID_BYTES), 0, 1, 0, plan),))


def segments(stretches: Iterable[Stretch]) -> list[privacy.Segment]:
  """Returns the rounds of stretches by plan; the last one stands even if it has no round yet."""
  *before, last = stretches
  return [privacy.Segment(stretch.plan, stretch.rounds) for stretch in (*filter(_has_rounds, before), last)]


def _has_rounds(stretch: Stretch) -> bool:
  return stretch.rounds > 0


def _read_plan(value: Mapping[str, Any]) -> privacy.PrivacyPlan:
  return privacy.PrivacyPlan(**{**value, 'learned': guarantees.Cost(*value['learned'])})
