"""A run's figures, one row a round: metrics.csv for everyone, TensorBoard for who has it open."""

from collections.abc import Iterator
import contextlib
import csv
import dataclasses
import glob
import io
import math
import os
from typing import Any

import tensorflow as tf

from pipelines import files

FILE_NAME = 'metrics.csv'


@dataclasses.dataclass
class RoundMetrics:
  """What is known of a round; None where it was not measured, as in round 0, which is the initial model.

  Attributes:
    round: From 1; 0 is the initial model.
    clients: Size of the cohort.
    loss: Of the cohort while it trained, nats a label.
    accuracy: Of the cohort while it trained.
    eval_loss: On held-out users: those of the validation split, or of the test split if there is none.
    eval_accuracy: On held-out users, over their labels.
    eval_accuracy_per_user: On held-out users, the mean over users.
    epsilon: Spent so far, what the data set has cost included.
    update_norm_mean: L2 norm of the updates before clipping.
    update_norm_max: The largest of them.
    clipped_share: Share of the cohort whose update was clipped.
    rejected_clients: Clients whose update was not finite and counted as zero.
    bytes_up_per_client: Bytes of one encoded update.
    bytes_down_per_client: Bytes of the model.
    seconds: Wall time, evaluation included.
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
  rejected_clients: int | None = None
  bytes_up_per_client: int | None = None
  bytes_down_per_client: int | None = None
  seconds: float | None = None


_COLUMNS = [field.name for field in dataclasses.fields(RoundMetrics)]
_WHOLE_NUMBERS = {'round', 'clients', 'rejected_clients', 'bytes_up_per_client', 'bytes_down_per_client'}


class MetricsLog:
  """Keeps the rows of a run, on disk from the moment they are added.

  Args:
    run_dir: Where metrics.csv and TensorBoard's events are.
    last_round: Rows after this one are of rounds that will be run again, and are dropped.

  Raises:
    ValueError: If the existing file is damaged.
  """

  def __init__(self, run_dir: str, last_round: int) -> None:
    self._path = os.path.join(run_dir, FILE_NAME)
    self.rows = [row for row in _read(self._path) if row.round <= last_round]
    files.write_atomically(self._path, _to_csv(_COLUMNS) + ''.join(map(_to_csv_row, self.rows)))
    events = os.path.join(run_dir, 'tensorboard')
    for stale in glob.glob(os.path.join(glob.escape(events), 'events.*')):
      os.remove(stale)
    self._writer = tf.summary.create_file_writer(events)
    for row in self.rows:
      self._write_events(row)

  def add(self, row: RoundMetrics) -> None:
    """Adds the row of a finished round."""
    self.rows.append(row)
    with open(self._path, 'a', encoding='utf-8') as file:
      file.write(_to_csv_row(row))
    self._write_events(row)

  def close(self) -> None:
    """Writes out what is still buffered."""
    with _tensorflow_errors():
      self._writer.close()

  def _write_events(self, row: RoundMetrics) -> None:
    with _tensorflow_errors(), self._writer.as_default(step=row.round):
      for name, value in dataclasses.asdict(row).items():
        if value is not None and name != 'round':
          tf.summary.scalar(name, value)


@contextlib.contextmanager
def _tensorflow_errors() -> Iterator[None]:
  """Turns what TensorFlow raises when it cannot write into what Python raises."""
  try:
    yield
  except tf.errors.OpError as error:
    raise OSError(error.error_code, error.message) from error


def _read(path: str) -> list[RoundMetrics]:
  if not os.path.exists(path):
    return []
  try:
    with open(path, encoding='utf-8', newline='') as file:
      header, *rows = csv.reader(file)
    if header != _COLUMNS:
      raise ValueError('other columns')
    # A killed process can leave half a row at the end; its round is run again.
    whole = rows if not rows or len(rows[-1]) == len(_COLUMNS) else rows[:-1]
    return [RoundMetrics(**_parse(row)) for row in whole]
  except (ValueError, csv.Error) as error:
    raise ValueError(f'Expected rounds in {path}, found {error}: move the file away to resume without them.') from error


def _parse(row: list[str]) -> dict[str, Any]:
  return {
      name: None if cell == '' and name != 'round' else int(cell) if name in _WHOLE_NUMBERS else float(cell)
      for name, cell in zip(_COLUMNS, row, strict=True)
  }


def _to_csv_row(row: RoundMetrics) -> str:
  values = dataclasses.asdict(row).values()
  return _to_csv(['' if value is None or math.isnan(value) else repr(value) for value in values])


def _to_csv(cells: list[str]) -> str:
  buffer = io.StringIO()
  csv.writer(buffer, lineterminator='\n').writerow(cells)
  return buffer.getvalue()
