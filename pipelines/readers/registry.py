"""The input formats by the names that a declaration gives them, or that files say: by their content, or their names."""

from collections.abc import Sequence
import os
import re

from pipelines.readers import avro
from pipelines.readers import base
from pipelines.readers import contents
from pipelines.readers import delimited
from pipelines.readers import encodings
from pipelines.readers import femnist
from pipelines.readers import idx
from pipelines.readers import jsonl
from pipelines.readers import packed
from pipelines.readers import parquet
from pipelines.readers import streams
from pipelines.readers import tfrecord

FORMATS: dict[str, type[base.Reader]] = {
  'avro': avro.Avro,
  'csv': delimited.Csv,
  'femnist': femnist.Femnist,
  'idx': idx.Idx,
  'jsonl': jsonl.JsonLines,
  'parquet': parquet.Parquet,
  'tfrecord': tfrecord.TfRecord,
  'tsv': delimited.Tsv,
}

_PACKED = r'(\.(gz|gzip|zst|zstd|bz2|xz|lz4|zip))?$'
_NAMES = {
  'avro': r'\.avro$',
  'csv': rf'\.csv{_PACKED}',
  'femnist': r'femnist.*\.npz$',
  'idx': rf'-idx\d-(int|ubyte){_PACKED}',
  'jsonl': rf'\.(jsonl|ndjson|json){_PACKED}',
  'parquet': r'\.(parquet|pq)$',
  'tfrecord': rf'\.tfrecords?(-\d+-of-\d+)?{_PACKED}',
  'tsv': rf'\.(tsv|tab){_PACKED}',
}
_TEXT = ('csv', 'tsv')
_MAGIC = {contents.PARQUET: 'parquet', contents.AVRO: 'avro', b'\x00\x00\x0c\x02': 'idx'}
_UNREADABLE: tuple[type[Exception], ...] = (*packed.ERRORS, ValueError)


def detect(paths: Sequence[str]) -> str:
  """Returns the format of the files: that which their content says, else the one that their names say.

  Looks into one file of each name's format.

  Raises:
    ValueError: If neither says it, or if two files are of different formats.
  """
  found: dict[str, str] = {}
  looked: dict[str | None, str] = {}
  for path in paths:
    named = next((key for key, pattern in _NAMES.items() if re.search(pattern, os.path.basename(path), re.I)), None)
    if named not in looked:
      looked[named] = _look(path, named)
      found.setdefault(looked[named], os.path.basename(path))
  if len(found) > 1:
    first, second, *_ = found.values()
    raise ValueError(f'Expected files of one format, found {first} and {second}: preprocess them apart.')
  return next(iter(found), 'jsonl')


def _look(path: str, named: str | None) -> str:
  """Returns the format of a file, whose name says one or None."""
  try:
    with streams.open_unpacked(path) as stream:
      head = stream.head
      name = contents.name(head)
  except _UNREADABLE:
    # Whoever reads the file says what is wrong with it.
    head, name = b'', None
  says = next((key for magic, key in _MAGIC.items() if head.startswith(magic)), None)
  if says or contents.is_tfrecord(head):
    return says or 'tfrecord'
  if named and not (named in _TEXT and contents.is_json_line(head)):
    return named
  text = None if name else contents.find_text_format(encodings.to_utf8(head, encodings.find(head, encodings.UTF8)))
  if text is None:
    formats = ', '.join(FORMATS)
    content = f' ({name})' if name else ''
    raise ValueError(
      f'Expected a file that says its format, found {os.path.basename(path)}{content}: set format in [input] to '
      f'{formats}.'
    )
  return text
