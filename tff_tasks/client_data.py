"""One client's examples as the client work wants them: stacked batches in an order from (seed, round, client)."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from pipelines import client_shards
from pipelines import schema as schema_lib
from tff_tasks import seeds


class ClientBatches(NamedTuple):
  """What one client trains on in one round.

  Attributes:
    features: `[steps, batch, *feature.shape]`.
    labels: Integers `[steps, batch, *label.shape]`; `IGNORED_LABEL` in what only fills a batch up. A batch of fillers
      has a gradient of zero, so that plain SGD does not move.
    rounding_seed: int32 `[2]`, for the stochastic rounding of the update.
  """

  features: np.ndarray
  labels: np.ndarray
  rounding_seed: np.ndarray


# Reads a client: called by whoever trains it, on the thread that does.
LoadClient = Callable[[], ClientBatches]


@dataclasses.dataclass(frozen=True)
class ClientDataSource:
  """Draws and stacks the examples of the clients of a round.

  Attributes:
    shards: Where the clients are.
    batch_size: Examples a step.
    epochs: Passes over the drawn examples, each in an order of its own.
    max_examples: The most examples a client uses in one round, drawn anew each round.
    seed: The seed of the run.
  """

  shards: client_shards.ClientShards
  batch_size: int
  epochs: int
  max_examples: int
  seed: seeds.Seed

  def round_clients(self, round_number: int, cohort: np.ndarray) -> list[LoadClient]:
    """Returns what loads each client of `cohort` (indices into the 'train' split), the largest first.

    Clients of a size can then train together, and no core waits for a large one at the end.
    """
    largest_first = np.argsort(-self._sizes[cohort], kind='stable')
    return [functools.partial(self.client_batches, round_number, int(cohort[place])) for place in largest_first]

  @functools.cached_property
  def _sizes(self) -> np.ndarray:
    return self.shards.clients('train').examples

  def client_batches(self, round_number: int, client: int) -> ClientBatches:
    """Returns what the client trains on in this round: the same at every call."""
    features, labels = self.shards.read('train', client)
    stream = self.seed.stream('client', round_number, client)
    order = stream.permutation(len(labels))[: self.max_examples]
    epochs = [stream.permutation(order) for _ in range(self.epochs)]
    rounding_seed = stream.integers(0, 2**31, size=2, dtype=np.int32)
    schema = self.shards.schema
    return ClientBatches(
        self._stack(features, epochs, 0, schema.feature),
        self._stack(labels, epochs, schema_lib.IGNORED_LABEL, schema.label),
        rounding_seed,
    )

  def _stack(
      self, examples: np.ndarray, epochs: Sequence[np.ndarray], filler: int, feature: schema_lib.Feature
  ) -> np.ndarray:
    """Cuts the examples into batches, epoch after epoch, filling up the last batch of each.

    The number of batches is rounded up to a power of two, so that the number of shapes to compile for stays small.
    """
    room = -(-len(epochs[0]) // self.batch_size) * self.batch_size
    steps = _next_power_of_two(len(epochs) * room // self.batch_size)
    stacked = np.empty((steps * self.batch_size, *feature.shape), examples.dtype)
    for number, order in enumerate(epochs):
      start = number * room
      np.take(examples, order, axis=0, out=stacked[start : start + len(order)], mode='clip')
      stacked[start + len(order) : start + room] = filler
    stacked[len(epochs) * room :] = filler
    return stacked.reshape(steps, self.batch_size, *feature.shape)


def _next_power_of_two(count: int) -> int:
  return 1 << max(count - 1, 0).bit_length()
