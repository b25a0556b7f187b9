"""A whole run: config and client shards in, run directory out."""

from collections.abc import Callable, Sequence
import contextlib
import dataclasses
import functools
import os
from typing import Any, TextIO

import numpy as np

from contracts import client_shards
from contracts import comparison
from contracts import personalization
from contracts import provenance
from contracts import run_directory as reading
from models import functional_model
from models import registry
from reporting import report
from tff_tasks import config as config_lib
from tff_tasks.aggregation import round_noise
from tff_tasks.evaluation import baselines
from tff_tasks.population import availability
from tff_tasks.population import capabilities as capabilities_lib
from tff_tasks.population import cohorts
from tff_tasks.privacy import ledger
from tff_tasks.privacy import segments as segments_lib
from tff_tasks.runtime import runtime as runtime_lib
from tff_tasks.runtime import workers
from tff_tasks.training import announcement
from tff_tasks.training import checkpoints
from tff_tasks.training import divergence
from tff_tasks.training import figures
from tff_tasks.training import held_out
from tff_tasks.training import history as history_lib
from tff_tasks.training import loop
from tff_tasks.training import metrics
from tff_tasks.training import parts
from tff_tasks.training import program_state
from tff_tasks.training import progress
from tff_tasks.training import releasing
from tff_tasks.training import run_directory
from tff_tasks.training import skipped_clients
from tff_tasks.training import starting


def train(config: config_lib.Config, shards: client_shards.ClientShards, flagfile: str, stream: TextIO) -> None:
  """Trains to the last round, from wherever the run directory stands.

  Args:
    config: What to do.
    shards: The clients.
    flagfile: The config as flags, kept with the run and compared when it is resumed.
    stream: Where to say how it goes.

  Raises:
    ValueError: If config, data and run directory do not fit each other, or the run directory cannot be written.
  """
  if not shards.num_clients('test'):
    raise ValueError(
      f'Expected held-out users in {shards.path}, found none: neither the model nor its export could be checked; '
      'declare a larger test_users_share and preprocess again.'
    )
  task = registry.choose(shards.schema, config.task)
  available = availability.read(config.availability, shards)
  capabilities = capabilities_lib.read(
    config.capabilities, shards, config.client_epochs_per_round, config.client_batch_size
  )
  build_plan = functools.partial(
    parts.build_plan,
    config,
    shards.num_clients('train'),
    provenance.read(shards.manifest, shards.path),
    availability=available.name if available else '',
    capabilities=capabilities.name if capabilities else '',
  )
  build_plan()  # An impossible one is refused before anything is written.
  with run_directory.hold(config.output_dir):
    folder = os.path.join(config.output_dir, reading.CHECKPOINTS)
    kept, saved = checkpoints.Checkpoints(folder), checkpoints.load_last(folder)
    start = starting.find(config, flagfile, shards.fingerprint, task.default_size, build_plan, saved)
    run_directory.write_config(config.output_dir, start.history)
    if (
      saved
      and saved.round_number == config.total_rounds
      and run_directory.is_complete(config.output_dir, saved, parts.fine_tuning(config))
    ):
      print(f'Nothing to do: {config.output_dir} holds all {config.total_rounds} rounds.', file=stream)
      return
    with contextlib.closing(Run(config, shards, kept, start, stream, available, capabilities)) as run:
      run.train()


