"""What leaves a run at each checkpoint: the model, with the ledger of everything that was released so far."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from contracts import personalization
from contracts import released_model
from contracts import schema as schema_lib
from tff_tasks import config as config_lib
from tff_tasks.privacy import ledger
from tff_tasks.training import history as history_lib
from tff_tasks.training import run_directory

_MEASURED_ON_DEVICE = {
  'what': 'accuracy of held-out users before and after reconstruction of the local layers, as a mean over users',
  'mechanism': 'exact, published with the model',
  'private': False,
}


@dataclasses.dataclass(frozen=True)
class Releases:
  """The model and the ledger in a run directory.

  Attributes:
    config: Of the run.
    schema: What the model was trained on.
    model_size: Width of its main layer.
    learned: What the data set was made with: its manifest's `learned`.
    update_size: How many numbers an update has.
    task_name: What its task is called.
    on_device: How a device trains layers of the model before use; None if it uses the model as it is.
  """

  config: config_lib.Config
  schema: schema_lib.Schema
  model_size: int
  learned: Sequence[Mapping[str, Any]]
  update_size: int
  task_name: str
  on_device: personalization.FineTuning | None = None

  def write(self, history: history_lib.History, weights: Sequence[np.ndarray]) -> None:
    """Writes the model of the last round of a history, whose checkpoint is on the disk, and its ledger."""
    source = self.config.task
    own_task = released_model.Task(self.task_name, source) if source else None
    model = released_model.ReleasedModel(
      self.schema, self.model_size, history.current.last_round, weights, history.run, own_task
    )
    entries = ledger.build_ledger(
      history.accounted, history.rounds_in_all, self.update_size, self.learned, self.schema.is_sequence
    )
    entries['algorithm'] = self.config.method
    if self.on_device:
      entries |= personalization.to_ledger(self.on_device)
      entries['releases'].append(_MEASURED_ON_DEVICE)
    entries['not_covered'] += [
      f'the rounds that the run {run_id} goes through after this one branched from it: the epsilon of its own ledger, '
      'of all its rounds, adds up'
      for run_id in history.parents
    ]
    released_model.save(model, run_directory.finite(entries), self.config.output_dir)

  def are_of(self, history: history_lib.History) -> bool:
    """Returns whether the model and the ledger of the last round of a history are there, whole."""
    try:
      model = released_model.load(self.config.output_dir)
    except ValueError:
      return False
    return (model.run, model.round_number) == (history.run, history.current.last_round)
