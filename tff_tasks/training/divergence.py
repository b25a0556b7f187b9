"""Says why a model diverges or does not change: steps of the server, clients, a small clip norm, or empty rounds."""

from collections.abc import Iterable, Sequence

import numpy as np

from tff_tasks.population import client_data
from tff_tasks.runtime import runtime
from tff_tasks.training import metrics

# No model of ours has weights of this size, and with them the updates of honest clients overflow.
_TOO_LARGE = 1e6
_LARGE = 1e3
# Weights that moved less than this, relative to the largest of them, have moved by rounding errors.
_STANDSTILL = 1e-6
_REMEDY = (
  'the last checkpoint is good, the steps of the server are too large; train in a new --output_dir with a lower '
  '--server_learning_rate, and with a --clip_norm if there is none'
)


def check(
  round_number: int,
  before: Sequence[np.ndarray],
  after: Sequence[np.ndarray],
  errors: Sequence[client_data.ClientError],
  remedy: str = _REMEDY,
) -> None:
  """Looks at the model after a round.

  Args:
    round_number: The round.
    before: The weights before it.
    after: The weights after it.
    errors: The clients that took no part.
    remedy: What to do, for the message.

  Raises:
    ValueError: If the server made the model useless.
  """
  # The round has no checkpoint: it may run again with the same noise, so no figure of its model may be seen.
  if not _largest(after) < _TOO_LARGE:  # NaN is not.
    raise ValueError(
      f'Expected finite weights below {_TOO_LARGE:g} after round {round_number}, found others: {remedy}.'
    )
  if any(error.reason == runtime.NOT_FINITE for error in errors) and _largest(before) > _LARGE:
    raise ValueError(
      f'Expected finite updates in round {round_number}, found others, of a model whose weights have grown above '
      f'{_LARGE:g}: {remedy}.'
    )


def describe_standstill(
  rows: Iterable[metrics.RoundMetrics],
  last_round: int,
  before: Sequence[np.ndarray],
  after: Sequence[np.ndarray],
  clip_norm: float | None,
) -> list[str]:
  """Returns lines that say why rounds did not change the model; empty if they did.

  Args:
    rows: The figures of the run.
    last_round: The last round that was run before.
    before: The weights after it.
    after: The weights now.
    clip_norm: The clip.
  """
  run_now = [row for row in rows if row.round > max(last_round, 0)]
  empty = sum(not row.clients for row in run_now)
  lines = []
  if empty:
    lines.append(
      f'{empty:,} of {len(run_now):,} rounds had no client: no coin fell for one, or all were skipped. '
      'A larger --clients_per_round makes that rare.'
    )
  if run_now and all(row.clients and row.loss is None for row in run_now):
    lines.append('No client of any round had an example that counts: the model has learned nothing.')
  elif empty < len(run_now) and _has_not_moved(before, after):
    longest = max((row.update_norm_max or 0.0 for row in run_now), default=0.0)
    lines.append(
      'The rounds have not changed the model: the steps of the server are too small for it'
      + (f'. --clip_norm={clip_norm:g} cut updates of norm up to {longest:.2g}: raise it.' if clip_norm else '.')
    )
  return lines


def _has_not_moved(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> bool:
  moved = _largest([new - old for old, new in zip(before, after, strict=True)])
  return moved <= _STANDSTILL * _largest(before)


def _largest(weights: Sequence[np.ndarray]) -> float:
  """Returns the largest absolute weight, NaN if one is."""
  return float(np.max([np.maximum(weight.max(), -weight.min()) for weight in weights if weight.size], initial=0.0))
