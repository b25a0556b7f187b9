"""One client's examples as the client work wants them: stacked batches in an order from (seed, round, client)."""

from collections.abc import Iterator
import dataclasses
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

  def round_batches(self, round_number: int, cohort: np.ndarray) -> Iterator[ClientBatches]:
    """Yields the batches of each client of `cohort` (indices into the 'train' split), one at a time."""
    for client in cohort:
      yield self.client_batches(round_number, int(client))

  def client_batches(self, round_number: int, client: int) -> ClientBatches:
    """Returns what the client trains on in this round: the same at every call."""
    features, labels = self.shards.read('train', client)
    stream = self.seed.stream('client', round_number, client)
    order = stream.permutation(len(labels))[: self.max_examples]
    epochs = [stream.permutation(order) for _ in range(self.epochs)]
    rounding_seed = stream.integers(0, 2**31, size=2, dtype=np.int32)
    schema = self.shards.schema
    return ClientBatches(
        np.concatenate([self._stack(features[epoch], 0, schema.feature) for epoch in epochs]),
        np.concatenate([self._stack(labels[epoch], schema_lib.IGNORED_LABEL, schema.label) for epoch in epochs]),
        rounding_seed,
    )

  def _stack(self, examples: np.ndarray, filler: int, feature: schema_lib.Feature) -> np.ndarray:
    """Cuts examples into batches, filling up the last one.

    The number of batches is rounded up to a power of two, so that the number of shapes to compile for stays small.
    """
    steps = _next_power_of_two(-(-len(examples) // self.batch_size))
    stacked = np.full((steps * self.batch_size, *feature.shape), filler, examples.dtype)
    stacked[: len(examples)] = examples
    return stacked.reshape(steps, self.batch_size, *feature.shape)


def _next_power_of_two(count: int) -> int:
  return 1 << max(count - 1, 0).bit_length()
