"""From files to rows: one PTransform per input format, giving Arrow tables of rows and reports of what was refused.

Files travel as chunks of whole lines and rows as Arrow tables, never one element a row: an element costs Beam
microseconds, a row inside a table next to nothing.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import gzip
import hashlib
import json
import re
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias
import zlib

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io import filesystems
import pyarrow as pa

from pipelines import featurizers
from pipelines import reports

# Of unpacked text: large enough that a chunk's overhead vanishes, small enough that a worker holds several.
_CHUNK_BYTES = 4 << 20
_HASH_BLOCK_BYTES = 1 << 20
_INT64 = range(-(1 << 63), 1 << 63)
_SURROGATE = re.compile('[\ud800-\udfff]')

# The tag under which a reading step gives its reports.
REPORTS = 'reports'
ReportOutput: TypeAlias = beam.pvalue.TaggedOutput[Literal['reports'], reports.Report]


class Rows(NamedTuple):
  """What every source gives."""

  rows: beam.PCollection[pa.Table]
  reports: beam.PCollection[reports.Report]


@dataclasses.dataclass(frozen=True)
class Columns:
  """The names under which a JSON row holds what we need."""

  user: str
  order: str
  text: str


class RefusedRow(Exception):
  """A row that cannot be used; its only argument is the reason to count, which never holds the row's content."""


def match_files(patterns: Sequence[str]) -> list[str]:
  """Returns the sorted paths that the globs match, on any filesystem that Beam knows.

  Raises:
    ValueError: If a glob matches nothing.
  """
  paths = set()
  for pattern in patterns:
    found = [match.path for result in filesystems.FileSystems.match([pattern]) for match in result.metadata_list]
    if not found:
      raise ValueError(f'Expected a file at {pattern}, found none: check the path or the glob.')
    paths.update(found)
  return sorted(paths)


def fingerprint(paths: Sequence[str]) -> list[dict[str, Any]]:
  """Returns name, size and SHA-256 of each file: what makes two inputs the same.

  Raises:
    ValueError: If one of them cannot be read.
  """
  try:
    return [_fingerprint(path) for path in paths]
  except OSError as error:
    raise ValueError(f'Expected readable files, found {error}: give files or a glob such as FOLDER/*.jsonl.') from error


class ReadJsonLines(beam.PTransform):
  """Reads files of one JSON object a line, plain or gzip, into rows of (client_id, order, text).

  Blank lines are no rows. What cannot be used is counted by reason: `not_utf8`, `not_json`, `not_an_object`,
  `no_user_id`, `no_order`, `no_text`.
  """

  def __init__(self, paths: Sequence[str], columns: Columns):
    super().__init__()
    self._paths = paths
    self._columns = columns

  def expand(self, input_or_inputs: beam.pvalue.PBegin) -> Rows:
    chunks = (
        input_or_inputs
        | 'Paths' >> beam.Create(self._paths)
        | 'MatchFiles' >> fileio.MatchAll()
        | 'SpreadFiles' >> beam.Reshuffle()
        | 'ReadMatches' >> fileio.ReadMatches()
        | 'ReadChunks' >> beam.ParDo(_ReadChunks()).with_outputs(REPORTS, main='chunks')
    )
    rows = (
        chunks['chunks']
        | 'SpreadChunks' >> beam.Reshuffle()
        | 'ParseLines' >> beam.ParDo(_ParseLines(self._columns)).with_outputs(REPORTS, main='rows')
    )
    return Rows(rows['rows'], (chunks[REPORTS], rows[REPORTS]) | 'Reports' >> beam.Flatten())


class _ReadChunks(beam.DoFn):
  """A file -> chunks of whole lines."""

  def process(self, element: fileio.ReadableFile) -> Iterator[bytes | ReportOutput]:
    path = element.metadata.path
    try:
      with open_raw(path) as file:
        yield from _read_chunks(_unpack(file))
    except (OSError, EOFError, zlib.error) as error:
      problem = f'Expected a readable file, found {path} damaged ({error}): get a whole copy of it.'
      yield beam.pvalue.TaggedOutput(REPORTS, reports.Report(problems=[problem]))


class _ParseLines(beam.DoFn):
  """A chunk of lines -> a table of rows."""

  def __init__(self, columns: Columns):
    self._columns = columns

  def process(self, element: bytes) -> Iterator[pa.Table | ReportOutput]:
    report, rows = reports.Report(), []
    for line in element.split(b'\n'):
      if not line.strip():
        continue
      report.count(reports.READ)
      try:
        rows.append(parse_line(line, self._columns))
      except RefusedRow as refusal:
        report.count(reports.QUARANTINED, str(refusal))
    if rows:
      yield make_table(list(zip(*rows, strict=True)), featurizers.NextCharacter.row_schema)
    yield beam.pvalue.TaggedOutput(REPORTS, report)


def parse_line(line: bytes, columns: Columns) -> tuple[str, int, str]:
  """Returns the client id, order and text of one line.

  A whole number serves as a user id too (17 and "17" are the same user).

  Raises:
    RefusedRow: With the reason.
  """
  try:
    row = json.loads(line.decode('utf-8'))
  except UnicodeDecodeError:
    raise RefusedRow('not_utf8') from None
  except (ValueError, RecursionError):
    raise RefusedRow('not_json') from None
  if not isinstance(row, dict):
    raise RefusedRow('not_an_object')
  user, order, text = (row.get(name) for name in (columns.user, columns.order, columns.text))
  if type(user) is int:
    user = str(user)
  if not isinstance(user, str) or not user.strip() or _SURROGATE.search(user):
    raise RefusedRow('no_user_id')
  if type(order) is not int or order not in _INT64:
    raise RefusedRow('no_order')
  if not isinstance(text, str):
    raise RefusedRow('no_text')
  # JSON can escape half of a character, which UTF-8 cannot hold: it becomes U+FFFD, unknown like any other.
  return user, order, _SURROGATE.sub('\ufffd', text)


def make_table(columns: Sequence[Any], schema: pa.Schema) -> pa.Table:
  """Returns the columns as a table of exactly that schema."""
  arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
  return pa.Table.from_arrays(arrays, schema=schema)


def _fingerprint(path: str) -> dict[str, Any]:
  digest, size = hashlib.sha256(), 0
  with open_raw(path) as file:
    while block := file.read(_HASH_BLOCK_BYTES):
      digest.update(block)
      size += len(block)
  return {'name': filesystems.FileSystems.split(path)[1], 'bytes': size, 'sha256': digest.hexdigest()}


def open_raw(path: str) -> BinaryIO:
  """Opens a file as it lies on the disk: Beam's own unpacking ends a truncated gzip file without a word."""
  return filesystems.FileSystems.open(path, compression_type=filesystems.CompressionTypes.UNCOMPRESSED)


def _unpack(file: BinaryIO) -> BinaryIO:
  magic = file.read(2)
  file.seek(0)
  return gzip.GzipFile(fileobj=file) if magic == b'\x1f\x8b' else file  # type: ignore[return-value]


def _read_chunks(file: BinaryIO) -> Iterator[bytes]:
  """Yields the lines of a file in chunks that end where a line ends, without its byte order mark."""
  chunk = file.read(_CHUNK_BYTES).removeprefix(b'\xef\xbb\xbf')
  while chunk:
    yield chunk + file.readline()
    chunk = file.read(_CHUNK_BYTES)
