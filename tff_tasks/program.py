"""A whole run: settings and client shards in, run directory out."""

from collections.abc import Mapping, Sequence
import contextlib
import functools
import os
from typing import Any, TextIO

import numpy as np

from export import report
from models import registry
from models import released
from pipelines import client_shards
from tff_tasks import algorithms
from tff_tasks import checkpoints
from tff_tasks import client_data
from tff_tasks import cohorts
from tff_tasks import evaluation
from tff_tasks import learned
from tff_tasks import ledger
from tff_tasks import metrics
from tff_tasks import privacy
from tff_tasks import progress
from tff_tasks import rounds
from tff_tasks import run_directory
from tff_tasks import seeds
from tff_tasks import settings as settings_lib
from tff_tasks.runtime import registry as runtimes
from tff_tasks.runtime import runtime as runtime_lib


def train(settings: settings_lib.Settings, shards: client_shards.ClientShards, flagfile: str, stream: TextIO) -> None:
  """Trains to the last round, from wherever the run directory stands.

  Args:
    settings: What to do.
    shards: The clients.
    flagfile: The settings as flags, kept with the run and compared when it is resumed.
    stream: Where to say how it goes.

  Raises:
    ValueError: If settings, data and run directory do not fit each other, or the run directory cannot be written.
  """
  if not shards.num_clients('test'):
    raise ValueError(
        f'Expected held-out users in {shards.path}, found none: neither the model nor its export could be checked; '
        'preprocess with a larger --test_users_share.'
    )
  plan = build_plan(settings, shards.num_clients('train'), learned.read(shards.manifest, shards.path))
  with run_directory.hold(settings.output_dir):
    kept = checkpoints.Checkpoints(os.path.join(settings.output_dir, 'checkpoints'))
    seed = kept.load_seed() or _new_seed(settings.seed)
    run_directory.claim(settings.output_dir, flagfile, shards, has_checkpoint=kept.last_round is not None)
    if kept.last_round == settings.total_rounds and run_directory.is_complete(settings.output_dir):
      print(f'Nothing to do: {settings.output_dir} holds all {settings.total_rounds} rounds.', file=stream)
      return
    with contextlib.closing(Run(settings, shards, plan, seed, kept, stream)) as run:
      run.train()


def build_plan(
    settings: settings_lib.Settings, population: int, entries: Sequence[Mapping[str, Any]] = ()
) -> privacy.PrivacyPlan:
  """Returns the privacy plan of the settings, calibrated to the target epsilon if there is one.

  Args:
    settings: What to do.
    population: The number of training clients.
    entries: What the data set was made with: its manifest's `learned`.
  """
  plan = privacy.PrivacyPlan(
      population=population,
      clients_per_round=settings.clients_per_round,
      sampling=settings.sampling,
      clip_norm=settings.clip_norm,
      quantization_bits=settings.quantization_bits,
      noise_multiplier=settings.noise_multiplier or 0.0,
      delta=settings.delta,
      learned=learned.total(entries, settings.sampling),
  )
  if not settings.target_epsilon:
    return plan
  return plan.calibrated(settings.target_epsilon, settings.total_rounds)


def _new_seed(number: int | None) -> seeds.Seed:
  return seeds.Seed.from_system() if number is None else seeds.Seed.from_number(number)


