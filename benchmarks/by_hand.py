"""What one would write by hand instead of `pipelines.preprocess`: one process, everything in memory, Arrow and NumPy.

  python -m benchmarks.by_hand --shape=text --input=FILE --output_dir=DIR

Does what benchmarks/text.toml and benchmarks/motion.toml ask for, as somebody would in an afternoon who knows these
libraries: no splits, no checksums, no accounting, and no row may be bad. With --library=polars that reads, sorts and
groups the rows; the windows are made by the same lines.
"""

from collections.abc import Callable, Iterator
import importlib
import os
import time
from typing import Any, NamedTuple

from absl import flags
import numpy as np
import pyarrow as pa
from pyarrow import json
import pyarrow.compute as pc

from common import cli

_SHAPE = flags.DEFINE_enum('shape', 'text', ['text', 'motion'], 'What a row holds.')
_INPUT = flags.DEFINE_string('input', None, 'A file of JSON lines, from benchmarks.log_generator.', required=True)
_OUTPUT_DIR = flags.DEFINE_string('output_dir', None, 'The folder to make.', required=True)
_LIBRARY = flags.DEFINE_enum('library', 'pyarrow', ['pyarrow', 'polars'], 'What reads and sorts the rows.')
_PHASES = flags.DEFINE_bool('phases', False, 'Print what took how long.')

_MAX_EXAMPLES = 200
_MIN_EXAMPLES = 2

_CHARACTERS = 80
_IGNORED = -1
_CODES = np.full(256, 1, np.uint8)
_CODES[[10, *range(32, 127)]] = np.arange(2, 98)

_NEWLINE = [pa.scalar(text, pa.large_string()) for text in ('', '\n')]

_LENGTH, _STRIDE = 10, 5
_AXES = ('x', 'y', 'z')
_ACTIVITIES = pa.array(['Walking', 'Jogging', 'Upstairs', 'Downstairs', 'Sitting', 'Standing'])

_BLOCK_BYTES = 16 << 20
# large_string: Arrow's plain strings end at 2 GB.
_COLUMNS = {
  'text': {'text': pa.large_string()},
  'motion': {**dict.fromkeys(_AXES, pa.float64()), 'activity': pa.string()},
}


_POLARS_TYPES = {'string': 'String', 'large_string': 'String', 'int64': 'Int64', 'double': 'Float64'}


class Examples(NamedTuple):
  """The examples of one user."""

  features: np.ndarray
  labels: np.ndarray


class Clock:
  """Says what took how long."""

  def __init__(self) -> None:
    self._last = time.perf_counter()

  def lap(self, name: str) -> None:
    now = time.perf_counter()
    if _PHASES.value:
      print(f'{name:10}{now - self._last:7.2f} s')
    self._last = now


def sort_by_user(table: pa.Table) -> tuple[pa.Array, np.ndarray, np.ndarray]:
  """Returns the users, where the rows of each one start once they are sorted, and the order that sorts them by time."""
  users = table['user_id'].combine_chunks().dictionary_encode()
  codes = users.indices.to_numpy()
  keys = pa.table({'user': codes, 'ts': table['ts']})
  order = pc.sort_indices(keys, [('user', 'ascending'), ('ts', 'ascending')]).to_numpy()
  starts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(users.dictionary)))])
  return users.dictionary, starts, order


def read_with_pyarrow(path: str, schema: pa.Schema, clock: Clock) -> tuple[pa.Table, pa.Array, np.ndarray, np.ndarray]:
  """Returns the rows, and what `sort_by_user` does."""
  table = json.read_json(path, json.ReadOptions(block_size=_BLOCK_BYTES), json.ParseOptions(explicit_schema=schema))
  clock.lap('read')
  return table, *sort_by_user(table)


def read_with_polars(path: str, schema: pa.Schema, clock: Clock) -> tuple[pa.Table, pa.Array, np.ndarray, np.ndarray]:
  """Does the same with Polars, whose rows come sorted."""
  pl: Any = importlib.import_module('polars')  # Needed for nothing else, so not among the requirements.
  types = {field.name: _POLARS_TYPES[str(field.type)] for field in schema}
  rows = pl.read_ndjson(path, schema={name: getattr(pl, kind) for name, kind in types.items()})
  clock.lap('read')
  rows = rows.sort('user_id', 'ts')
  users = rows.group_by('user_id', maintain_order=True).len()
  starts = np.concatenate([[0], np.cumsum(users['len'].to_numpy())]).astype(np.int64)
  return rows.to_arrow().cast(schema), users['user_id'].to_arrow(), starts, np.arange(len(rows))


