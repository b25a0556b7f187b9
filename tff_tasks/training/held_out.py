"""What a run measures on held-out users: the model as it is, and after the layers that stay on a device are trained."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from contracts import client_shards
from contracts import personalization
from models import functional_model
from models import task as task_lib
from tff_tasks.evaluation import evaluation
from tff_tasks.evaluation import personalizer
from tff_tasks.runtime import workers as workers_lib
from tff_tasks.training import metrics


class HeldOut:
  """The held-out users of a run.

  Args:
    model: The model to give the weights to.
    shards: Where the users are.
    workers: What measures them.
    task_metrics: Of the task, beside loss and accuracy.
    on_device: How a device trains layers before it uses the model; None if the model is used as it is.
  """

  def __init__(
    self,
    model: functional_model.FunctionalModel,
    shards: client_shards.ClientShards,
    workers: workers_lib.Workers,
    task_metrics: tuple[task_lib.Metric, ...] = (),
    on_device: personalization.FineTuning | None = None,
  ) -> None:
    self._model, self._shards, self._workers = model, shards, workers
    self._task_metrics, self._on_device = task_metrics, on_device
    self._evaluators: dict[str, evaluation.Evaluator] = {}
    self._personalizers: dict[tuple[str, personalization.FineTuning], personalizer.Personalizer] = {}

  def evaluate(self, split: str, weights: Sequence[np.ndarray]) -> evaluation.Evaluation:
    """Returns the figures of a model with these weights on a split.

    Raises:
      ValueError: If the data of a user cannot be read.
    """
    if split not in self._evaluators:
      self._evaluators[split] = evaluation.Evaluator(
        self._model, self._shards, split, self._workers, self._task_metrics
      )
    return self._evaluators[split].evaluate(weights)

  def personalize(
    self, split: str, weights: Sequence[np.ndarray], tuning: personalization.FineTuning
  ) -> tuple[list[personalization.User], dict[str, Any]]:
    """Returns each user of a split before and after fine-tuning, and the figures of all of them.

    Raises:
      ValueError: If the data of a user cannot be read.
    """
    key = split, tuning
    if key not in self._personalizers:
      self._personalizers[key] = personalizer.Personalizer(self._model, self._shards, split, tuning, self._workers)
    return self._personalizers[key].measure(weights)

  def measure(self, split: str, weights: Sequence[np.ndarray], row: metrics.RoundMetrics) -> None:
    """Writes the figures of a round into its row.

    Raises:
      ValueError: If the data of a user cannot be read.
    """
    row.eval_loss, row.eval_accuracy, row.eval_accuracy_per_user, _ = self.evaluate(split, weights)
    if self._on_device:
      _, found = self.personalize(split, weights, self._on_device)
      for when in ('before', 'after'):
        setattr(row, f'eval_{when}_reconstruction', found[f'accuracy_{when}'])
        setattr(row, f'eval_worst_decile_{when}_reconstruction', found[f'worst_decile_{when}'])
