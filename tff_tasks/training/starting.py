"""Where a run begins: with its first round, after its last checkpoint, or after the last round of another run."""

from collections.abc import Callable, Sequence
import contextlib
import dataclasses
import os
from typing import NamedTuple

from contracts import run_directory as reading
from tff_tasks import config as config_lib
from tff_tasks.population import client_state
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.privacy import segments as segments_lib
from tff_tasks.training import checkpoints
from tff_tasks.training import history as history_lib
from tff_tasks.training import parts
from tff_tasks.training import program_state
from tff_tasks.training import run_directory

# Of reading the last checkpoint of a run that may be at work.
_ATTEMPTS = 5


class Start(NamedTuple):
  """Where a run begins.

  Attributes:
    history: What the run is, its current segment ending with the round that it begins after.
    seed: The secret that its rounds use.
    saved: What it goes on from, or None to begin with the initial model.
    is_restarted: Whether `seed` is not the one that `saved` was made with.
    branched_from: The round and the run directory that the run branches from now; empty for any other start.
    note: What a person should know of it; may be empty.
  """

  history: history_lib.History
  seed: seeds.Seed
  saved: program_state.ProgramState | None = None
  is_restarted: bool = False
  branched_from: str = ''
  note: str = ''


def find(
  config: config_lib.Config,
  flagfile: str,
  data: str,
  default_size: int,
  build_plan: Callable[..., plan_lib.PrivacyPlan],
  saved: program_state.ProgramState | None,
) -> Start:
  """Returns where the run of the config begins.

  Args:
    config: What to do.
    flagfile: The config as flags.
    data: The fingerprint of the data set.
    default_size: The model size of a run that was given none.
    build_plan: Returns the plan of so many `rounds` that follow on the segments `before`.
    saved: The last checkpoint in the run directory.

  Raises:
    ValueError: If that directory has another run, or the run to branch from is not one that can be continued.
  """

  def ask(before: Sequence[segments_lib.Segment], first_round: int) -> history_lib.History:
    plan = build_plan(before=before, rounds=config.total_rounds - first_round + 1)
    return history_lib.begin(flagfile, data, config.total_rounds, plan)

  if saved:
    return _resume(config, saved, ask)
  run_directory.check_new(config.output_dir)
  if config.branch_from:
    return _branch(config, data, default_size, ask)
  return Start(ask((), 1), parts.build_seed(config))


def open_client_state(output_dir: str, start: Start, size: int) -> client_state.ClientState | None:
  """Returns what clients had at the checkpoint that the run goes on from; nothing in a run or branch that begins.

  Args:
    output_dir: The run directory.
    start: Where the run begins.
    size: Numbers that a client keeps; 0: there is no state.

  Raises:
    ValueError: If the state is not the one of that checkpoint.
  """
  if not size:
    return None
  saved, (run_id, _) = start.saved, start.history.run
  is_new = saved is None or saved.history.run[0] != run_id
  path = os.path.join(output_dir, reading.CLIENT_STATE)
  return client_state.ClientState(path, size, run_id, saved.round_number if saved else 0, is_new)


_Ask = Callable[[Sequence[segments_lib.Segment], int], history_lib.History]


def _resume(config: config_lib.Config, saved: program_state.ProgramState, ask: _Ask) -> Start:
  path, history, last_round = config.output_dir, saved.history, saved.round_number
  asked = ask(history.accounted[:-1], history.current.first_round)
  run_directory.check_same_run(path, saved, asked)
  released_round = run_directory.released_round(path, history)
  if released_round <= last_round or config.seed is not None:  # A known seed promises nothing.
    resumed = dataclasses.replace(history, flags=asked.flags, total_rounds=asked.total_rounds)
    return Start(resumed, saved.seed, saved)
  history = history.with_lost(released_round)
  run_id, attempt = history.run
  again = ask(history.accounted, last_round + 1).with_current(run_id=run_id, attempt=attempt + 1)
  return Start(
    history.followed_by(again, last_round),
    parts.build_seed(config),
    saved,
    True,
    '',
    f'Rounds {last_round + 1} to {released_round} were released before their checkpoint was lost: they are run again '
    'with fresh noise, and both count.',
  )


def _branch(config: config_lib.Config, data: str, default_size: int, ask: _Ask) -> Start:
  path = config.branch_from or ''
  parent = _load_parent(path)
  if not parent:
    raise ValueError(f'Expected the checkpoints of a run in --branch_from={path}, found none: name a run directory.')
  _check_branch(path, parent, config, data, default_size)
  last_round = parent.round_number
  history = parent.history.with_lost(run_directory.released_round(path, parent.history))
  new = ask(history.accounted, last_round + 1)
  return Start(
    # What the parent's runtime has settled is not for this one.
    history.followed_by(new, last_round),
    parts.build_seed(config),
    dataclasses.replace(parent, settled={}),
    True,
    f'round {last_round} of {path}',
    'The rounds of both runs count. What optimizer and algorithm keep starts anew.',
  )


def _check_branch(
  path: str, parent: program_state.ProgramState, config: config_lib.Config, data: str, default_size: int
) -> None:
  """Checks what has to be as in the run to branch from, and names all that is not.

  Raises:
    ValueError: If something is not.
  """
  flags, last_round = parent.history.flags, parent.round_number
  size, asked_size = flags.get(run_directory.SIZE), f'{run_directory.SIZE}={config.model_size or default_size}'
  size = size or f'{run_directory.SIZE}={default_size}'
  wrong = []
  if parent.history.data != data:  # What the rounds of that run cost other users is not known.
    wrong.append((f'its data ({flags.get("--shards_dir", "path unknown")})', f'other data in {config.shards_dir}'))
  if size != asked_size:
    wrong.append((size, asked_size))
  task, asked_task = flags.get(run_directory.TASK), f'{run_directory.TASK}={config.task}' if config.task else None
  if task != asked_task:
    wrong.append((task or f'no {run_directory.TASK}', asked_task or f'no {run_directory.TASK}'))
  if last_round >= config.total_rounds:
    wrong.append((f'--total_rounds above {last_round}', f'--total_rounds={config.total_rounds}'))
  if wrong:
    expected, found = (', '.join(side) for side in zip(*wrong, strict=True))
    raise ValueError(
      f'Expected for a branch of the run in {path}: {expected}; found {found}: type what was expected; other flags '
      'may change.'
    )


def _load_parent(path: str) -> program_state.ProgramState | None:
  """Returns the last checkpoint of a run that may be at work: it removes the older ones as it writes others."""
  for _ in range(_ATTEMPTS):
    with contextlib.suppress(FileNotFoundError):
      return checkpoints.load_last(os.path.join(path, reading.CHECKPOINTS))
  raise ValueError(
    f'Expected to read the last checkpoint of the run in --branch_from={path}, found it removed {_ATTEMPTS} times: '
    'a trainer is at work there; repeat the command when it has ended.'
  )
