"""Makes logs of realistic shape and any size, to measure with. Nobody's data: the users and what they do are drawn.

  python -m benchmarks.log_generator --shape=text --megabytes=1000 --users=100000 --output=FILE

Rows come as a server would log them: by time, with a little disorder, the users in between each other. How much a user
has follows a power law. The same flags give the same file; memory does not depend on its size.
"""

from collections.abc import Callable, Iterator
import contextlib
import functools
import gzip
import json
import os
import pathlib
from typing import Any, BinaryIO

from absl import flags
import numpy as np
import pyarrow as pa
from pyarrow import csv
from pyarrow import parquet
import pyarrow.compute as pc

from common import cli
from common import files

_SHAPE = flags.DEFINE_enum('shape', 'text', ['text', 'motion'], 'What a row holds.')
_MEGABYTES = flags.DEFINE_integer('megabytes', 100, 'Size of the file, in millions of bytes.', lower_bound=1)
_USERS = flags.DEFINE_integer('users', 10_000, 'How many users there are.', lower_bound=1, upper_bound=100_000_000)
_FORMAT = flags.DEFINE_enum('format', 'jsonl', ['jsonl', 'csv', 'parquet'], 'How the rows are written.')
_SKEW = flags.DEFINE_bool('skew', False, 'Whether one user has half of all rows.')
_SEED = flags.DEFINE_integer('seed', 0, 'Another seed gives other rows.', lower_bound=0)
_OUTPUT = flags.DEFINE_string('output', None, 'The file to make.', required=True)

_TEXTS = pathlib.Path(__file__).parent.parent / 'examples' / 'shakespeare' / 'utterances.jsonl.gz'
_TEXT_BYTES = (20, 200)

# Zipf and Mandelbrot: the user of rank r has a share in proportion to 1 / (r + flatness). Of 100,000 users the first
# has 0.26 % of all rows, the median one 18 of 7 million.
_FLATNESS = 50
_SKEWED_SHARE = 0.5

_ROWS = 1 << 15
_LEAST_ROW_BYTES = 50
_START, _STEP, _JITTER = 1_700_000_000_000, 50, 3_600_000  # Milliseconds since 1970, between rows, of disorder.

_ACTIVITIES = pa.array(['Walking', 'Jogging', 'Upstairs', 'Downstairs', 'Sitting', 'Standing'])
_ACTIVITY_SHARES = (0.39, 0.30, 0.11, 0.09, 0.06, 0.05)
_ACTIVITY_LASTS = 6 * 3_600_000
# Of each activity: where the three axes rest, and how far they swing, in m/s².
_REST = np.array(
  [(0.4, 9.8, 0.2), (-0.2, 7.0, -0.4), (0.3, 8.6, 0.5), (0.3, 8.8, 0.5), (1.5, 2.8, 5.2), (0.9, 9.4, 0.7)]
)
_SWING = np.array([3.0, 6.0, 3.6, 3.4, 0.3, 0.2])


class Users:
  """Who there is, and how much each one does."""

  def __init__(self, number: int, is_skewed: bool, stream: np.random.Generator):
    shares = 1 / (np.arange(number) + _FLATNESS)
    shares /= shares.sum()
    if is_skewed and number > 1:
      shares[1:] *= (1 - _SKEWED_SHARE) / shares[1:].sum()
      shares[0] = _SKEWED_SHARE
    self._reach = np.cumsum(shares)
    # A name says nothing about how much its user does.
    self._number_of_rank = stream.permutation(number).astype(np.int32)

  def draw(self, rows: int, stream: np.random.Generator) -> np.ndarray:
    """Returns the number of the user of each row."""
    ranks = np.searchsorted(self._reach, stream.random(rows) * self._reach[-1], side='right')
    return self._number_of_rank[ranks]


class Texts:
  """Passages of a few words up to a few lines, cut out of real sentences."""

  def __init__(self) -> None:
    with gzip.open(_TEXTS, 'rt', encoding='utf-8') as lines:
      text = ' '.join(json.loads(line)['text'] for line in lines)
    plain = ' '.join(text.replace('"', "'").replace('\\', ' ').split()) + ' '
    self._letters = np.frombuffer(plain.encode('ascii', 'replace'), np.uint8)
    self._spaces = np.flatnonzero(self._letters == ord(' '))

  def draw(self, rows: int, stream: np.random.Generator) -> pa.Array:
    """Returns passages whose lengths are log-uniform, whole words all."""
    low, high = _TEXT_BYTES
    first = stream.integers(0, len(self._spaces) - high, rows)
    start = self._spaces[first] + 1
    wanted = np.exp(stream.uniform(np.log(low), np.log(high), rows)).astype(np.int64)
    stop = self._spaces[np.searchsorted(self._spaces, start + wanted)]
    offsets = np.concatenate([[0], np.cumsum(stop - start)])
    places = np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], stop - start)
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(self._letters[places])]
    return pa.Array.from_buffers(pa.string(), rows, buffers)


