"""The run directory: what a run writes, and whether the run that is asked for is the one that is there."""

from collections.abc import Iterator, Mapping
import contextlib
import errno
import fcntl
import math
import os
import shutil
from typing import Any

from common import files
from common import sealed_json
from contracts import formats
from contracts import personalization
from contracts import released_model
from contracts import run_directory as reading
from reporting import report
from tff_tasks.training import history as history_lib
from tff_tasks.training import metrics
from tff_tasks.training import program_state

CONFIG_NAME = reading.CONFIG_NAME
# Flags that change no bit of the weights. A run that --on_client_error=stop has ended goes on with the other value.
_FREE = (
  '--output_dir',
  '--shards_dir',
  '--rounds_per_checkpoint',
  '--rounds_per_eval',
  '--on_client_error',
  '--availability',
  '--capabilities',
  '--personalize_epochs',
  '--personalize_learning_rate',
)
# Flags that earlier versions did not have, with what they did.
_ADDED = {
  '--mechanism': '--mechanism=gaussian',
  '--mechanism_options': '--mechanism_options=',
  '--compression': '--compression=quantization',
  '--compression_options': '--compression_options=',
  '--runtime_options': '--runtime_options=',
}
# Flags that had another value in earlier versions; the runtime's choice is in the checkpoint.
_RENAMED = {'--xla=measured': '--xla=auto'}
# The noise that follows from them is compared instead, as a part of the plan.
_NOISE = ('--noise_multiplier', '--target_epsilon')
SIZE, TASK, _LENGTH, _BRANCH = '--model_size', '--task', '--total_rounds', '--branch_from'
_SCHEDULES = ('--server_learning_rate_schedule=linear', '--client_learning_rate_schedule=linear')

# What a run has written before its first checkpoint.
_BEGINNINGS = ('.lock', CONFIG_NAME, reading.METRICS, f'{reading.EVENTS}/', reading.CLIENT_STATE)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def hold(path: str) -> Iterator[None]:
  """Makes the directory and keeps other trainers out of it.

  If it made the directory, an error before the first checkpoint removes it again.

  Raises:
    ValueError: If it cannot be written, then or later, or another trainer is at work in it.
    OSError: If what is done meanwhile raises one that is about other files.
  """
  is_new = not os.path.exists(path)
  with contextlib.ExitStack() as stack:
    try:
      os.makedirs(path, exist_ok=True)
      lock = stack.enter_context(open(os.path.join(path, '.lock'), 'w', encoding='utf-8'))
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
      reading.make(path)
    except BlockingIOError as error:
      raise ValueError(
        f'Expected no other trainer at work in {path}, found one: wait for it, or choose another --output_dir.'
      ) from error
    except OSError as error:
      raise _unwritable(path, error) from error
    try:
      yield
    except BaseException as error:
      if is_new:
        _remove_beginnings(path)
      if isinstance(error, OSError) and _is_about(path, error):
        raise _unwritable(path, error) from error
      raise


def _remove_beginnings(path: str) -> None:
  """Removes the directory of a run, unless something in it is of use: a checkpoint, or a file of somebody else."""
  found = [os.path.relpath(os.path.join(folder, name), path) for folder, _, names in os.walk(path) for name in names]
  if all(name.startswith(_BEGINNINGS) for name in found):
    shutil.rmtree(path, ignore_errors=True)


def _unwritable(path: str, error: OSError) -> ValueError:
  return ValueError(
    f'Expected a run directory that can be written at {path}, found: {error.strerror}; free disk space or change '
    'its permissions and repeat the command, or choose another --output_dir.'
  )


def _is_about(path: str, error: OSError) -> bool:
  """Returns whether an error is about the run directory: of a full disk, Python does not say which file it is about."""
  if error.filename is None:
    return error.errno in _FULL
  folder, filename = os.path.abspath(path), os.path.abspath(os.fsdecode(error.filename))
  return os.path.commonpath([folder, filename]) == folder


def write_config(path: str, history: history_lib.History) -> None:
  """Writes the flags of the run, its data and its id, as a flag file."""
  lines = [*history.flags.values(), f'{reading.DATA}{history.data}', f'{reading.RUN}{history.run[0]}']
  files.write_atomically(os.path.join(path, CONFIG_NAME), '\n'.join(lines) + '\n')