class Run:
  """A run with all of its parts, built from its config.

  Args:
    config: What to do.
    shards: The clients.
    kept: Where checkpoints are.
    start: Where it begins.
    stream: Where to say how it goes.
    available: Who can be invited when; None: everyone, always.
    capabilities: The work of each client; None if all do the same.
  """

  def __init__(
    self,
    config: config_lib.Config,
    shards: client_shards.ClientShards,
    kept: checkpoints.Checkpoints,
    start: starting.Start,
    stream: TextIO,
    available: availability.Availability | None = None,
    capabilities: capabilities_lib.Capabilities | None = None,
  ) -> None:
    self._available, self._capabilities = available, capabilities
    self._config, self._shards, self._kept, self._start, self._stream = config, shards, kept, start, stream
    self._plan, self._seed, saved = start.history.current.plan, start.seed, start.saved
    self._learned = provenance.read(shards.manifest, shards.path)
    # What one looks at while training, and perhaps chooses by, should not be what the final figures are measured on.
    self._eval_split = 'validation' if shards.num_clients('validation') else 'test'
    self._baselines = baselines.Baselines(shards)
    self._eval_baselines = self._baselines.measure(self._eval_split)
    self._task = task = registry.choose(shards.schema, config.task)
    self._model_size = config.model_size or task.default_size
    build_model = functools.partial(task.build, shards.schema, self._model_size)
    self._model = functional_model.FunctionalModel(build_model, int(self._seed.stream('model').integers(2**31)))
    own_rounds = config.total_rounds - start.history.first_round + 1
    self._process = parts.build_learning_process(
      config, own_rounds, self._model, shards.schema, self._plan, self._seed, capabilities
    )
    self._clients_state = starting.open_client_state(config.output_dir, start, self._process.memory_size)
    self._runtime = parts.build_runtime(config, self._process.process, saved)
    self._num_weights = sum(weight.size for weight in self._model.initial_weights)
    self._workers, self._on_device = workers.Workers(), parts.on_device(config)
    self._held_out = held_out.HeldOut(self._model, shards, self._workers, task.metrics, self._on_device)
    classes = capabilities.names if capabilities else ()
    self._rows = (saved.rows if saved else metrics.Rows()).with_columns(classes, self._on_device is not None)
    self._begun: list[np.ndarray] = []  # The weights that this session began with.
    self._releases = releasing.Releases(
      config, shards.schema, self._model_size, self._learned, self._process.update_size, task.name, self._on_device
    )

  def train(self) -> None:
    """Runs the missing rounds, then writes the figures and the report."""
    start = self._go_on(self._start.saved) if self._start.saved else None
    last_round = start.round_number if start else -1
    self._begun = _weights(start.state) if start else []
    promise = ledger.promise(self._history(self._config.total_rounds).accounted, self._learned)
    task, sizes = self._task.name, (self._num_weights, self._process.update_size)
    lines = [
      *announcement.describe(self._config, self._start, last_round, task, *sizes, self._on_device),
      f'Privacy: {promise}',
      *announcement.describe_evaluation(
        self._config, self._shards, self._eval_split, self._eval_baselines, self._on_device
      ),
      self._runtime.choice,
    ]
    print(*filter(None, lines), sep='\n', file=self._stream, flush=True)
    log = metrics.MetricsLog(self._config.output_dir, self._rows)
    shown = progress.Progress(
      self._stream,
      max(last_round, 0) + 1,
      self._config.total_rounds,
      self._plan.clients_per_round,
      self._eval_baselines.in_short,
    )
    shown.update(self._rows)
    with contextlib.closing(log), contextlib.closing(shown):
      state = self._rounds(log, shown).run(start)
    self._write_figures(state)
    for line in divergence.describe_standstill(
      self._rows, last_round, self._begun, _weights(state), self._plan.clip_norm
    ):
      print(line, file=self._stream)
    print(f'Report: {report.write_report(self._config.output_dir)}', file=self._stream)

  def _go_on(self, saved: program_state.ProgramState) -> program_state.ProgramState:
    """Returns the state to go on from, with its model released."""
    initial = self._runtime.initialize()
    if self._start.is_restarted:
      is_branch = saved.history.run[0] != self._start.history.run[0]
      begun = saved.branched(initial) if is_branch else saved.restarted(initial)
      saved = dataclasses.replace(begun, seed=self._seed, history=self._start.history)
      self._kept.save(saved)  # First of all: no round may run twice with the new secret either.
    else:
      saved = saved.shaped_like(initial)
    history = self._history(saved.round_number)
    if not self._releases.are_of(history):
      self._releases.write(history, _weights(saved.state))
    return saved

  def close(self) -> None:
    """Ends the runtime and the threads."""
    self._runtime.close()
    self._workers.close()
    if self._clients_state:
      self._clients_state.close()

  def _rounds(self, log: metrics.MetricsLog, shown: progress.Progress) -> loop.Rounds:
    config = self._config
    source = parts.build_source(config, self._shards, self._seed, self._clients_state, self._capabilities)
    client_ids, first_round = self._shards.clients('train').client_ids, self._start.history.current.first_round
    noise = round_noise.RoundNoise(self._plan, self._process.update_size, self._seed, first_round)
    drawn = cohorts.Cohorts(self._plan, self._seed, client_ids, first_round, self._available)
    skipped = skipped_clients.SkippedClients(self._shards, config.on_client_error == 'skip', shown.say)
    said = self._runtime.choice  # Which was announced.

    def save(round_number: int, state: Any, rows: Sequence[metrics.RoundMetrics]) -> None:
      nonlocal said
      self._save(round_number, state, rows)
      log.add(rows)
      skipped.tell()
      if said != self._runtime.choice:
        said = self._runtime.choice
        shown.say(said)
      shown.update(rows)

    return loop.Rounds(
      runtime=self._runtime,
      cohort=lambda number: source.cohort(number, drawn.draw(number)),
      add_noise=noise.add,
      check=self._build_check(skipped),
      measure=self._measure,
      tick=shown.tick,
      save=save,
      rounds_per_eval=config.rounds_per_eval,
      rounds_per_checkpoint=config.rounds_per_checkpoint,
      total_rounds=config.total_rounds,
    )

  def _measure(
    self, round_number: int, result: runtime_lib.RoundResult, is_evaluated: bool, is_saved: bool
  ) -> metrics.RoundMetrics:
    row = metrics.RoundMetrics(round_number)
    if result.metrics is not None:
      row = metrics.of_round(round_number, result, self._plan.clip_norm, self._capabilities)
      row.bytes_up_per_client = self._plan.update_bytes(self._process.update_size) + 4 * self._process.upload_numbers
      row.bytes_down_per_client = 4 * (self._num_weights + self._process.download_numbers)
      # Working it out takes longer than many a round.
      row.epsilon = segments_lib.epsilon_of(self._history(round_number).accounted) if is_evaluated or is_saved else None
    if is_evaluated:
      self._held_out.measure(self._eval_split, _weights(result.state), row)
    return row

  def _build_check(
    self, skipped: skipped_clients.SkippedClients
  ) -> Callable[[int, Any, runtime_lib.RoundResult], None]:
    def check(round_number: int, state: Any, result: runtime_lib.RoundResult) -> None:
      divergence.check(round_number, _weights(state), _weights(result.state), result.skipped)
      if result.skipped:
        skipped.take(result.skipped)
      if self._clients_state and result.memory is not None:
        self._clients_state.update(round_number, result.memory)

    return check

  def _history(self, round_number: int) -> history_lib.History:
    return self._start.history.after(round_number)

  def _save(self, round_number: int, state: Any, rows: Sequence[metrics.RoundMetrics]) -> None:
    """Makes a round durable, and only then releases its model."""
    history = self._history(round_number)
    if self._clients_state:
      self._clients_state.save(round_number, self._kept.oldest())
    self._kept.save(
      program_state.ProgramState(
        round_number, self._seed, self._runtime.settled, state, history, self._rows.with_added(rows)
      )
    )
    self._releases.write(history, _weights(state))
    self._begun = self._begun or _weights(state)

  def _write_figures(self, state: Any) -> None:
    # What the ledger says of all rounds, and which model the figures are of.
    entries = reading.read_json(self._config.output_dir, reading.LEDGER)
    weights, tuning = _weights(state), parts.fine_tuning(self._config)
    test, tail = (self._held_out.evaluate(split, weights) for split in ('test', 'tail'))
    found = {
      'task': self._task.name,
      **figures.of_data(self._shards, self._plan, self._eval_split),
      **figures.of_evaluation(test, tail, self._baselines.measure('test'), self._eval_baselines),
      **figures.of_rounds(self._config, self._rows),
      **figures.of_personalization(self._config.output_dir, tuning, weights, self._held_out),
      **{name: entries[name] for name in ('model', 'epsilon', 'training_epsilon', 'delta')},
      'weights': self._num_weights,
      'runtime': dict(self._runtime.settled),
    }
    run_directory.write_figures(self._config.output_dir, found)
    lines = [announcement.describe_accuracy(self._shards, test, self._on_device), *comparison.describe(found)]
    lines += personalization.describe(found)
    print(*lines, sep='\n', file=self._stream)


def _weights(state: Any) -> list[np.ndarray]:
  return list(state.global_model_weights.trainable)