def draw_text(texts: Texts, users: np.ndarray, times: np.ndarray, stream: np.random.Generator) -> dict[str, pa.Array]:
  """Returns what the rows of these users at these times say."""
  del times
  return {'text': texts.draw(len(users), stream)}


def draw_motion(users: np.ndarray, times: np.ndarray, stream: np.random.Generator) -> dict[str, pa.Array]:
  """Returns what a phone's accelerometer measured, and what its user was doing, which stays the same for a while."""
  # A fixed mix of user and hour, so that rows need not remember each other.
  mixed = (users.astype(np.uint64) * 2_654_435_761 + (times // _ACTIVITY_LASTS).astype(np.uint64) * 40_503) % 9_973
  activities = np.searchsorted(np.cumsum(_ACTIVITY_SHARES), mixed / 9_973, side='right')
  phase = times / 1000 * (2 * np.pi)
  noise = stream.standard_normal((len(users), 3))
  axes = [
    _REST[activities, axis] + _SWING[activities] * (np.sin(phase * (axis + 1)) + 0.3 * noise[:, axis])
    for axis in range(3)
  ]
  columns = {name: pa.array(np.round(values, 4)) for name, values in zip('xyz', axes, strict=True)}
  return columns | {'activity': _ACTIVITIES.take(pa.array(activities))}


def draw_rows(shape: str, number: int, is_skewed: bool, seed: int, rows: int) -> Iterator[pa.Table]:
  """Yields tables of so many rows without end."""
  stream = np.random.default_rng(seed)
  users = Users(number, is_skewed, stream)
  draw: Callable[..., dict[str, pa.Array]] = draw_motion
  if shape == 'text':
    draw = functools.partial(draw_text, Texts())
  start = 0
  while True:
    who = users.draw(rows, stream)
    times = _START + _STEP * np.arange(start, start + rows) + stream.integers(0, _JITTER, rows)
    name = pc.binary_join_element_wise('u', pc.utf8_lpad(pa.array(who).cast(pa.string()), 8, '0'), '')
    yield pa.table({'user_id': name, 'ts': times, **draw(who, times, stream)})
    start += rows


def write_json_lines(file: BinaryIO, table: pa.Table) -> None:
  """Appends the rows; nothing in them needs an escape."""
  parts: list[Any] = ['{']
  for place, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
    quote = '"' if pa.types.is_string(column.type) else ''
    parts += [f'{", " * bool(place)}"{name}": {quote}', column.combine_chunks().cast(pa.string()), quote]
  lines = pc.binary_join_element_wise(*parts, '}\n', '')
  start, stop = np.frombuffer(lines.buffers()[1], np.int32)[[lines.offset, lines.offset + len(lines)]]
  file.write(memoryview(lines.buffers()[2])[start:stop])


@contextlib.contextmanager
def open_writer(name: str, file: BinaryIO, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
  """Yields what appends a table to the file in the format of that name."""
  if name == 'jsonl':
    yield functools.partial(write_json_lines, file)
  else:
    make: Any = csv.CSVWriter if name == 'csv' else parquet.ParquetWriter
    with make(file, schema) as writer:
      yield writer.write_table


def main() -> None:
  """Writes the file."""
  size = _MEGABYTES.value * 1_000_000
  rows = min(_ROWS, size // _LEAST_ROW_BYTES)
  tables = draw_rows(_SHAPE.value, _USERS.value, _SKEW.value, _SEED.value, rows)
  table, written = next(tables), 0
  os.makedirs(os.path.dirname(os.path.abspath(_OUTPUT.value)), exist_ok=True)
  with files.open_atomically(_OUTPUT.value) as file, open_writer(_FORMAT.value, file, table.schema) as write:
    while file.tell() < size:
      write(table)
      table, written = next(tables), written + len(table)
  print(f'Wrote {written:,} rows ({os.path.getsize(_OUTPUT.value) / 1e6:,.0f} MB) to {_OUTPUT.value}.')


if __name__ == '__main__':
  cli.run(main)
