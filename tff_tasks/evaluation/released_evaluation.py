"""How well the released model of a run does on client shards, those of the run or others of the same schema."""

from collections.abc import Mapping
import contextlib
import functools
from typing import Any, NamedTuple

from contracts import client_shards
from contracts import personalization
from contracts import released_model
from contracts import run_directory
from models import functional_model
from models import registry
from tff_tasks.evaluation import baselines
from tff_tasks.evaluation import evaluation
from tff_tasks.runtime import workers


class Personalize(NamedTuple):
  """Fine-tuning as it is asked for; the learning rate is by default the one of clients in the rounds of the run."""

  epochs: int
  learning_rate: float | None


def measure(
  run_dir: str,
  shards: client_shards.ClientShards,
  split: str,
  personalize: Personalize | None = None,
  task_flag: str | None = None,
) -> dict[str, Any]:
  """Returns the figures of the model on a split, with the baselines that they stand beside.

  Args:
    run_dir: The run directory with the model and its ledger.
    shards: The clients.
    split: One of `client_shards.SPLITS`.
    personalize: How to fine-tune each user; None for no fine-tuning. Local layers are reconstructed always.
    task_flag: The value of `--task`, if it is given.

  Raises:
    ValueError: If the model or its ledger is missing or damaged, the shards are of another schema, the split has no
      clients, the run directory does not say how its clients trained, or a model with local layers is to be fine-tuned.
  """
  model, ledger = released_model.load_with_ledger(run_dir)
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
  task = registry.find(released_model.check_task(model, task_flag, run_dir))
  tuning = _read_on_device(ledger, personalize) or _read_tuning(run_dir, personalize)
  functions = functional_model.FunctionalModel(functools.partial(task.build, model.schema, model.model_size), seed=0)
  with contextlib.closing(workers.Workers()) as threads:
    found = evaluation.Evaluator(functions, shards, split, threads, task.metrics).evaluate(model.weights)
    personal = {}
    if tuning:
      from tff_tasks.evaluation import personalizer  # It loads TFF, which takes seconds.

      _, figures = personalizer.Personalizer(functions, shards, split, tuning, threads).measure(model.weights)
      personal[personalization.FIGURES] = figures
  return {
    'task': model.task.name,
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
    **personal,
  }


def _read_on_device(ledger: Mapping[str, Any], personalize: Personalize | None) -> personalization.FineTuning | None:
  on_device = personalization.of_ledger(ledger)
  if on_device and personalize:
    raise ValueError(
      'Expected no --personalize_epochs for a model with local layers, found some: it is measured before and after '
      'their reconstruction; leave the flag out.'
    )
  return on_device


def _read_tuning(run_dir: str, personalize: Personalize | None) -> personalization.FineTuning | None:
  if personalize is None:
    return None
  rate = personalize.learning_rate
  return personalization.FineTuning(
    personalize.epochs,
    run_directory.read_number(run_dir, 'client_learning_rate', float) if rate is None else rate,
    run_directory.read_number(run_dir, 'client_batch_size', int),
  )
