"""What the clients of a round train on: datasets of one client, read from shards alone or in blocks of several."""

from collections.abc import Sequence
import dataclasses
import functools
import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from contracts import client_shards
from contracts import schema as schema_lib
from tff_tasks.population import capabilities as capabilities_lib
from tff_tasks.population import seeds

_SPLIT = 'train'
# Capacities are not smaller than this many examples or bytes unless no client needs as much: XLA compiles for each
# capacity anew, about a second, and unused capacity costs next to nothing.
_LEAST_EXAMPLES = 256
_LEAST_BYTES = 1 << 20


class ClientDataset(NamedTuple):
  """One client's examples, as stored, with the numbers that decide what happens to them in a round.

  In a block the features are those of all clients, each with the same capacity, and every other array has one more
  axis in front, of clients: to cut a client's features out would be to copy them.

  Attributes:
    features: `[at least capacity, *feature.shape]`; what is not the client's is never looked at.
    first: int32, where in the features the client's begin.
    index: int32, of the client in the training split.
    labels: Integers `[capacity, *label.shape]`, whole batches; what follows the client's never counts.
    memory: float32 `[size]`, what the client has kept from the last round that it took part in; zeros at first. Or what
      else `ClientDataSource.state` brings.
    num_examples: int32, how many there are; at most `capacity`.
    seeds: int32 `[2, 2]`: for the order of the examples, and for the stochastic rounding of the update.
    work: int32 `[2]`: the epochs and the batch size of the client's own; zeros where all clients have the same.
  """

  # In the order of their names, which is the one that TFF's server has them in, whatever the order here.
  features: Any
  first: Any
  index: Any
  labels: Any
  memory: Any
  num_examples: Any
  seeds: Any
  work: Any

  def of(self, number: int) -> 'ClientDataset':
    """Returns the dataset of one client of a block of arrays."""
    features, *others = self
    return ClientDataset(features, *(array[number, ...] for array in others))


class ClientError(NamedTuple):
  """Why a client could not take part in a round; `client` is its index in the training split."""

  client: int
  reason: str


class Memory(Protocol):
  """What clients bring to a round beside their examples: `client_state.ClientState` is what they have kept.

  Attributes:
    size: The float32 numbers of a client.
  """

  size: int

  def fill(self, clients: list[int], block: ClientDataset) -> None:
    """Writes the numbers of each client into its row of `block.memory`.

    Args:
      clients: Who fills the beginning of the block.
      block: Their datasets.
    """


