"""TFRecord files of `tf.train.Example`, read by TensorFlow, which checks their sums."""

from collections.abc import Iterator, Sequence
import dataclasses
import tempfile
from typing import Any, ClassVar

from google.protobuf import message  # type: ignore[import-untyped]
import numpy as np
import pyarrow as pa

from pipelines.readers import base
from pipelines.readers import contents
from pipelines.readers import fingerprints
from pipelines.readers import lookup
from pipelines.readers import packed
from pipelines.readers import streams
from pipelines.readers import values

_HEADER_BYTES, _FRAME_BYTES = 12, 16
_SAMPLED_RECORDS = 64
_TYPES = {'bytes_list': pa.binary(), 'int64_list': pa.int64(), 'float_list': pa.float64()}


@dataclasses.dataclass(frozen=True)
class TfRecord(base.Reader):
  """Reads TFRecord files of `tf.train.Example`, plain or packed.

  A feature of one value is that value (text is bytes), one of several a list, one of none null, as is a missing one.
  Records are refused as `not_an_example` or `row_too_large`.
  """

  lists_columns: ClassVar[bool] = False

  def parts(self, path: str, file: int) -> Iterator[base.Part]:
    yield base.Part(path, file)

  def read(self, part: base.Part, columns: Sequence[str]) -> Iterator[base.Block]:
    parser = _Parser(columns)
    position = 0
    for records, too_large in _read_records(part.path):
      yield from parser.parse(records, position) if records else ()
      position += len(records) + too_large
      if too_large:
        yield from values.make_blocks(columns, (), {streams.ROW_TOO_LARGE: too_large})


def _read_records(path: str) -> Iterator[tuple[list[bytes], int]]:
  """Yields some records, and how many after them are too large."""
  import tensorflow as tf  # Takes seconds.

  errors = (tf.errors.OpError, ValueError)
  with streams.expect_whole(path, errors), streams.open_unpacked(path, with_zlib=True) as stream:
    if stream.head and not contents.is_tfrecord(stream.head):
      raise streams.wrong_content(path, 'TFRecord', contents.name_any(stream.head))
    for frames, too_large in _cut(stream):
      with tempfile.NamedTemporaryFile(suffix='.tfrecord') as copy:
        # TensorFlow knows neither Beam's filesystems nor zstd, and takes the memory that a length claims.
        copy.write(frames)
        copy.flush()
        yield list(tf.compat.v1.io.tf_record_iterator(copy.name)), too_large


def _cut(stream: packed.Stream) -> Iterator[tuple[bytes, int]]:
  """Yields some whole frames of records, and how many after them are skipped because they are too large.

  Raises:
    EOFError: If the end of the last one is missing.
    ValueError: If a length is damaged.
  """
  held = b''
  while block := stream.read(streams.BLOCK_BYTES):
    held += block
    end, length = _find_end(held)
    if length > streams.MAX_LINE_BYTES:
      if not contents.is_tfrecord(held[end:]):
        raise ValueError('a length with another checksum')
      yield held[:end], 1
      held = _skip(stream, held[end:], length + _FRAME_BYTES)
    elif end:
      yield held[:end], 0
      held = held[end:]
  if held:
    raise EOFError('truncated record')


def _find_end(held: bytes) -> tuple[int, int]:
  """Returns where the last whole frame ends, and the length of the record after it, or 0 if it is not there."""
  place = length = 0
  while place + _HEADER_BYTES <= len(held):
    length = int.from_bytes(held[place : place + 8], 'little')
    if place + length + _FRAME_BYTES > len(held):
      return place, length
    place += length + _FRAME_BYTES
  return place, 0


def _skip(stream: packed.Stream, held: bytes, size: int) -> bytes:
  """Returns what comes after `size` bytes."""
  while len(held) < size:
    size -= len(held)
    held = stream.read(streams.BLOCK_BYTES)
    if not held:
      raise EOFError('truncated record')
  return held[size:]


class _Parser:
  """Parses records, and learns from some what types to expect in the next."""

  def __init__(self, columns: Sequence[str]):
    import tensorflow as tf  # Takes seconds.

    self._tf = tf
    self._columns = fingerprints.without(columns)
    self._asked = columns
    self._kinds: dict[str, str] = {}
    self._names = lookup.SeenNames(columns)

  def parse(self, records: Sequence[bytes], position: int) -> Iterator[base.Block]:
    for block in self._parse(records, position):
      self._names.add_columns(block.table)
      table = block.table
      if len(self._columns) < len(self._asked):
        rest = [self._fingerprint(records[place]) for place in block.positions - position]
        table = table.append_column(fingerprints.REST, pa.array(rest, fingerprints.TYPE)).select(self._asked)
      yield block._replace(table=table, names=self._names.take())

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

  def _fingerprint(self, record: bytes) -> int:
    features = self._tf.train.Example.FromString(record).features.feature
    values_of = ((name, feature, feature.WhichOneof('kind')) for name, feature in features.items())
    row = {name: list(getattr(feature, kind).value) or None for name, feature, kind in values_of if kind}
    return fingerprints.of_row(row, self._columns)

  def _take(self, feature: Any, column: str) -> Any:
    kind = feature.WhichOneof('kind')
    found = list(getattr(feature, kind).value) if kind else []
    if found:
      self._kinds[column] = kind
    return found if len(found) > 1 else (found or [None])[0]
