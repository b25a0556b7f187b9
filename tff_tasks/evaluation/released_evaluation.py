"""How well the released model of a run does on client shards, those of the run or others of the same schema."""

import functools
from typing import Any

from contracts import client_shards
from contracts import released_model
from models import functional_model
from models import registry
from tff_tasks.evaluation import baselines
from tff_tasks.evaluation import evaluation
from tff_tasks.runtime import workers


def measure(run_dir: str, shards: client_shards.ClientShards, split: str) -> dict[str, Any]:
  """Returns the figures of the model on a split, with the baselines that they stand beside.

  Args:
    run_dir: The run directory with the model and its ledger.
    shards: The clients.
    split: One of `client_shards.SPLITS`.

  Raises:
    ValueError: If the model or its ledger is missing or damaged, the shards are of another schema, or the split has no
      clients.
  """
  model = released_model.load(run_dir)
  if model.schema != shards.schema:
    raise ValueError(
      f'Expected shards of the schema that the model in {run_dir} was trained on, found another in {shards.path}: '
      'preprocess them with the declaration, the classes and the scaling of that run.'
    )
  if not shards.num_clients(split):
    others = ', '.join(name for name in client_shards.SPLITS if shards.num_clients(name))
    raise ValueError(
      f'Expected clients in the split {split} of {shards.path}, found none: choose --split among {others}.'
    )
  task = registry.get_task(model.schema.task)
  build_model = functools.partial(task.build_model, model.schema, model.model_size)
  threads = workers.Workers()
  try:
    evaluator = evaluation.Evaluator(
      functional_model.FunctionalModel(build_model, 0), shards, split, threads, task.metrics
    )
    found = evaluator.evaluate(model.weights)
  finally:
    threads.close()
  return {
    'task': model.schema.task,
    'data_set': shards.name,
    'round': model.round_number,
    'split': split,
    'clients': shards.num_clients(split),
    'examples': shards.num_examples(split),
    'population': shards.num_clients('train'),
    'accuracy': found.accuracy,
    'accuracy_per_user': found.accuracy_per_user,
    'loss': found.loss,
    **found.metrics,
    **baselines.Baselines(shards).measure(split)._asdict(),
  }
