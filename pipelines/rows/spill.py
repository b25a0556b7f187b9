"""Rows wait in files, sorted into buckets of clients, so that only references to them travel through Beam.

A spill file holds the rows of one block, a record batch per bucket: any bucket can be read on its own, and no worker
ever holds more than one block or one bucket.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.execution import storage
from pipelines.rows import client_ids
from pipelines.rows import rows as rows_lib


class Slice(NamedTuple):
  """The rows of one bucket in one spill file."""

  path: str
  batch: int


def bucket_of(ids: pa.Array, num_buckets: int) -> np.ndarray:
  """Returns the bucket of each client id: the ids are hashes already."""
  return (client_ids.halves(ids)[0] % np.uint64(num_buckets)).astype(np.int64)


def write(rows: pa.Table, num_buckets: int, path: str) -> list[tuple[int, Slice]]:
  """Writes the rows, those of a bucket together and in the order they came in, and says where each bucket is."""
  buckets = bucket_of(rows[rows_lib.ID].combine_chunks(), num_buckets)
  if num_buckets > 1:
    rows = rows.take(pa.array(np.argsort(buckets.astype(np.min_scalar_type(num_buckets)), kind='stable')))
  counts = np.bincount(buckets, minlength=num_buckets)
  ends = np.cumsum(counts)
  filled = [int(bucket) for bucket in np.flatnonzero(counts)]
  with storage.open_atomically(path, is_durable=False) as file, pa.ipc.new_file(file, rows.schema) as writer:
    for bucket in filled:
      part = rows.slice(int(ends[bucket] - counts[bucket]), int(counts[bucket]))
      writer.write_batch(part.combine_chunks().to_batches()[0])
  return [(bucket, Slice(path, batch)) for batch, bucket in enumerate(filled)]


def read(slices: Iterable[Slice]) -> Iterator[pa.Table]:
  """Yields the rows of each slice, in the order of the input: the names of spill files sort as their blocks do."""
  for piece in sorted(slices):
    with storage.open_random(piece.path) as file:
      yield pa.Table.from_batches([pa.ipc.open_file(file).get_batch(piece.batch)])