def text_examples(table: pa.Table, starts: np.ndarray, order: np.ndarray) -> Callable[[int], Examples]:
  """Returns what makes the examples of a user: its text, a newline after each row, cut into windows of characters."""
  lines = pc.binary_join_element_wise(table['text'], *_NEWLINE).take(pa.array(order)).combine_chunks()
  offsets = np.frombuffer(lines.buffers()[1], np.int64)[starts]
  letters = np.frombuffer(lines.buffers()[2], np.uint8)

  def make(user: int) -> Examples:
    start, stop = offsets[user : user + 2]
    windows = min(-(-(stop - start - 1) // _CHARACTERS), _MAX_EXAMPLES)
    codes = _CODES[letters[start : min(stop, start + windows * _CHARACTERS + 1)]]
    features = np.zeros(windows * _CHARACTERS, np.uint8)
    labels = np.full(windows * _CHARACTERS, _IGNORED, np.int8)
    features[: len(codes) - 1], labels[: len(codes) - 1] = codes[:-1], codes[1:]
    return Examples(features.reshape(-1, _CHARACTERS), labels.reshape(-1, _CHARACTERS))

  return make


def motion_examples(table: pa.Table, starts: np.ndarray, order: np.ndarray) -> Callable[[int], Examples]:
  """Returns what makes the examples of a user: windows, each with the activity that most of its rows have."""
  values = np.stack([table[name].to_numpy().astype(np.float32) for name in _AXES], axis=1)[order]
  activities = pc.index_in(table['activity'], _ACTIVITIES).to_numpy().astype(np.int8)[order]
  is_one = np.eye(len(_ACTIVITIES), dtype=np.int32)

  def make(user: int) -> Examples:
    start, stop = starts[user : user + 2]
    firsts = start + np.arange(0, stop - start - _LENGTH + 1, _STRIDE)[:_MAX_EXAMPLES]
    places = firsts[:, np.newaxis] + np.arange(_LENGTH)
    return Examples(values[places], is_one[activities[places]].sum(axis=1).argmax(axis=1).astype(np.int8))

  return make


def write(folder: str, users: pa.Array, examples: Iterator[Examples]) -> None:
  """Writes a record batch for each user, and an index of who is where."""
  writer = None
  index: list[tuple[str, int, int]] = []
  with pa.OSFile(os.path.join(folder, 'clients.arrow'), 'wb') as file:
    for user, (features, labels) in zip(users.to_pylist(), examples, strict=True):
      if len(features) < _MIN_EXAMPLES:
        continue
      columns = {'features': _column(features), 'labels': _column(labels)}
      batch = pa.RecordBatch.from_pydict(columns)
      writer = writer or pa.ipc.new_file(file, batch.schema)
      writer.write_batch(batch)
      index.append((user, len(index), len(features)))
    if writer:
      writer.close()
  names, batches, counts = zip(*index, strict=True)
  table = pa.table({'user_id': names, 'batch': batches, 'examples': counts})
  with pa.ipc.new_file(os.path.join(folder, 'index.arrow'), table.schema) as index_writer:
    index_writer.write_table(table)


def _column(values: np.ndarray) -> pa.Array:
  flat = pa.array(values.reshape(-1))
  return flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values[0].size)


def main() -> None:
  """Makes the folder."""
  os.makedirs(_OUTPUT_DIR.value)
  clock = Clock()
  schema = pa.schema({'user_id': pa.string(), 'ts': pa.int64(), **_COLUMNS[_SHAPE.value]})
  read = read_with_pyarrow if _LIBRARY.value == 'pyarrow' else read_with_polars
  table, users, starts, order = read(_INPUT.value, schema, clock)
  clock.lap('sort')
  make = (text_examples if _SHAPE.value == 'text' else motion_examples)(table, starts, order)
  clock.lap('gather')
  write(_OUTPUT_DIR.value, users, map(make, range(len(users))))
  clock.lap('write')


if __name__ == '__main__':
  cli.run(main)
