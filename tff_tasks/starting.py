"""Where a run begins: with its first round, at its last checkpoint, or where another run stands."""

from collections.abc import Callable, Sequence
import contextlib
import dataclasses
import os
from typing import NamedTuple

from tff_tasks import checkpoints
from tff_tasks import history as history_lib
from tff_tasks import parts
from tff_tasks import privacy
from tff_tasks import run_directory
from tff_tasks import seeds
from tff_tasks import settings as settings_lib

# Of reading the last checkpoint of a run that may be at work.
_ATTEMPTS = 5


class Start(NamedTuple):
  """Where a run begins.

  Attributes:
    history: What the run is, its current stretch ending at the round that it begins after.
    seed: The secret that its rounds use.
    saved: What it goes on from, or None to begin with the initial model.
    is_restarted: Whether `seed` is not the one that `saved` was made with.
    note: What a person should know of it; may be empty.
  """

  history: history_lib.History
  seed: seeds.Seed
  saved: checkpoints.ProgramState | None = None
  is_restarted: bool = False
  note: str = ''


def find(
    settings: settings_lib.Settings,
    flagfile: str,
    data: str,
    build_plan: Callable[..., privacy.PrivacyPlan],
    saved: checkpoints.ProgramState | None,
) -> Start:
  """Returns where the run of the settings begins.

  Args:
    settings: What to do.
    flagfile: The settings as flags.
    data: The fingerprint of the data set.
    build_plan: Returns the plan of so many `rounds` that follow on the segments `before`.
    saved: The last checkpoint in the run directory.

  Raises:
    ValueError: If that directory has another run, or the run to branch from is not one that can be continued.
  """

  def ask(before: Sequence[privacy.Segment], first_round: int) -> history_lib.History:
    plan = build_plan(before=before, rounds=settings.total_rounds - first_round + 1)
    return history_lib.begin(flagfile, data, settings.total_rounds, plan)

  if saved:
    return _resume(settings, saved, ask)
  run_directory.check_new(settings.output_dir)
  if settings.branch_from:
    return _branch(settings, data, ask)
  return Start(ask((), 1), parts.build_seed(settings))


_Ask = Callable[[Sequence[privacy.Segment], int], history_lib.History]


def _resume(settings: settings_lib.Settings, saved: checkpoints.ProgramState, ask: _Ask) -> Start:
  path, history, last_round = settings.output_dir, saved.history, saved.round_number
  before = history.stretches[:-1]
  asked = ask(history_lib.segments(before) if before else (), history.current.first_round)
  run_directory.check_same_run(path, saved, asked)
  released_round = run_directory.released_round(path, history)
  if released_round <= last_round or settings.seed is not None:  # A known seed promises nothing.
    resumed = dataclasses.replace(history, flags=asked.flags, total_rounds=asked.total_rounds)
    return Start(resumed, saved.seed, saved)
  history = history.with_lost(released_round)
  run_id, attempt = history.run
  again = ask(history_lib.segments(history.stretches), last_round + 1).with_current(run_id=run_id, attempt=attempt + 1)
  return Start(
      history.followed_by(again, last_round), parts.build_seed(settings), saved, True,
      f'Rounds {last_round + 1} to {released_round} were released before their checkpoint was lost: they are run again '
      'with fresh noise, and both count.',
  )  # fmt: skip


def _branch(settings: settings_lib.Settings, data: str, ask: _Ask) -> Start:
  path = settings.branch_from or ''
  parent = _load_parent(path)
  if not parent:
    raise ValueError(f'Expected the checkpoints of a run in --branch_from={path}, found none: name a run directory.')
  if parent.history.data != data:
    raise ValueError(
        f'Expected the data that the run in {path} began with, found other shards: pass the --shards_dir of that run; '
        'what the price of its rounds means for other users is not known.'
    )
  last_round = parent.round_number
  if last_round >= settings.total_rounds:
    raise ValueError(
        f'Expected --total_rounds above {last_round}, which the run in {path} has finished, found '
        f'{settings.total_rounds}: rounds are counted on from there.'
    )
  history = parent.history.with_lost(run_directory.released_round(path, parent.history))
  new = ask(history_lib.segments(history.stretches), last_round + 1)
  return Start(
      # How the parent's clients are compiled does not decide it for these.
      history.followed_by(new, last_round), parts.build_seed(settings), dataclasses.replace(parent, use_xla=None), True,
      f"Branched from round {last_round} of {path}: the rounds of both count. The server's optimizer starts anew.",
  )  # fmt: skip


def _load_parent(path: str) -> checkpoints.ProgramState | None:
  """Returns the last checkpoint of a run that may be at work: it removes the older ones as it writes others."""
  for _ in range(_ATTEMPTS):
    with contextlib.suppress(FileNotFoundError):
      return checkpoints.load_last(os.path.join(path, checkpoints.FOLDER))
  raise ValueError(
      f'Expected to read the last checkpoint of the run in --branch_from={path}, found it removed {_ATTEMPTS} times: '
      'a trainer is at work there; repeat the command when it has ended.'
  )
