"""TFRecord files of `tf.train.Example`, read by TensorFlow, which checks their sums."""

from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
import os
import tempfile
from typing import Any

from google.protobuf import message  # type: ignore[import-untyped]
import numpy as np
import pyarrow as pa

from pipelines.readers import base
from pipelines.readers import lookup
from pipelines.readers import streams
from pipelines.readers import values

_FRAME_BYTES = 16
_SAMPLED_RECORDS = 64
_TYPES = {'bytes_list': pa.binary(), 'int64_list': pa.int64(), 'float_list': pa.float64()}


@dataclasses.dataclass(frozen=True)
class TfRecord(base.Reader):
  """Reads TFRecord files of `tf.train.Example`, plain or packed.

  A feature of one value is that value (text is bytes), one of several a list, one of none null, as is a missing one.
  Records are refused as `not_an_example`.
  """

  def parts(self, path: str, file: int) -> Iterator[base.Part]:
    yield base.Part(path, file)

  def read(self, part: base.Part, columns: Sequence[str]) -> Iterator[base.Block]:
    parser = _Parser(columns)
    position = 0
    for records in _read_records(part.path):
      yield from parser.parse(records, position)
      position += len(records)


def _read_records(path: str) -> Iterator[list[bytes]]:
  import tensorflow as tf  # Takes seconds.

  with streams.expect_whole(path, (tf.errors.OpError,)), _on_disk(path) as local:
    records: list[bytes] = []
    left = os.path.getsize(local)
    size = 0
    for record in tf.compat.v1.io.tf_record_iterator(local):
      records.append(record)
      size += len(record) + _FRAME_BYTES
      if size >= streams.BLOCK_BYTES:
        yield records
        left -= size
        records, size = [], 0
    if left != size:
      # TensorFlow takes a few last bytes for the end.
      raise EOFError('truncated record')
    if records:
      yield records


@contextlib.contextmanager
def _on_disk(path: str) -> Iterator[str]:
  """Gives a file unpacked on this machine's disk: TensorFlow knows neither Beam's filesystems nor zstd."""
  with tempfile.NamedTemporaryFile(suffix='.tfrecord') as copy, streams.open_unpacked(path) as file:
    while block := file.read(streams.BLOCK_BYTES):
      copy.write(block)
    copy.flush()
    yield copy.name


class _Parser:
  """Parses records, and learns from some what types to expect in the next."""

  def __init__(self, columns: Sequence[str]):
    import tensorflow as tf  # Takes seconds.

    self._tf = tf
    self._columns = columns
    self._kinds: dict[str, str] = {}
    self._names = lookup.SeenNames(columns)

  def parse(self, records: Sequence[bytes], position: int) -> Iterator[base.Block]:
    for block in self._parse(records, position):
      self._names.add_columns(block.table)
      yield block._replace(names=self._names.take())

  def _parse(self, records: Sequence[bytes], position: int) -> Iterator[base.Block]:
    for record in records[:_SAMPLED_RECORDS]:
      self._parse_record(record)
    table = self._parse_fast(records)
    if table is not None:
      yield base.Block(*values.number_rows(table, position), {})
      return
    rows = [self._parse_record(record) for record in records]
    places = [place for place, row in enumerate(rows, position) if row is not None]
    found = values.make_rows(self._columns, [row for row in rows if row is not None], np.array(places, np.int64))
    refused = len(rows) - len(places)
    yield from values.make_blocks(self._columns, found, {'not_an_example': refused} if refused else {})

  def _parse_fast(self, records: Sequence[bytes]) -> pa.Table | None:
    """Returns the rows, or None if one of them is no example, or has several values or another type in a column."""
    kinds = {column: self._kinds.get(column, 'bytes_list') for column in self._columns}
    tf = self._tf
    types = {'bytes_list': tf.string, 'int64_list': tf.int64, 'float_list': tf.float32}
    try:
      parsed = tf.io.parse_example(records, {name: tf.io.RaggedFeature(types[kind]) for name, kind in kinds.items()})
    except (tf.errors.InvalidArgumentError, UnicodeDecodeError):  # The second while saying the first.
      return None
    counts = {name: np.asarray(column.row_lengths()) for name, column in parsed.items()}
    if any(np.any(count > 1) for count in counts.values()):
      return None
    arrays = []
    for name, kind in kinds.items():
      places = pa.array(np.cumsum(counts[name]) - 1, mask=counts[name] == 0)
      arrays.append(pa.array(parsed[name].values.numpy(), _TYPES[kind], from_pandas=False).take(places))
    return pa.Table.from_arrays(arrays, list(kinds))

  def _parse_record(self, record: bytes) -> list[Any] | None:
    """Returns the values of a record, or None if it is no example."""
    try:
      features = self._tf.train.Example.FromString(record).features.feature
    except message.DecodeError:
      return None
    self._names.add_rows([features])
    return [self._take(features[column], column) if column in features else None for column in self._columns]

  def _take(self, feature: Any, column: str) -> Any:
    kind = feature.WhichOneof('kind')
    found = list(getattr(feature, kind).value) if kind else []
    if found:
      self._kinds[column] = kind
    return found if len(found) > 1 else (found or [None])[0]
