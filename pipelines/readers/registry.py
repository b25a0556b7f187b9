"""The input formats by the names that a declaration gives them, or that the names of files do."""

from collections.abc import Sequence
import os
import re

from pipelines.readers import avro
from pipelines.readers import base
from pipelines.readers import delimited
from pipelines.readers import femnist
from pipelines.readers import idx
from pipelines.readers import jsonl
from pipelines.readers import parquet
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

_PACKED = r'(\.(gz|gzip|zst|zstd))?$'
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


def detect(paths: Sequence[str]) -> str:
  """Returns the format that the names of the files say.

  Raises:
    ValueError: If a name says none, or two say different ones.
  """
  found: dict[str, str] = {}
  for path in paths:
    name = os.path.basename(path)
    format_name = next((key for key, pattern in _NAMES.items() if re.search(pattern, name, re.IGNORECASE)), None)
    if format_name is None:
      formats = ', '.join(FORMATS)
      raise ValueError(f'Expected a file name that says its format, found {name}: set format in [input] to {formats}.')
    found.setdefault(format_name, name)
  if len(found) > 1:
    first, second, *_ = found.values()
    raise ValueError(f'Expected files of one format, found {first} and {second}: preprocess them apart.')
  return next(iter(found), 'jsonl')