@dataclasses.dataclass(frozen=True)
class ClientDataSource:
  """Where rounds get their clients from.

  Attributes:
    shards: Where the clients are.
    batch_size: Examples a step; the most of any client.
    max_examples: The most examples a client uses in one round, drawn anew each round.
    seed: The seed of the run.
    state: What clients bring beside their examples; None if they bring nothing.
    capabilities: The work of each client; None if all do the same.
  """

  shards: client_shards.ClientShards
  batch_size: int
  max_examples: int
  seed: seeds.Seed
  state: Memory | None = None
  capabilities: capabilities_lib.Capabilities | None = None

  def cohort(self, round_number: int, clients: np.ndarray) -> 'Cohort':
    """Returns the cohort of a round: `clients` are indices into the training split.

    The largest come first, so that clients of a size can train together and no core waits for a large one at the end.
    Clients without examples add nothing to the sum and are not loaded.
    """
    clients = clients[self.num_examples[clients] > 0]
    largest_first = np.lexsort((-self.num_examples[clients], -self.used_examples[clients]))
    return Cohort(self, round_number, clients[largest_first])

  @functools.cached_property
  def num_examples(self) -> np.ndarray:
    return self.shards.clients(_SPLIT).examples

  @functools.cached_property
  def used_examples(self) -> np.ndarray:
    """int64 `[clients]`: how many examples each client uses in a round."""
    limit = self.capabilities.limit(self.num_examples) if self.capabilities else self.num_examples
    return np.minimum(np.minimum(limit, self.num_examples), self.max_examples)

  def client_id(self, client: int) -> bytes:
    """Returns the id of a client: what it draws depends on that, and not on who else there is."""
    return self.shards.clients(_SPLIT).client_ids[client].tobytes()

  def capacities(self, clients: np.ndarray) -> np.ndarray:
    """Returns the capacity of each client's dataset: a power of two of batches, so that there are few shapes."""
    return np.maximum(self._tight_capacities(self.used_examples[clients]), self._least_capacity)

  def _tight_capacities(self, used_examples: np.ndarray) -> np.ndarray:
    batches = np.maximum(-(-used_examples // self.batch_size), 1)
    return self.batch_size << np.ceil(np.log2(batches)).astype(int)

  @functools.cached_property
  def _least_capacity(self) -> int:
    schema = self.shards.schema
    example_bytes = sum(math.prod(one.shape) * np.dtype(one.dtype).itemsize for one in (schema.feature, schema.label))
    enough = np.array([min(_LEAST_EXAMPLES, _LEAST_BYTES // example_bytes), self.used_examples.max(initial=0)])
    return int(self._tight_capacities(enough).min())

  def block_specs(self, size: int, capacity: int) -> list[tuple[tuple[int, ...], np.dtype]]:
    """Returns the shape and the dtype of each array of a block of `size` clients."""
    schema, int32 = self.shards.schema, np.dtype(np.int32)
    return [
      ((size * capacity, *schema.feature.shape), np.dtype(schema.feature.dtype)),
      ((size,), int32),
      ((size,), int32),
      ((size, capacity, *schema.label.shape), np.dtype(schema.label.dtype)),
      ((size, self.state.size if self.state else 0), np.dtype(np.float32)),
      ((size,), int32),
      ((size, 2, 2), int32),
      ((size, 2), int32),
    ]


@dataclasses.dataclass(frozen=True, eq=False)
class Cohort:
  """The clients of one round; equal to itself only.

  Attributes:
    source: Where they come from.
    round_number: The round.
    clients: Indices into the training split, the largest client first.
  """

  source: ClientDataSource
  round_number: int
  clients: np.ndarray

  def __len__(self) -> int:
    return len(self.clients)

  def load(self, place: int) -> ClientDataset:
    """Returns the dataset of one client: the same at every call.

    Raises:
      ValueError: If its data is damaged or does not match the schema.
    """
    clients = self.clients[place : place + 1]
    capacity = int(self.source.capacities(clients)[0])
    block = ClientDataset(*(np.zeros(shape, dtype) for shape, dtype in self.source.block_specs(1, capacity)))
    loaded, errors = self.load_block([place], block)
    for error in errors:
      raise ValueError(error.reason)
    self.load_state(loaded, block)
    return block.of(0)

  def load_state(self, clients: list[int], block: ClientDataset) -> None:
    """Reads what clients keep into the block that they fill the beginning of: after the round before this one only."""
    if self.source.state:
      self.source.state.fill(clients, block)

  def load_block(self, places: Sequence[int], block: ClientDataset) -> tuple[list[int], list[ClientError]]:
    """Reads clients into the arrays of a block, one after the other, and skips whom it cannot read.

    Returns:
      The clients that now fill the beginning of the block, and who was skipped.
    """
    loaded: list[int] = []
    errors = []
    for client in self.clients[places].tolist():
      try:
        self._fill(block, len(loaded), client)
        loaded.append(client)
      except ValueError as error:
        errors.append(ClientError(client, str(error)))
    return loaded, errors

  def _fill(self, block: ClientDataset, number: int, client: int) -> None:
    source = self.source
    num_examples, used = int(source.num_examples[client]), int(source.used_examples[client])
    block.first[number] = first = number * block.labels.shape[1]
    block.index[number] = client
    block.num_examples[number] = used
    block.seeds[number] = source.seed.client_seeds(self.round_number, source.client_id(client))
    block.work[number] = source.capabilities.work[client] if source.capabilities else 0
    features, labels = block.features[first : first + used], block.labels[number, :used]
    if num_examples > used:
      self._fill_with_some(client, features, labels)
    else:
      source.shards.read_into(_SPLIT, client, features, labels)
    check_codes(features, labels, source.shards.schema)

  def _fill_with_some(self, client: int, features: np.ndarray, labels: np.ndarray) -> None:
    """Fills the arrays with as many of the client's examples as they have places for."""
    source = self.source
    drawn = source.seed.stream('examples', self.round_number, source.client_id(client)).choice(
      source.num_examples[client], len(labels), replace=False
    )
    for array, stored in zip((features, labels), source.shards.read(_SPLIT, client), strict=True):
      np.take(stored, drawn, axis=0, out=array, mode='clip')


def read_held_out(shards: client_shards.ClientShards, split: str, client: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the features and labels of one client of a split to evaluate on.

  Raises:
    ValueError: If its data is damaged or does not match the schema.
  """
  try:
    features, labels = shards.read(split, client)
    check_codes(features, labels, shards.schema)
  except ValueError as error:
    name = shards.client_id(split, client)
    raise ValueError(f'Expected to evaluate on client {name} of the {split} split: {error}') from error
  return features, labels


def check_codes(features: np.ndarray, labels: np.ndarray, schema: schema_lib.Schema) -> None:
  """Refuses what was written by something else than its schema says: XLA would train on it without a word.

  Raises:
    ValueError: If a label, or a feature of a sequence, stands for no class.
  """
  for name, codes, least in (('features', features, 0), ('labels', labels, schema_lib.UNKNOWN_LABEL)):
    is_code = schema.is_sequence or codes is labels
    if is_code and codes.size and not least <= codes.min() <= codes.max() < schema.num_classes:
      raise ValueError(
        f'Expected {name} of {schema.num_classes} classes, found {codes.min()} to {codes.max()}: '
        'preprocess the data again.'
      )
