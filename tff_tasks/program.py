"""A whole run: settings and client shards in, run directory out."""

from collections.abc import Sequence
import contextlib
import functools
import os
from typing import Any, TextIO

import numpy as np

from export import comparison
from export import report
from models import registry
from models import released
from pipelines import client_shards
from tff_tasks import aggregation
from tff_tasks import baselines
from tff_tasks import checkpoints
from tff_tasks import client_data
from tff_tasks import cohorts
from tff_tasks import evaluation
from tff_tasks import functional
from tff_tasks import learned
from tff_tasks import ledger
from tff_tasks import left_out
from tff_tasks import metrics
from tff_tasks import parts
from tff_tasks import privacy
from tff_tasks import progress
from tff_tasks import rounds
from tff_tasks import run_directory
from tff_tasks import settings as settings_lib
from tff_tasks.runtime import registry as runtimes
from tff_tasks.runtime import runtime as runtime_lib
from tff_tasks.runtime import workers


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
  plan = parts.build_plan(settings, shards.num_clients('train'), learned.read(shards.manifest, shards.path))
  with run_directory.hold(settings.output_dir):
    kept = checkpoints.Checkpoints(os.path.join(settings.output_dir, 'checkpoints'))
    saved = kept.load()
    run_directory.claim(settings.output_dir, flagfile, shards, saved.round_number if saved else None)
    if saved and saved.round_number == settings.total_rounds and run_directory.is_complete(settings.output_dir):
      print(f'Nothing to do: {settings.output_dir} holds all {settings.total_rounds} rounds.', file=stream)
      return
    with contextlib.closing(Run(settings, shards, plan, kept, saved, stream)) as run:
      run.train()


