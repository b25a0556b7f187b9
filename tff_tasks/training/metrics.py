"""A run's figures, one row a round: metrics.csv for everyone, TensorBoard for who has it open."""

import array
from collections.abc import Iterable, Iterator, Sequence
import contextlib
import csv
import dataclasses
import io
import math
import os
from typing import Any

import numpy as np

from common import files
from contracts import run_directory
from tff_tasks.population import capabilities as capabilities_lib
from tff_tasks.runtime import runtime as runtime_lib
from tff_tasks.training import tensorboard_writer


@dataclasses.dataclass(slots=True)
class RoundMetrics:
  """What is known of a round; None where it was not measured, as in round 0, which is the initial model.

  Attributes:
    round: From 1; 0 is the initial model.
    clients: How many took part.
    loss: Of the cohort while it trained, nats a label.
    accuracy: Of the cohort while it trained.
    eval_loss: On held-out users: those of the validation split, or of the test split if there is none.
    eval_accuracy: On held-out users, over their labels.
    eval_accuracy_per_user: On held-out users, the mean over users.
    epsilon: Spent so far, what the data set has cost included; of rounds that were evaluated or saved, since working it
      out takes longer than many a round.
    update_norm_mean: L2 norm of the updates before clipping; of what FedNova sends, which is the update per step.
    update_norm_max: The largest of them.
    clipped_share: Share of the cohort whose update was clipped.
    skipped_clients: Clients of the cohort that took no part, because their data could not be used or their update was
      not finite.
    bytes_up_per_client: Bytes of one encoded update.
    bytes_down_per_client: Bytes of the model.
    seconds: Wall time, evaluation included.
    eval_before_reconstruction: Of a model with local layers: the mean over held-out users of each one's accuracy on one
      half of the examples, local layers at their initial weights.
    eval_after_reconstruction: The same after they are reconstructed on the other half.
    eval_worst_decile_before_reconstruction: The mean of the tenth of the users with the lowest accuracy.
    eval_worst_decile_after_reconstruction: The same after; perhaps other users.
    clients_by_class: How many of each capability class took part, if there are classes; columns `clients_NAME`.
  """

  round: int
  clients: int | None = None
  loss: float | None = None
  accuracy: float | None = None
  eval_loss: float | None = None
  eval_accuracy: float | None = None
  eval_accuracy_per_user: float | None = None
  epsilon: float | None = None
  update_norm_mean: float | None = None
  update_norm_max: float | None = None
  clipped_share: float | None = None
  skipped_clients: int | None = None
  bytes_up_per_client: int | None = None
  bytes_down_per_client: int | None = None
  seconds: float | None = None
  eval_before_reconstruction: float | None = None
  eval_after_reconstruction: float | None = None
  eval_worst_decile_before_reconstruction: float | None = None
  eval_worst_decile_after_reconstruction: float | None = None
  clients_by_class: dict[str, int] = dataclasses.field(default_factory=dict)


# Columns of runs with local layers alone.
RECONSTRUCTION = (
  'eval_before_reconstruction',
  'eval_after_reconstruction',
  'eval_worst_decile_before_reconstruction',
  'eval_worst_decile_after_reconstruction',
)
_FIGURES = [field.name for field in dataclasses.fields(RoundMetrics) if field.name != 'clients_by_class']
_COLUMNS = [name for name in _FIGURES if name not in RECONSTRUCTION]
_MOST_DIGITS = 10  # Of a round's number.
_WHOLE_NUMBERS = {'round', 'clients', 'skipped_clients', 'bytes_up_per_client', 'bytes_down_per_client'}


def of_round(
  round_number: int,
  result: runtime_lib.RoundResult,
  clip_norm: float | None,
  capabilities: capabilities_lib.Capabilities | None = None,
) -> RoundMetrics:
  """Returns what the clients of a round have measured.

  Args:
    round_number: The round.
    result: What the round gave.
    clip_norm: L2 bound of an update, or None.
    capabilities: The class of each client, or None.
  """
  row = RoundMetrics(round=round_number, skipped_clients=len(result.skipped))
  if result.report is not None:
    row.clients = int(result.report.accepted.sum())
    if capabilities:
      row.clients_by_class = capabilities.count(result.report.index[result.report.accepted])
    norms = result.report.norm[result.report.accepted]
    norms = norms[~np.isnan(norms)]  # Which a process of TFF's own does not tell.
    if len(norms):
      row.update_norm_mean, row.update_norm_max = float(norms.mean(dtype=float)), float(norms.max())
      row.clipped_share = float(np.mean(norms > (math.inf if clip_norm is None else clip_norm)))
  sums = result.metrics.get('client_work', {}).get('sums')
  if sums:
    row.loss, row.accuracy = (_ratio(sums[name], sums['count']) for name in ('loss', 'correct'))
  return row


def _ratio(value: Any, total: Any) -> float | None:
  return float(value) / float(total) if total else None