class Run:
  """A run with all of its parts, built from its settings."""

  def __init__(
      self,
      settings: settings_lib.Settings,
      shards: client_shards.ClientShards,
      plan: privacy.PrivacyPlan,
      seed: seeds.Seed,
      kept: checkpoints.Checkpoints,
      stream: TextIO,
  ) -> None:
    self._settings, self._shards, self._plan, self._seed, self._kept = settings, shards, plan, seed, kept
    self._stream = stream
    self._learned = learned.read(shards.manifest, shards.path)
    task = registry.get_task(shards.schema.task)
    self._model_size = settings.model_size or task.default_size
    build_model = functools.partial(task.build_model, shards.schema, self._model_size)
    process = algorithms.build_learning_process(
        build_model, shards.schema, settings.client_batch_size, settings.client_learning_rate,
        _build_server_optimizer(settings), plan, seed,
    )  # fmt: skip
    self._runtime = runtimes.build_runtime(settings.runtime, process, task.prefers_xla)
    model = build_model()
    self._dimension = model.count_params()
    # What one looks at while training, and perhaps chooses by, should not be what the final figures are measured on.
    self._eval_split = 'validation' if shards.num_clients('validation') else 'test'
    splits = {self._eval_split, 'test', 'tail'}
    self._evaluators = {split: evaluation.Evaluator(model, shards, split) for split in splits}

  def train(self) -> None:
    """Runs the missing rounds, then writes the figures and the report."""
    start = self._kept.load(like=self._runtime.initialize())
    last_round = start.round_number if start else -1
    self._announce(last_round)
    log = metrics.MetricsLog(self._settings.output_dir, last_round)
    with contextlib.closing(log):
      state = self._rounds(log, max(last_round, 0) + 1).run(start)
    self._save_release(self._settings.total_rounds, state)
    self._write_figures(state, log.rows)
    path = report.write_report(self._settings.output_dir)
    print(f'Report: {path}', file=self._stream)

  def close(self) -> None:
    """Ends the runtime."""
    self._runtime.close()

  def _rounds(self, log: metrics.MetricsLog, first_round: int) -> rounds.Rounds:
    settings = self._settings
    shown = progress.Progress(self._stream, first_round, settings.total_rounds)
    source = client_data.ClientDataSource(
        self._shards, settings.client_batch_size, settings.client_epochs_per_round, settings.max_examples_per_client,
        self._seed,
    )  # fmt: skip

    def record(row: metrics.RoundMetrics) -> None:
      log.add(row)
      shown.update(row)

    return rounds.Rounds(
        runtime=self._runtime,
        draw_cohort=functools.partial(cohorts.draw_cohort, self._plan, self._seed),
        round_clients=source.round_clients,
        measure=self._measure,
        record=record,
        save=self._save,
        rounds_per_eval=settings.rounds_per_eval,
        rounds_per_checkpoint=settings.rounds_per_checkpoint,
        total_rounds=settings.total_rounds,
    )

  def _measure(self, round_number: int, result: runtime_lib.RoundResult, is_evaluated: bool) -> metrics.RoundMetrics:
    row = metrics.RoundMetrics(round_number)
    if result.metrics is not None:
      row = round_metrics(round_number, result.metrics, self._plan, self._dimension)
    if is_evaluated:
      held_out = self._evaluators[self._eval_split].evaluate(_weights(result.state))
      row.eval_loss, row.eval_accuracy, row.eval_accuracy_per_user = held_out
    return row

  def _save(self, round_number: int, state: Any) -> None:
    # The checkpoint first: a round whose model is out is never run again, with the same noise on perhaps another sum.
    self._kept.save(checkpoints.ProgramState(round_number, self._seed, state))
    self._save_release(round_number, state)

  def _save_release(self, round_number: int, state: Any) -> None:
    output_dir = self._settings.output_dir
    model = released.ReleasedModel(self._shards.schema, self._model_size, round_number, _weights(state))
    released.save(model, output_dir)
    is_seed_secret = self._settings.seed is None
    total_rounds = self._settings.total_rounds
    entries = ledger.build_ledger(
        self._plan, round_number, total_rounds, self._dimension, is_seed_secret, self._learned
    )
    run_directory.write_json(output_dir, 'privacy.json', entries)

  def _write_figures(self, state: Any, rows: Sequence[metrics.RoundMetrics]) -> None:
    plan, total_rounds = self._plan, self._settings.total_rounds
    # Measured here: a row of metrics.csv can be lost with the power, or with the file.
    held_out, tail = (self._evaluators[split].evaluate(_weights(state)) for split in ('test', 'tail'))
    figures = {
        'task': self._shards.schema.task,
        'rounds': total_rounds,
        'total_rounds': total_rounds,
        'clients_per_round': plan.clients_per_round,
        'population': plan.population,
        'eval_split': self._eval_split,
        'accuracy': held_out.accuracy,
        'accuracy_per_user': held_out.accuracy_per_user,
        'loss': held_out.loss,
        'tail_accuracy': tail.accuracy,
        'epsilon': plan.epsilon(total_rounds),
        'training_epsilon': plan.training_epsilon(total_rounds),
        'delta': plan.delta if plan.is_private else None,
        'weights': self._dimension,
        'clip_norm': plan.clip_norm,
        'quantization_bits': plan.quantization_bits,
        'seconds': sum(row.seconds or 0.0 for row in rows),
    }
    run_directory.write_json(self._settings.output_dir, 'run.json', figures)

  def _announce(self, last_round: int) -> None:
    settings, plan = self._settings, self._plan
    begin = 'Starting' if last_round < 0 else f'Resuming after round {last_round}:'
    lines = [
        f'{begin} {settings.total_rounds} rounds of {self._shards.schema.task} on the {settings.runtime} runtime: '
        f'{self._dimension:,} weights, {plan.population:,} clients, about {plan.clients_per_round:,} a round.',
        f'Privacy: {ledger.promise(plan, settings.total_rounds, self._learned)}',
        f'Evaluation: every {settings.rounds_per_eval} rounds on {self._num_users(self._eval_split)}; in the end on '
        f'{self._num_users("test")}.',
    ]
    print(*lines, sep='\n', file=self._stream, flush=True)

  def _num_users(self, split: str) -> str:
    return f'{self._shards.num_clients(split):,} {split} users'


def round_metrics(round_number: int, measured: Any, plan: privacy.PrivacyPlan, dimension: int) -> metrics.RoundMetrics:
  """Returns the figures of a round from the metrics of the learning process, which are sums over the cohort."""
  work, sums = measured['client_work'], measured['aggregator']['sums']
  clients = int(sums['clients'])
  share = functools.partial(_ratio, total=clients)
  return metrics.RoundMetrics(
      round=round_number,
      clients=clients,
      loss=_ratio(work['loss'], work['count']),
      accuracy=_ratio(work['correct'], work['count']),
      epsilon=plan.epsilon(round_number),
      update_norm_mean=share(sums['norm_sum']),
      update_norm_max=float(measured['aggregator']['norm_max']) if clients else None,
      clipped_share=share(sums['clipped']),
      rejected_clients=int(sums['rejected']),
      bytes_up_per_client=plan.update_bytes(dimension),
      bytes_down_per_client=4 * dimension,
  )


def _ratio(value: Any, total: Any) -> float | None:
  return float(value) / float(total) if total else None


def _weights(state: Any) -> list[np.ndarray]:
  return list(state.global_model_weights.trainable)


def _build_server_optimizer(settings: settings_lib.Settings) -> Any:
  return algorithms.build_server_optimizer(
      settings.server_optimizer,
      settings.server_learning_rate,
      settings.server_learning_rate_schedule,
      settings.total_rounds,
  )
