"""What a run is and what it has released so far: a part of every checkpoint, and what the ledger is made of."""

from collections.abc import Mapping
import dataclasses
import secrets
from typing import Any

from contracts import guarantees
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.privacy import segments as segments_lib

_ID_BYTES = 8
_OPTIONS = ('sampling_options', 'mechanism_options', 'compression_options')


@dataclasses.dataclass(frozen=True)
class History:
  """A run with what it has released.

  Attributes:
    flags: The flags of the run by name, as they stand in a flag file.
    data: The fingerprint of its data.
    total_rounds: Its last round, as planned.
    segments: All rounds whose models were released or may be by now, in their order: those of the runs that this one
      branched from, those that were run again, and last the one that the next round is of.
  """

  flags: Mapping[str, str]
  data: str
  total_rounds: int
  segments: tuple[segments_lib.Segment, ...]

  @property
  def current(self) -> segments_lib.Segment:
    return self.segments[-1]

  @property
  def accounted(self) -> tuple[segments_lib.Segment, ...]:
    """The segments that have rounds, and the current one even without."""
    return (*(segment for segment in self.segments[:-1] if segment.rounds), self.current)

  @property
  def run(self) -> tuple[str, int]:
    """The id of the run, and its attempt."""
    return self.current.run_id, self.current.attempt

  @property
  def parents(self) -> list[str]:
    """The ids of the runs that this one branched from, each once."""
    return [run_id for run_id in dict.fromkeys(segment.run_id for segment in self.segments) if run_id != self.run[0]]

  @property
  def first_round(self) -> int:
    """The first round of this run itself, after those of the runs that it branched from."""
    return next(segment.first_round for segment in self.segments if segment.run_id == self.run[0])

  @property
  def rounds_in_all(self) -> int:
    """The rounds of all segments when the run has reached its last round."""
    return sum(segment.rounds for segment in self.after(self.total_rounds).segments)

  def with_current(self, **changes: Any) -> 'History':
    """Returns the history with another value of attributes of the current segment."""
    return dataclasses.replace(self, segments=(*self.segments[:-1], self.current._replace(**changes)))

  def after(self, round_number: int) -> 'History':
    """Returns the history when a round of the current segment is finished."""
    return self.with_current(rounds=round_number - self.current.first_round + 1)

  def with_lost(self, released_round: int) -> 'History':
    """Returns the history with the rounds after its last one that were released all the same: they count, too."""
    last_round = self.current.last_round
    lost = self.current._replace(first_round=last_round + 1, rounds=released_round - last_round)
    return dataclasses.replace(self, segments=(*self.segments, lost)) if lost.rounds > 0 else self

  def followed_by(self, new: 'History', round_number: int) -> 'History':
    """Returns the history of `new`, a run that goes on after a round of this one with a secret of its own.

    Args:
      new: What `begin` returned.
      round_number: The round.
    """
    current = new.current._replace(first_round=round_number + 1, rounds=0)
    return dataclasses.replace(new, segments=(*self.segments, current))

  def to_json(self) -> dict[str, Any]:
    segments = [{**segment._asdict(), 'plan': dataclasses.asdict(segment.plan)} for segment in self.segments]
    flags, total_rounds = dict(self.flags), self.total_rounds
    return {'flags': flags, 'data': self.data, 'total_rounds': total_rounds, 'segments': segments}

  @classmethod
  def from_json(cls, value: Mapping[str, Any]) -> 'History':
    segments = [
      segments_lib.Segment(**{**segment, 'plan': _read_plan(segment['plan'])}) for segment in value['segments']
    ]
    return cls(value['flags'], value['data'], value['total_rounds'], tuple(segments))


def begin(flagfile: str, data: str, total_rounds: int, plan: plan_lib.PrivacyPlan) -> History:
  """Returns the history of a run before its first round.

  Args:
    flagfile: Its flags, one a line.
    data: The fingerprint of its data.
    total_rounds: Its last round.
    plan: Its privacy plan.
  """
  flags = {line.split('=')[0]: line for line in flagfile.splitlines() if line}
  return History(flags, data, total_rounds, (segments_lib.Segment(plan, 0, secrets.token_hex(_ID_BYTES)),))


def _read_plan(value: Mapping[str, Any]) -> plan_lib.PrivacyPlan:
  """Returns a plan. One that an earlier version wrote has fewer fields: what it ran with are the defaults."""
  lists = {name: tuple(value.get(name, ())) for name in _OPTIONS}
  return plan_lib.PrivacyPlan(**{**value, 'learned': guarantees.Cost(*value['learned']), **lists})
