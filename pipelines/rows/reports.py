"""What a Beam step says about its work besides its output: counts, files, problems. They add up to the manifest.

Counted in elements rather than in Beam's metrics or logs: every runner carries elements, exactly once.
"""

from collections.abc import Iterable
import dataclasses
from typing import Any

import apache_beam as beam
import pyarrow as pa

READ, USED = 'read', 'used'
# Training clients without examples, who stay in the index; held-out ones are SET_ASIDE.
EMPTY = 'empty'
BOUNDED, QUARANTINED, SET_ASIDE, NOTES = 'bounded', 'quarantined', 'set_aside', 'notes'
# For messages alone: undeclared values of a category, as `column=value`, and what refused values look like.
FOUND = 'found'
# The columns asked for that some row has, and of rows without one of them, other columns: for messages too.
NAMES = 'names'
# Counts that quality.py judges and the manifest does not have.
OBSERVED = 'observed'


@dataclasses.dataclass
class Report:
  """A part of the final accounting.

  Attributes:
    counts: `(kind, reason) -> number`; `READ` and `USED` have no reason (an empty one).
    files: Size and hash of each file written, by name.
    index: Index rows of the shards written.
    problems: What makes the data set impossible, one line each, for the user.
  """

  counts: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)
  files: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
  index: list[pa.Table] = dataclasses.field(default_factory=list)
  problems: list[str] = dataclasses.field(default_factory=list)

  def count(self, kind: str, reason: str = '', number: int = 1) -> None:
    if number:
      self.counts[kind, reason] = self.counts.get((kind, reason), 0) + number

  def add(self, other: 'Report') -> None:
    for (kind, reason), number in other.counts.items():
      self.count(kind, reason, number)
    self.files |= other.files
    self.index += other.index
    self.problems += other.problems

  def total(self, kind: str) -> int:
    return sum(self.reasons(kind).values())

  def to_json(self) -> dict[str, Any]:
    """Returns counts and problems as JSON-ready values, the inverse of `from_json`."""
    counts = [[kind, reason, number] for (kind, reason), number in sorted(self.counts.items())]
    return {'counts': counts, 'problems': sorted(self.problems)}

  @classmethod
  def from_json(cls, value: dict[str, Any]) -> 'Report':
    return cls({(kind, reason): number for kind, reason, number in value['counts']}, problems=value['problems'])

  def reasons(self, kind: str) -> dict[str, int]:
    return {reason: number for (found, reason), number in sorted(self.counts.items()) if found == kind}


class MergeReports(beam.CombineFn):
  """Adds reports up."""

  def create_accumulator(self) -> Report:
    return Report()

  def add_input(self, mutable_accumulator: Report, element: Report) -> Report:
    mutable_accumulator.add(element)
    return mutable_accumulator

  def merge_accumulators(self, accumulators: Iterable[Report]) -> Report:
    merged = Report()
    for accumulator in accumulators:
      merged.add(accumulator)
    return merged

  def extract_output(self, accumulator: Report) -> Report:
    return accumulator