def check_new(path: str) -> None:
  """Refuses a directory that has a model and no checkpoints.

  Raises:
    ValueError: If it does.
  """
  if os.path.exists(os.path.join(path, reading.MODEL)):
    raise ValueError(
      f'Expected the checkpoints of the run whose model is in {path}, found none: its privacy is spent and its noise '
      'unknown; choose another --output_dir.'
    )


def check_same_run(path: str, saved: program_state.ProgramState, asked: history_lib.History) -> None:
  """Checks that the run that is asked for is the one whose checkpoint is in the directory.

  Raises:
    ValueError: If it is another one.
  """
  found = saved.history
  if found.data != asked.data:
    raise ValueError(
      f'Expected the data that the run in {path} began with, found other shards: choose another --output_dir.'
    )
  last_round = max(saved.round_number, released_round(path, found))
  _check_flags(path, found, asked, last_round)
  _check_length(path, saved, asked)
  _check_home(path, found)


def _check_flags(path: str, found: history_lib.History, asked: history_lib.History, last_round: int) -> None:
  stood = {**{name: _ADDED[name] for name in _ADDED if name in asked.flags}, **found.flags}
  names = (stood.keys() | asked.flags.keys()) - {*_FREE, *_NOISE, _LENGTH, _BRANCH}
  changed = sorted(name for name in names if _value(stood, name) != _value(asked.flags, name))
  if changed:
    before, now = (', '.join(flags.get(name, f'no {name}') for name in changed) for flags in (stood, asked.flags))
    # Weights of one model cannot become those of another.
    remedy = _branch_remedy(path) if not {SIZE, TASK} & {*changed} else 'choose another --output_dir to start a new run'
    remedy = remedy if last_round else f'delete {path} to start anew: no round of it is done'
    raise ValueError(
      f'Expected the flags of the run in {path} ({before}), found {now}: type the same flags to resume this run; '
      f'or {remedy}.'
    )
  if _BRANCH in asked.flags and not _is_parent(asked.flags[_BRANCH], found):
    began = 'branched from another one' if found.parents else 'began by itself'
    raise ValueError(
      f'Expected a new run directory for {asked.flags[_BRANCH]}, found a run in {path} that {began}: choose another '
      '--output_dir, or leave --branch_from out to resume that run.'
    )


def _value(flags: Mapping[str, str], name: str) -> str | None:
  """Returns a flag under its name of today; None if it is not set."""
  flag = flags.get(name)
  return _RENAMED.get(flag, flag) if flag else None


def _is_parent(flag: str, found: history_lib.History) -> bool:
  """Returns whether a flag names the run that another branched from; of one that is gone, only its path is known."""
  run_id = reading.read_run(flag.removeprefix(f'{_BRANCH}='))
  return run_id in found.parents[-1:] or (run_id is None and flag == found.flags.get(_BRANCH))


def _check_length(path: str, saved: program_state.ProgramState, asked: history_lib.History) -> None:
  stood, typed = (f'--total_rounds={history.total_rounds}' for history in (saved.history, asked))
  if saved.round_number > asked.total_rounds:
    raise ValueError(
      f'Expected --total_rounds of at least {saved.round_number}, which the run in {path} has finished, found '
      f'{asked.total_rounds}: type as many or more.'
    )
  if stood != typed and set(_SCHEDULES) & set(asked.flags.values()):
    raise ValueError(
      f'Expected {stood}, from which the linear schedule of learning rates in {path} was worked out, found '
      f'{typed}: type the same to resume this run; or {_branch_remedy(path)}.'
    )
  stood_plan, asked_plan = saved.history.current.plan, asked.current.plan
  _check_file(path, '--availability', stood_plan.availability, asked_plan.availability)
  _check_file(path, '--capabilities', stood_plan.capabilities, asked_plan.capabilities)
  found_noise, asked_noise = (history.current.plan.noise_multiplier for history in (saved.history, asked))
  if found_noise != asked_noise:
    raise ValueError(
      f'Expected the noise of the run in {path}, which has a noise multiplier of {found_noise:g} for {stood}, found '
      f'{asked_noise:g} for {typed}: add --noise_multiplier={found_noise!r} --target_epsilon=0 to go on with it, '
      f'which may cost more than was planned; or {_branch_remedy(path)}.'
    )
  if saved.history.current.plan != asked.current.plan:
    raise ValueError(
      f'Expected the privacy plan of the run in {path}, found {asked.current.plan}: {_branch_remedy(path)}.'
    )


