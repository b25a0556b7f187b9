"""Blocks: clients of a cohort that train in one call, read into reused memory ahead of whoever trains them."""

import collections
from collections.abc import Iterator
from concurrent import futures
import functools
import itertools
import math
from typing import NamedTuple

import numpy as np

from tff_tasks.population import client_data
from tff_tasks.runtime import session_call
from tff_tasks.runtime import workers as workers_lib

# Enough clients that a call costs little beside them (and fewer than 64: the bits of a number say who was rejected),
# and no more bytes than a few blocks of may be in memory.
_MAX_CLIENTS = 32
_MAX_BYTES = 1 << 25
# The least number of blocks of a cohort, so that no core waits long for another one's last block. Fixed, so that sums
# do not depend on the number of cores.
_MIN_BLOCKS = 10


class Places(NamedTuple):
  """Clients of a cohort that make a block.

  Attributes:
    places: Of the clients in the cohort.
    capacity: Of each of their datasets.
  """

  places: range
  capacity: int


class Block(NamedTuple):
  """Clients in memory.

  Attributes:
    arrays: A `ClientDataset` of a block, for a number of clients that follows from their own capacity: there are
      few shapes to compile for.
    clients: Who fills the beginning of the arrays.
    errors: Who was skipped.
    memory: What holds the arrays.
  """

  arrays: client_data.ClientDataset
  clients: list[int]
  errors: list[client_data.ClientError]
  memory: np.ndarray


def cut(cohort: client_data.Cohort) -> list[Places]:
  """Returns the blocks of a cohort: neighbors of one capacity, a number that depends on the cohort alone."""
  capacities = cohort.source.capacities(cohort.clients)
  blocks: list[Places] = []
  fair = max(1, len(cohort) // _MIN_BLOCKS)
  for capacity, group in itertools.groupby(range(len(cohort)), capacities.tolist().__getitem__):
    places = list(group)
    size = min(fair, _most_clients(cohort.source, capacity))
    blocks += [
      Places(range(start, min(start + size, places[-1] + 1)), capacity)
      for start in range(places[0], places[-1] + 1, size)
    ]
  return blocks


def _most_clients(source: client_data.ClientDataSource, capacity: int) -> int:
  """Returns how many clients of that capacity a block has memory for."""
  return max(1, min(_MAX_CLIENTS, _MAX_BYTES // _num_bytes(source, 1, capacity)))


def _num_bytes(source: client_data.ClientDataSource, size: int, capacity: int) -> int:
  return sum(math.prod(shape) * dtype.itemsize for shape, dtype in source.block_specs(size, capacity))


def empty(cohort: client_data.Cohort) -> Block:
  """Returns a block of nobody, in the shapes of the first block of a cohort, which is not empty."""
  capacity = cut(cohort)[0].capacity
  specs = cohort.source.block_specs(_most_clients(cohort.source, capacity), capacity)
  return Block(client_data.ClientDataset(*(np.zeros(*spec) for spec in specs)), [], [], np.empty(0, np.uint8))


class BlockReader:
  """Reads blocks with threads of its own: the next ones of a cohort, and the first ones of the cohort after it.

  Args:
    num_threads: Blocks that are read at the same time.
    num_ahead: Blocks that are read before somebody asks for them.
  """

  def __init__(self, num_threads: int, num_ahead: int) -> None:
    self._workers = workers_lib.Workers(num_threads)
    self._num_ahead = num_ahead
    self._begun: dict[tuple[client_data.Cohort, int], futures.Future[Block]] = {}
    self._free: collections.deque[np.ndarray] = collections.deque(maxlen=4 * num_ahead)

  def read(self, cohort: client_data.Cohort, upcoming: client_data.Cohort | None) -> Iterator['futures.Future[Block]']:
    """Yields the blocks of `cohort` in their order; those of `upcoming` are begun when they are next in turn."""
    cohorts = [cohort] if upcoming is None else [cohort, upcoming]
    self._begun = {key: future for key, future in self._begun.items() if key[0] in cohorts}
    queue = [(one, places) for one in cohorts for places in cut(one)]
    for number, (one, places) in enumerate(queue):
      if one is not cohort:
        return
      for entry in queue[number : number + self._num_ahead + 1]:
        self._begin(*entry)
      yield self._begun.pop((one, places.places.start))

  def _begin(self, cohort: client_data.Cohort, places: Places) -> None:
    key = cohort, places.places.start
    if key not in self._begun:
      self._begun[key] = self._workers.submit(functools.partial(self._load, cohort, places))

  def free(self, block: Block) -> None:
    """Takes the memory of a block back."""
    self._free.append(block.memory)

  def close(self) -> None:
    """Ends the threads."""
    self._workers.close()

  def _load(self, cohort: client_data.Cohort, places: Places) -> Block:
    size = _most_clients(cohort.source, places.capacity)
    specs = cohort.source.block_specs(size, places.capacity)
    memory = self._take(_num_bytes(cohort.source, size, places.capacity) + session_call.ALIGNMENT * len(specs))
    arrays = client_data.ClientDataset(*_place(memory, specs))
    return Block(arrays, *cohort.load_block(places.places, arrays), memory)

  def _take(self, num_bytes: int) -> np.ndarray:
    """Returns memory that was used before if it is large enough: new memory costs as much as reading into it."""
    try:
      memory = self._free.pop()
    except IndexError:
      memory = np.empty(0, np.uint8)
    return memory if len(memory) >= num_bytes else np.empty(num_bytes, np.uint8)


def _place(memory: np.ndarray, specs: list[tuple[tuple[int, ...], np.dtype]]) -> Iterator[np.ndarray]:
  """Yields arrays of these shapes and dtypes in a memory, each aligned."""
  start = 0
  for shape, dtype in specs:
    start += -(memory.ctypes.data + start) % session_call.ALIGNMENT
    stop = start + math.prod(shape) * dtype.itemsize
    yield memory[start:stop].view(dtype).reshape(shape)
    start = stop
