"""Reports the clients that a round skipped, or ends the run because of them."""

from collections.abc import Callable, Sequence

from contracts import client_shards
from tff_tasks.population import client_data

_MOST_NAMED = 3  # In the error that ends a run.
_MOST_TOLD = 10  # In a run that goes on.
_REPAIR = 'repeat the command when that is repaired, or with --on_client_error=skip to skip such clients'


class SkippedClients:
  """Reports clients by their hashed id, each once, or raises.

  Args:
    shards: Where the clients are.
    is_skipped: Whether the run goes on without them.
    say: Takes a line of text.
    repair: What to do where the run does not go on without them.
    more: What to say of those that are not named.
  """

  def __init__(
    self,
    shards: client_shards.ClientShards,
    is_skipped: bool,
    say: Callable[[str], None],
    repair: str = _REPAIR,
    more: str = 'More clients are skipped; metrics.csv counts them.',
  ) -> None:
    self._shards, self._is_skipped, self._say = shards, is_skipped, say
    self._repair, self._more = repair, more
    self._told: set[int] = set()
    self._lines: list[str] = []

  def take(self, errors: Sequence[client_data.ClientError]) -> None:
    """Takes the clients that one round skipped; `tell` reports them.

    Raises:
      ValueError: If the run is not to go on without them.
    """
    if not self._is_skipped:
      raise ValueError(self._refusal(errors))
    for error in errors:
      if error.client not in self._told and len(self._told) <= _MOST_TOLD:
        self._lines.append(f'Skipped {self._describe(error)}' if len(self._told) < _MOST_TOLD else self._more)
        self._told.add(error.client)

  def tell(self) -> None:
    """Reports the clients that were taken; their rounds have to have a checkpoint on the disk."""
    for line in self._lines:
      self._say(line)
    self._lines.clear()

  def _refusal(self, errors: Sequence[client_data.ClientError]) -> str:
    named = '; '.join(self._describe(error).rstrip('.') for error in errors[:_MOST_NAMED])
    more = f'; and {len(errors) - _MOST_NAMED:,} more' if len(errors) > _MOST_NAMED else ''
    return (
      f'Expected every client of a round to take part, found {len(errors):,} that cannot: {named}{more}; '
      f'{self._repair}.'
    )

  def _describe(self, error: client_data.ClientError) -> str:
    return f'client {self._shards.client_id("train", error.client)}: {error.reason}'
