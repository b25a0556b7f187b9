"""The figures of a finished run, as run.json has them: what the report, the card and the comparison are made from."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from contracts import client_shards
from contracts import personalization
from tff_tasks import config as config_lib
from tff_tasks.evaluation import baselines
from tff_tasks.evaluation import evaluation
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.training import held_out as held_out_lib
from tff_tasks.training import metrics


def of_data(shards: client_shards.ClientShards, plan: plan_lib.PrivacyPlan, eval_split: str) -> dict[str, Any]:
  """Returns what was trained on: the data set, and how the plan samples and clips its clients."""
  return {
    'data_set': shards.name,
    'eval_split': eval_split,
    'population': plan.population,
    'clients_per_round': plan.clients_per_round,
    'clip_norm': plan.clip_norm,
    'compression': plan.compression,
    'quantization_bits': plan.quantization_bits,
  }


def of_evaluation(
  held_out: evaluation.Evaluation,
  tail: evaluation.Evaluation,
  test_baselines: baselines.Figures,
  eval_baselines: baselines.Figures,
) -> dict[str, Any]:
  """Returns what the last model gives on held-out users, beside the baselines.

  Args:
    held_out: Measured on the test split.
    tail: Measured on the latest examples of training users.
    test_baselines: The baselines on the test split.
    eval_baselines: The baselines on the split that was evaluated on while training.
  """
  return {
    'accuracy': held_out.accuracy,
    'accuracy_per_user': held_out.accuracy_per_user,
    'loss': held_out.loss,
    **held_out.metrics,
    **test_baselines._asdict(),
    'eval_baseline_accuracy': eval_baselines.baseline_accuracy,
    'tail_accuracy': tail.accuracy,
  }


def of_personalization(
  run_dir: str,
  tuning: personalization.FineTuning | None,
  weights: Sequence[np.ndarray],
  users: held_out_lib.HeldOut,
) -> dict[str, Any]:
  """Measures what fine-tuning gives held-out users if that is asked for, and writes a row for each of them.

  Args:
    run_dir: Where to write.
    tuning: How they are fine-tuned; None if they are not.
    weights: Of the last round.
    users: The users.

  Returns:
    The figures; none if nothing is measured, and rows of an earlier model are removed then.

  Raises:
    ValueError: If the data of a user cannot be read.
  """
  if not tuning:
    personalization.remove(run_dir)
    return {}
  rows, found = users.personalize('test', weights, tuning)
  return {personalization.FIGURES: {**found, 'sha256': personalization.write(run_dir, rows)}}


def of_rounds(config: config_lib.Config, rows: metrics.Rows) -> dict[str, Any]:
  """Returns how it was trained, and what the rounds add up to."""
  return {
    'algorithm': config.method,
    'rounds': config.total_rounds,
    'total_rounds': config.total_rounds,
    'skipped_clients': sum(row.skipped_clients or 0 for row in rows),
    'empty_rounds': sum(row.clients == 0 for row in rows),
    'seconds': sum(row.seconds or 0.0 for row in rows),
    **({'clients_by_class': _add_up(rows)} if rows.classes else {}),
  }


def _add_up(rows: metrics.Rows) -> dict[str, int]:
  """Returns how often clients of each capability class took part."""
  return {name: sum(row.clients_by_class.get(name, 0) for row in rows) for name in rows.classes}