class Rows:
  """The rows of a run, eight bytes a figure: a long run has many.

  Attributes:
    classes: The capability classes that have a column each.
    is_reconstructed: Whether there are the columns `RECONSTRUCTION`.

  Args:
    rows: To begin with.
    classes: As above.
    is_reconstructed: As above.
  """

  def __init__(
    self, rows: Iterable[RoundMetrics] = (), classes: Sequence[str] = (), is_reconstructed: bool = False
  ) -> None:
    self.classes, self.is_reconstructed = list(classes), is_reconstructed
    self._columns = [*_COLUMNS, *RECONSTRUCTION] if is_reconstructed else _COLUMNS
    self._width = len(self._columns) + len(self.classes)
    self._cells = array.array('d')
    for row in rows:
      self.append(row)

  @classmethod
  def from_array(cls, cells: np.ndarray, classes: Sequence[str] = (), is_reconstructed: bool = False) -> 'Rows':
    """Returns the rows of these columns that `to_array` was called on."""
    rows = cls((), classes, is_reconstructed)
    rows._cells.frombytes(np.ascontiguousarray(cells, np.float64).tobytes())
    return rows

  def to_array(self) -> np.ndarray:
    """Returns float64 `[rounds, columns]`, NaN where a round did not measure."""
    return np.array(self._cells).reshape(-1, self._width)

  def append(self, row: RoundMetrics) -> None:
    values = self._values(row)
    self._cells.extend(math.nan if value is None else float(value) for value in values)

  def with_added(self, rows: Iterable[RoundMetrics]) -> 'Rows':
    """Returns a copy with further rows."""
    copy = Rows((), self.classes, self.is_reconstructed)
    copy._cells = self._cells[:]
    for row in rows:
      copy.append(row)
    return copy

  def with_columns(self, classes: Sequence[str], is_reconstructed: bool) -> 'Rows':
    """Returns the rows with columns of these capability classes, and with or without `RECONSTRUCTION`."""
    is_same = (list(classes), is_reconstructed) == (self.classes, self.is_reconstructed)
    return self if is_same else Rows(self, classes, is_reconstructed)

  def __len__(self) -> int:
    return len(self._cells) // self._width

  def __iter__(self) -> Iterator[RoundMetrics]:
    for start in range(0, len(self._cells), self._width):
      cells = self._cells[start : start + self._width]
      counts = zip(self.classes, cells[len(self._columns) :], strict=True)
      yield RoundMetrics(
        **{name: _figure(name, cell) for name, cell in zip(self._columns, cells, strict=False)},
        clients_by_class={name: int(count) for name, count in counts if not math.isnan(count)},
      )

  def to_csv(self) -> str:
    """Returns what metrics.csv holds."""
    return _to_csv([*self._columns, *map(_class_column, self.classes)]) + ''.join(map(self.to_csv_row, self))

  def to_csv_row(self, row: RoundMetrics) -> str:
    """Returns the line of a row."""
    return _to_csv(['' if value is None or math.isnan(value) else repr(value) for value in self._values(row)])

  def _values(self, row: RoundMetrics) -> list[Any]:
    counts = (row.clients_by_class.get(name) for name in self.classes)
    return [*(getattr(row, name) for name in self._columns), *counts]


def _figure(name: str, cell: float) -> Any:
  if math.isnan(cell):
    return None
  return int(cell) if name in _WHOLE_NUMBERS else cell


class MetricsLog:
  """Writes the rows of a run where others read them.

  Only rows of rounds that a checkpoint holds belong here: such a round is never run again with the same noise.

  Args:
    run_dir: Where metrics.csv and TensorBoard's events are; what they held is replaced.
    rows: The rows that the run begins with; those that are added are appended to them.
  """

  def __init__(self, run_dir: str, rows: Rows) -> None:
    self.rows = rows
    run_directory.make(run_dir)
    path = os.path.join(run_dir, run_directory.METRICS)
    files.write_atomically(path, rows.to_csv())
    self._file = open(path, 'a', encoding='utf-8')  # noqa: SIM115
    self._events = tensorboard_writer.EventFile(os.path.join(run_dir, run_directory.EVENTS))
    for row in rows:
      self._events.add(row.round, _figures(row))

  def add(self, rows: Iterable[RoundMetrics]) -> None:
    """Adds the rows of finished rounds."""
    for row in rows:
      self.rows.append(row)
      self._file.write(self.rows.to_csv_row(row))
      self._events.add(row.round, _figures(row))
    self._file.flush()

  def close(self) -> None:
    """Writes out what is still buffered."""
    self._file.close()
    self._events.close()


def last_round(run_dir: str, planned: int) -> int:
  """Returns the last round that metrics.csv has a row of, as far as it can be read; -1 without one.

  Args:
    run_dir: The run directory.
    planned: The rounds of the run as they were planned once, or fewer. A larger number than this in a file that does
      not have as many lines is damaged.
  """
  rounds = [-1]
  with contextlib.suppress(FileNotFoundError), open(os.path.join(run_dir, run_directory.METRICS), 'rb') as file:
    for line in file:
      number = line.split(b',')[0].strip()
      rounds.append(int(number) if number.isdigit() and len(number) < _MOST_DIGITS else -1)
  return min(max(rounds), max(planned, len(rounds)))


def _figures(row: RoundMetrics) -> dict[str, float]:
  values = {name: getattr(row, name) for name in _FIGURES if name != 'round'}
  counts = {_class_column(name): count for name, count in row.clients_by_class.items()}
  return {name: value for name, value in values.items() if value is not None} | counts


def _class_column(name: str) -> str:
  return f'clients_{name}'


def _to_csv(cells: list[str]) -> str:
  buffer = io.StringIO()
  csv.writer(buffer, lineterminator='\n').writerow(cells)
  return buffer.getvalue()