def _check_file(path: str, flag: str, stood: str, typed: str) -> None:
  """Refuses another value of a flag that names a file: it is compared by its content, wherever the file is."""
  if stood != typed:
    remedy = 'give the same file' if stood else f'leave {flag} out'
    raise ValueError(
      f'Expected the {flag} that the run in {path} began with ({stood or "none"}), found {typed or "none"}: '
      f'{remedy} to resume this run; or {_branch_remedy(path)}.'
    )


def _branch_remedy(path: str) -> str:
  return f'add --branch_from={path} and another --output_dir to start a new run with its last model'


def _check_home(path: str, history: history_lib.History) -> None:
  """Refuses checkpoints that were put where another run is, or none.

  Two that go on from one checkpoint use the same noise: the difference of their models would have none.
  """
  # The flag file has no checksum, and is written again: it decides only where nothing else does.
  found = {run_id for run_id, *_ in released_model.find_rounds(path)} or {reading.read_run(path)} - {None}
  if not found:
    raise ValueError(
      f'Expected {CONFIG_NAME} of the run whose checkpoints are in {path}, found none: copy the whole run directory '
      f'here; or {_branch_remedy(path)}.'
    )
  if found != {history.run[0]}:
    raise ValueError(
      f'Expected checkpoints of the run that is in {path}, found those of another run: replace them with '
      'its own, or choose another --output_dir.'
    )


def released_round(path: str, history: history_lib.History) -> int:
  """Returns the last round of the current attempt whose model or figures are out, -1 if none are.

  Raises:
    ValueError: If what is out is of a later attempt.
  """
  found = released_model.find_rounds(path)
  _, attempt = history.run
  if any(other > attempt for _, other, _ in found):
    raise ValueError(
      f'Expected the last checkpoints of the run in {path}, found older ones, of before it ran rounds again: '
      'replace them with the last ones, or choose another --output_dir.'
    )
  if found:
    return max((round_number for _, other, round_number in found if other == attempt), default=-1)
  # Both are damaged or gone.
  return metrics.last_round(path, history.total_rounds)


def is_complete(
  path: str, saved: program_state.ProgramState, fine_tuning: personalization.FineTuning | None = None
) -> bool:
  """Returns whether everything that a finished run leaves for others is there, whole, and of its last round.

  Args:
    path: The run directory.
    saved: The checkpoint of the last round.
    fine_tuning: How the accuracy before and after fine-tuning has to have been measured; None if that does not matter.
  """
  try:
    model = released_model.load(path)
    figures = reading.read_figures(path)
    with open(os.path.join(path, reading.METRICS), encoding='utf-8') as file:
      rows = file.read()
    personalization.read(path, figures)
  except (OSError, ValueError):
    return False
  return (
    (model.run, model.round_number) == (saved.history.run, saved.round_number)
    and figures.get('rounds') == saved.round_number
    and sealed_json.CHECKSUM in figures
    and rows == saved.rows.to_csv()
    and (fine_tuning is None or personalization.is_of(figures, fine_tuning))
    and report.is_whole(path)
  )


def write_figures(path: str, value: dict[str, Any]) -> None:
  """Writes the final figures of a run; one that is not finite becomes null, as JSON has no NaN."""
  content = {formats.KEY: formats.FIGURES, **finite(value)}
  files.write_atomically(os.path.join(path, reading.FIGURES), sealed_json.dumps(content))


def finite(value: dict[str, Any]) -> dict[str, Any]:
  """Returns an object with null for each figure that is not finite, as JSON has no NaN."""
  return {key: None if isinstance(item, float) and not math.isfinite(item) else item for key, item in value.items()}
