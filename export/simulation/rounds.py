"""Rounds of a run whose clients are devices: local steps in LiteRT, everything after them as in training.

The cohorts, the order of examples, the noise and the initial model are those of the run, from the secret of its
checkpoint. What comes out has the noise of the run on nearly the sum of the run, so it is compared and never released.
"""

import contextlib
import dataclasses
import functools
import os
import time
from typing import Any, NamedTuple, TextIO

import numpy as np

from contracts import client_shards
from contracts import run_directory
from export.simulation import device_pool
from models import functional_model
from models import registry
from tff_tasks import config as config_lib
from tff_tasks.aggregation import round_noise
from tff_tasks.algorithms import schedules
from tff_tasks.algorithms import trained_elsewhere
from tff_tasks.population import availability
from tff_tasks.population import capabilities as capabilities_lib
from tff_tasks.population import client_data
from tff_tasks.population import cohorts
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.runtime import registry as runtimes
from tff_tasks.runtime import runtime as runtime_lib
from tff_tasks.training import checkpoints
from tff_tasks.training import divergence
from tff_tasks.training import parts
from tff_tasks.training import program_state
from tff_tasks.training import skipped_clients

_REPAIR = 'repeat the command when that is repaired, or with a run that was trained with --on_client_error=skip'
_DIVERGED = 'devices took other steps than clients of the run; train a new run with this version and export it'
_LINES = 10  # That say how it goes, more or less.
_ALGORITHM = f'{trained_elsewhere.__name__}:{trained_elsewhere.TrainedElsewhere.__name__}'


class Result(NamedTuple):
  """What simulated rounds give.

  Attributes:
    weights: After the last round.
    initial: Before the first.
    is_rounded: Whether updates were rounded to a grid.
    clients: How many devices took part, over all rounds.
    seconds: That the rounds took.
  """

  weights: list[np.ndarray]
  initial: list[np.ndarray]
  is_rounded: bool
  clients: int
  seconds: float


def load(run_dir: str) -> tuple[program_state.ProgramState, config_lib.Config]:
  """Returns the last checkpoint of a run, and its config.

  Raises:
    ValueError: If there is none, or devices cannot do what its clients did.
  """
  saved = checkpoints.load_last(os.path.join(run_dir, run_directory.CHECKPOINTS))
  if saved is None:
    raise ValueError(
      f'Expected a checkpoint in {run_dir}, whose secret draws the cohorts, found none: name the whole run directory.'
    )
  if len(saved.history.segments) > 1:
    raise ValueError(
      f'Expected a run whose rounds have one secret, found one in {run_dir} that branched from another or lost a '
      'checkpoint: train a new run.'
    )
  config = config_lib.read(saved.history.flags)
  _check(config)
  return saved, config


def _check(config: config_lib.Config) -> None:
  """Refuses what a training file cannot do: it has plain SGD.

  Raises:
    ValueError: If the config asks for it.
  """
  asked = {
    '--algorithm=fed_avg': config.algorithm == 'fed_avg',
    '--client_optimizer=sgd': config.client_optimizer == 'sgd',
    'no --max_gradient_norm': config.max_gradient_norm is None,
  }
  missing = [name for name, is_so in asked.items() if not is_so]
  if missing:
    raise ValueError(
      f'Expected a run with {", ".join(missing)}, found another: a training file takes plain steps of SGD and keeps '
      'nothing from round to round; train a run with these flags.'
    )