class Run:
  """A run with all of its parts, built from its settings.

  Args:
    settings: What to do.
    shards: The clients.
    plan: The privacy plan of the settings.
    kept: Where checkpoints are.
    saved: The last of them, or None to begin.
    stream: Where to say how it goes.
  """

  def __init__(
      self,
      settings: settings_lib.Settings,
      shards: client_shards.ClientShards,
      plan: privacy.PrivacyPlan,
      kept: checkpoints.Checkpoints,
      saved: checkpoints.ProgramState | None,
      stream: TextIO,
  ) -> None:
    self._settings, self._shards, self._plan, self._kept, self._saved = settings, shards, plan, kept, saved
    self._stream = stream
    self._learned = learned.read(shards.manifest, shards.path)
    # What one looks at while training, and perhaps chooses by, should not be what the final figures are measured on.
    self._eval_split = 'validation' if shards.num_clients('validation') else 'test'
    self._baselines = baselines.Baselines(shards)
    self._eval_baselines = self._baselines.measure(self._eval_split)
    self._seed = saved.seed if saved else parts.build_seed(settings)
    task = registry.get_task(shards.schema.task)
    self._model_size = settings.model_size or task.default_size
    self._task_metrics = task.metrics
    build_model = functools.partial(task.build_model, shards.schema, self._model_size)
    # What was measured once stays for the whole run, or a resumed one would differ in the last bits.
    use_xla = settings_lib.XLA[settings.xla] if saved is None or saved.use_xla is None else saved.use_xla
    self._model = functional.FunctionalModel(build_model, int(self._seed.stream('model').integers(2**31)))
    process = parts.build_learning_process(settings, self._model, shards.schema, plan, self._seed)
    self._runtime = runtimes.build_runtime(settings.runtime, process, use_xla)
    self._dimension = sum(weight.size for weight in self._model.initial_weights)
    self._workers = workers.Workers()
    self._evaluators: dict[str, evaluation.Evaluator] = {}

  def train(self) -> None:
    """Runs the missing rounds, then writes the figures and the report."""
    start = self._saved and self._saved.shaped_like(self._runtime.initialize())
    last_round = start.round_number if start else -1
    self._announce(last_round)
    log = metrics.MetricsLog(self._settings.output_dir, last_round)
    shown = progress.Progress(
        self._stream, max(last_round, 0) + 1, self._settings.total_rounds, self._eval_baselines.in_short
    )
    with contextlib.closing(log), contextlib.closing(shown):
      state = self._rounds(log, shown).run(start)
    self._save_release(self._settings.total_rounds, state)
    self._write_figures(state, log.rows)
    path = report.write_report(self._settings.output_dir)
    print(f'Report: {path}', file=self._stream)

  def close(self) -> None:
    """Ends the runtime and the threads."""
    self._runtime.close()
    self._workers.close()

  def _rounds(self, log: metrics.MetricsLog, shown: progress.Progress) -> rounds.Rounds:
    settings = self._settings
    source = client_data.ClientDataSource(
        self._shards, settings.client_batch_size, settings.max_examples_per_client, self._seed
    )
    client_ids = self._shards.clients('train').client_ids
    said = ''

    def record(row: metrics.RoundMetrics) -> None:
      nonlocal said
      log.add(row)
      if said != self._runtime.choice:
        said = self._runtime.choice
        shown.say(said)
      shown.update(row)

    return rounds.Rounds(
        runtime=self._runtime,
        cohort=lambda number: source.cohort(number, cohorts.draw_cohort(self._plan, self._seed, number, client_ids)),
        add_noise=aggregation.RoundNoise(self._plan, self._dimension, self._seed).add,
        leave_out=left_out.LeftOut(self._shards, settings.on_client_error == 'skip', shown.say).take,
        measure=self._measure,
        record=record,
        save=self._save,
        rounds_per_eval=settings.rounds_per_eval,
        rounds_per_checkpoint=settings.rounds_per_checkpoint,
        total_rounds=settings.total_rounds,
    )

  def _measure(
      self, round_number: int, result: runtime_lib.RoundResult, is_evaluated: bool, is_saved: bool
  ) -> metrics.RoundMetrics:
    row = metrics.RoundMetrics(round_number)
    if result.metrics is not None:
      row = metrics.of_round(round_number, result.metrics, len(result.left_out))
      row.bytes_up_per_client = self._plan.update_bytes(self._dimension)
      row.bytes_down_per_client = 4 * self._dimension
      # Working it out takes longer than many a round.
      row.epsilon = self._plan.epsilon(round_number) if is_evaluated or is_saved else None
    if is_evaluated:
      row.eval_loss, row.eval_accuracy, row.eval_accuracy_per_user, _ = self._evaluate(self._eval_split, result.state)
    return row

  def _evaluate(self, split: str, state: Any) -> evaluation.Evaluation:
    if split not in self._evaluators:
      self._evaluators[split] = evaluation.Evaluator(
          self._model, self._shards, split, self._workers, self._task_metrics
      )
    return self._evaluators[split].evaluate(_weights(state))

  def _save(self, round_number: int, state: Any) -> None:
    # The checkpoint first: a round whose model is out is never run again, with the same noise on perhaps another sum.
    self._kept.save(checkpoints.ProgramState(round_number, self._seed, self._runtime.use_xla, state))
    self._save_release(round_number, state)

  def _save_release(self, round_number: int, state: Any) -> None:
    output_dir = self._settings.output_dir
    model = released.ReleasedModel(self._shards.schema, self._model_size, round_number, _weights(state))
    released.save(model, output_dir)
    segments = [privacy.Segment(self._plan, round_number)]
    entries = ledger.build_ledger(segments, self._settings.total_rounds, self._dimension, self._learned)
    run_directory.write_json(output_dir, 'privacy.json', entries)

  def _write_figures(self, state: Any, rows: Sequence[metrics.RoundMetrics]) -> None:
    plan, total_rounds = self._plan, self._settings.total_rounds
    # Measured here: a row of metrics.csv can be lost with the power, or with the file.
    held_out, tail = (self._evaluate(split, state) for split in ('test', 'tail'))
    figures = {
        'task': self._shards.schema.task,
        'data_set': self._shards.name,
        'rounds': total_rounds,
        'total_rounds': total_rounds,
        'clients_per_round': plan.clients_per_round,
        'population': plan.population,
        'eval_split': self._eval_split,
        'accuracy': held_out.accuracy,
        'accuracy_per_user': held_out.accuracy_per_user,
        'loss': held_out.loss,
        **held_out.metrics,
        **self._baselines.measure('test')._asdict(),
        'eval_baseline_accuracy': self._eval_baselines.baseline_accuracy,
        'tail_accuracy': tail.accuracy,
        'epsilon': plan.epsilon(total_rounds),
        'training_epsilon': plan.training_epsilon(total_rounds),
        'delta': plan.delta if plan.epsilon(total_rounds) is not None else None,
        'weights': self._dimension,
        'clip_norm': plan.clip_norm,
        'quantization_bits': plan.quantization_bits,
        'left_out_clients': sum(row.left_out_clients or 0 for row in rows),
        'xla': self._runtime.use_xla,
        'seconds': sum(row.seconds or 0.0 for row in rows),
    }
    run_directory.write_json(self._settings.output_dir, 'run.json', figures)
    means = f'{held_out.accuracy:.1%}, as a mean over users {held_out.accuracy_per_user:.1%}.'
    lines = [f'Accuracy on {self._num_users("test")}: {means}', *comparison.describe(figures)]
    print(*lines, sep='\n', file=self._stream)

  def _announce(self, last_round: int) -> None:
    settings, plan = self._settings, self._plan
    begin = 'Starting' if last_round < 0 else f'Resuming after round {last_round}:'
    known = comparison.describe({**self._eval_baselines._asdict(), 'population': plan.population})
    lines = [
        f'{begin} {settings.total_rounds} rounds of {self._shards.schema.task} on the {settings.runtime} runtime: '
        f'{self._dimension:,} weights, {plan.population:,} clients, about {plan.clients_per_round:,} a round.',
        f'Privacy: {ledger.promise([privacy.Segment(plan, settings.total_rounds)], self._learned)}',
        f'Evaluation: every {settings.rounds_per_eval} rounds on {self._num_users(self._eval_split)}; in the end on '
        f'{self._num_users("test")}.',
        *known,
    ]
    print(*lines, sep='\n', file=self._stream, flush=True)

  def _num_users(self, split: str) -> str:
    return f'{self._shards.num_clients(split):,} {split} users'


def _weights(state: Any) -> list[np.ndarray]:
  return list(state.global_model_weights.trainable)
