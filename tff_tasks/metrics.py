"""A run's figures, one row a round: metrics.csv for everyone, TensorBoard for who has it open."""

from collections.abc import Mapping
import csv
import dataclasses
import io
import math
import os
from typing import Any

from pipelines import files
from tff_tasks import event_file

FILE_NAME = 'metrics.csv'


@dataclasses.dataclass(slots=True)  # A long run keeps many.
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
    update_norm_mean: L2 norm of the updates before clipping.
    update_norm_max: The largest of them.
    clipped_share: Share of the cohort whose update was clipped.
    left_out_clients: Clients of the cohort that took no part, because their data could not be used or their update was
      not finite.
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
  left_out_clients: int | None = None
  bytes_up_per_client: int | None = None
  bytes_down_per_client: int | None = None
  seconds: float | None = None


_COLUMNS = [field.name for field in dataclasses.fields(RoundMetrics)]
_WHOLE_NUMBERS = {'round', 'clients', 'left_out_clients', 'bytes_up_per_client', 'bytes_down_per_client'}


def of_round(round_number: int, measured: Mapping[str, Any], left_out: int) -> RoundMetrics:
  """Returns what the clients of a round have measured.

  Args:
    round_number: The round.
    measured: The metrics of the learning process, which are sums over its clients, and a largest norm.
    left_out: How many clients the runtime left out.
  """
  work, sums = measured['client_work'], measured['aggregator']['sums']
  clients = int(sums['clients']) - int(sums['rejected'])
  return RoundMetrics(
      round=round_number,
      clients=clients,
      loss=_ratio(work['loss'], work['count']),
      accuracy=_ratio(work['correct'], work['count']),
      update_norm_mean=_ratio(sums['norm_sum'], clients),
      update_norm_max=float(measured['aggregator']['norm_max']) if clients else None,
      clipped_share=_ratio(sums['clipped'], clients),
      left_out_clients=left_out,
  )


def _ratio(value: Any, total: Any) -> float | None:
  return float(value) / float(total) if total else None


class MetricsLog:
  """Keeps the rows of a run, on disk from the moment they are added.

  Args:
    run_dir: Where metrics.csv and TensorBoard's events are.
    last_round: Rows after this one are of rounds that will be run again, and are dropped.

  Raises:
    ValueError: If the existing file is damaged.
  """

  def __init__(self, run_dir: str, last_round: int) -> None:
    path = os.path.join(run_dir, FILE_NAME)
    self.rows = [row for row in _read(path) if row.round <= last_round]
    files.write_atomically(path, _to_csv(_COLUMNS) + ''.join(map(_to_csv_row, self.rows)))
    self._file = open(path, 'a', encoding='utf-8')  # noqa: SIM115
    self._events = event_file.EventFile(os.path.join(run_dir, 'tensorboard'))
    for row in self.rows:
      self._events.add(row.round, _figures(row))

  def add(self, row: RoundMetrics) -> None:
    """Adds the row of a finished round."""
    self.rows.append(row)
    self._file.write(_to_csv_row(row))
    self._file.flush()
    self._events.add(row.round, _figures(row))

  def close(self) -> None:
    """Writes out what is still buffered."""
    self._file.close()
    self._events.close()


def _figures(row: RoundMetrics) -> dict[str, float]:
  values = {name: getattr(row, name) for name in _COLUMNS if name != 'round'}
  return {name: value for name, value in values.items() if value is not None}


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
  values = (getattr(row, name) for name in _COLUMNS)
  return _to_csv(['' if value is None or math.isnan(value) else repr(value) for value in values])


def _to_csv(cells: list[str]) -> str:
  buffer = io.StringIO()
  csv.writer(buffer, lineterminator='\n').writerow(cells)
  return buffer.getvalue()