class Simulation:
  """Rounds of a run on devices.

  Args:
    saved: The checkpoint of the run.
    config: Its config.
    shards: Its data.
    path: The training file.
    num_devices: Processes.

  Raises:
    ValueError: If the file takes too few examples a step, or a file that flags of the run name is another one by now.
    guard.Failed: If a device does not start.
  """

  def __init__(
    self,
    saved: program_state.ProgramState,
    config: config_lib.Config,
    shards: client_shards.ClientShards,
    path: str,
    num_devices: int,
  ) -> None:
    self._config, self._shards = config, shards
    self._seed, plan = saved.seed, saved.history.current.plan
    self._is_rounded = plan.upload is not None
    capabilities, available = _read_tables(config, shards, plan)
    task = registry.choose(shards.schema, config.task)
    size = config.model_size or task.default_size
    build_model = functools.partial(task.build, shards.schema, size)
    model = functional_model.FunctionalModel(build_model, int(self._seed.stream('model').integers(2**31)))
    num_weights = sum(weight.size for weight in model.initial_weights)
    with contextlib.ExitStack() as stack:
      self._devices = device_pool.DevicePool(
        path, num_devices, num_weights, config.client_epochs_per_round, config.client_batch_size
      )
      stack.callback(self._devices.close)
      source = parts.build_source(config, shards, self._seed, self._devices, capabilities)
      if self._devices.batch_size < source.batch_size:
        raise ValueError(
          f'Expected a training file for batches of at least {source.batch_size}, which clients of the run train on, '
          f'found one for {self._devices.batch_size} at {path}: export the run again.'
        )
      built = parts.build_learning_process(
        dataclasses.replace(config, algorithm=_ALGORITHM, algorithm_options=()),
        saved.history.total_rounds,
        model,
        shards.schema,
        plan,
        self._seed,
        capabilities,
      )
      options = [f'threads={num_devices}']
      self._runtime = runtimes.build_runtime('local', built.process, use_xla=False, options=options)
      stack.callback(self._runtime.close)
      stack.callback(self._devices.kill)  # First of all: the threads of the runtime may wait for them.
      self._noise = round_noise.RoundNoise(plan, built.update_size, self._seed)
      drawn = cohorts.Cohorts(plan, self._seed, shards.clients('train').client_ids, availability=available)
      self._source, self._cohorts, self._total_rounds = source, drawn, saved.history.total_rounds
      self._open = stack.pop_all()

  @property
  def devices(self) -> device_pool.DevicePool:
    return self._devices

  def run(self, rounds: int, stream: TextIO) -> Result:
    """Runs rounds from the first on.

    Args:
      rounds: How many.
      stream: Where to say how it goes.

    Raises:
      ValueError: If a client cannot take part, and the run does not skip such clients; or the model diverges.
      guard.Failed: If a device ends.
    """
    skips = self._config.on_client_error == 'skip'
    say = functools.partial(print, file=stream)
    skipped = skipped_clients.SkippedClients(self._shards, skips, say, repair=_REPAIR, more='More clients are skipped.')
    state, clients = self._runtime.initialize(), 0
    initial, started = _weights(state), time.monotonic()
    for round_number in range(1, rounds + 1):
      cohort = self._cohort(round_number)
      result = self._next(round_number, state, cohort)
      if result.skipped:
        skipped.take(result.skipped)
        skipped.tell()
      divergence.check(round_number, _weights(state), _weights(result.state), result.skipped, _DIVERGED)
      state, clients = result.state, clients + len(cohort) - len(result.skipped)
      if round_number % max(1, rounds // _LINES) == 0:
        seconds = time.monotonic() - started
        print(f'Round {round_number} of {rounds}: {clients:,} clients, {seconds:.1f} s', file=stream, flush=True)
    return Result(_weights(state), initial, self._is_rounded, clients, time.monotonic() - started)

  def close(self) -> None:
    """Ends the devices and the runtime."""
    self._open.close()

  def _cohort(self, round_number: int) -> client_data.Cohort:
    return self._source.cohort(round_number, self._cohorts.draw(round_number))

  def _next(self, round_number: int, state: Any, cohort: client_data.Cohort) -> runtime_lib.RoundResult:
    self._devices.begin_round(_weights(state), self._learning_rate(round_number))
    return self._runtime.next(self._noise.add(round_number, state), cohort)

  def _learning_rate(self, round_number: int) -> float:
    config = self._config
    schedule = config.client_learning_rate_schedule
    return float(schedules.learning_rate(config.client_learning_rate, schedule, round_number - 1, self._total_rounds))


def _read_tables(
  config: config_lib.Config, shards: client_shards.ClientShards, plan: plan_lib.PrivacyPlan
) -> tuple[capabilities_lib.Capabilities | None, availability.Availability | None]:
  """Returns the work of each client and who was available when, as the run had them.

  Raises:
    ValueError: If a file is missing, or says something else by now.
  """
  for name in ('capabilities', 'availability'):
    path = getattr(config, name)
    if path and not os.path.exists(path):
      raise _another(name, 'none', path)
  capabilities = capabilities_lib.read(
    config.capabilities, shards, config.client_epochs_per_round, config.client_batch_size
  )
  available = availability.read(config.availability, shards)
  if (capabilities.name if capabilities else '') != plan.capabilities:
    raise _another('capabilities', 'another', config.capabilities)
  if (available.name if available else '') != plan.availability:
    raise _another('availability', 'another', config.availability)
  return capabilities, available


def _another(name: str, found: str, path: str | None) -> ValueError:
  return ValueError(f'Expected the file of --{name} that the run had, found {found} at {path}: restore it.')


def _weights(state: Any) -> list[np.ndarray]:
  return [np.asarray(weight) for weight in state.global_model_weights.trainable]
