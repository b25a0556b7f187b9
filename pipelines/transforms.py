"""From rows to client shards: key by bucket, group, and turn each bucket into one file.

A shard is a hash bucket of clients. All rows of a client meet in its bucket, are put in order, limited, featurized,
split and written there, so that nothing ever holds more than one bucket, and the same rows give the same bytes whatever
their order and the number of workers.
"""

from collections.abc import Iterable, Iterator
import contextlib
import dataclasses
import hashlib
import json
import os

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipelines import client_shards
from pipelines import featurizers
from pipelines import files
from pipelines import reports

RESULT_NAME = 'pipeline_result.json'
TOO_LITTLE_DATA = 'too_little_data'
_MAX_EXAMPLES = 'max_examples_per_client'
_DUPLICATE = 'duplicate_row'


@dataclasses.dataclass(frozen=True)
class Limits:
  """How much one client may and must contribute, in examples; beyond the maximum its first examples stay."""

  max_examples_per_client: int
  min_examples_per_client: int


@dataclasses.dataclass(frozen=True)
class Splits:
  """Which users, and which part of the others' data, are held out.

  Whether a user is held out depends on the user's id and the key alone, so it never changes when data is added.
  """

  test_users_share: float
  tail_share: float
  key: str

  def is_test_user(self, client_id: str) -> bool:
    return _hash(client_id, key=self.key.encode()) < self.test_users_share * 2**64

  def split(self, examples: client_shards.ClientExamples) -> Iterator[client_shards.ClientExamples]:
    """Yields the client's examples under the splits they belong to.

    The tail of a training user is the last `tail_share` of its examples, rounded, but at least one and never all.
    """
    count = len(examples.features)
    if self.is_test_user(examples.client_id):
      yield examples._replace(split='test')
      return
    tail = min(max(round(count * self.tail_share), 1), count - 1) if self.tail_share else 0
    for split, part in (('train', slice(0, count - tail)), ('tail', slice(count - tail, count))):
      if part.start < part.stop:
        yield client_shards.ClientExamples(examples.client_id, split, examples.features[part], examples.labels[part])


class KeyByBucket(beam.PTransform):
  """Tables of rows -> `(bucket, table)`, each table holding the rows of one bucket of clients."""

  def __init__(self, num_buckets: int):
    super().__init__()
    self._num_buckets = num_buckets

  def expand(self, input_or_inputs: beam.PCollection[pa.Table]) -> beam.PCollection[tuple[int, pa.Table]]:
    return input_or_inputs | 'SplitByBucket' >> beam.FlatMap(split_by_bucket, self._num_buckets)


class WriteShards(beam.PTransform):
  """`(bucket, table)` -> reports of the shards written, one shard per bucket."""

  def __init__(
      self, featurizer: featurizers.Featurizer, limits: Limits, splits: Splits, output_dir: str, num_shards: int
  ):
    super().__init__()
    self.writer = _WriteShard(featurizer, limits, splits, output_dir, num_shards)

  def expand(self, input_or_inputs: beam.PCollection[tuple[int, pa.Table]]) -> beam.PCollection[reports.Report]:
    return input_or_inputs | 'GroupByBucket' >> beam.GroupByKey() | 'WriteShard' >> beam.ParDo(self.writer)


class WriteResult(beam.PTransform):
  """Reports -> the index, and one file that tells the program that started the job what to put into the manifest."""

  def __init__(self, output_dir: str):
    super().__init__()
    self._output_dir = output_dir

  def expand(self, input_or_inputs: beam.PCollection[reports.Report]) -> beam.PCollection[None]:
    return (
        input_or_inputs
        | 'MergeReports' >> beam.CombineGlobally(reports.MergeReports())
        | 'WriteIndex' >> beam.Map(_write_result, self._output_dir)
    )


def split_by_bucket(rows: pa.Table, num_buckets: int) -> Iterator[tuple[int, pa.Table]]:
  """Yields the rows of each bucket; a client's bucket is a hash of its id."""
  encoded = rows['client_id'].combine_chunks().dictionary_encode()
  buckets = np.array([_hash(client_id) % num_buckets for client_id in encoded.dictionary.to_pylist()], np.int64)
  bucket_of_row = buckets[encoded.indices.to_numpy()]
  for bucket in np.unique(bucket_of_row):
    yield int(bucket), rows.take(np.flatnonzero(bucket_of_row == bucket))


def clients_of(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
  """Yields each client's id and rows from a table in which a client's rows stand together."""
  codes = rows['client_id'].combine_chunks().dictionary_encode().indices.to_numpy()
  starts = np.flatnonzero(np.diff(codes, prepend=-1))
  for start, stop in zip(starts, [*starts[1:], len(codes)], strict=True):
    yield rows['client_id'][int(start)].as_py(), rows.slice(start, stop - start)


class _WriteShard(beam.DoFn):
  """The rows of a bucket -> its shard."""

  def __init__(
      self, featurizer: featurizers.Featurizer, limits: Limits, splits: Splits, output_dir: str, num_shards: int
  ):
    self._featurizer = featurizer
    self._limits = limits
    self._splits = splits
    self._output_dir = output_dir
    self._num_shards = num_shards

  def process(self, element: tuple[int, Iterable[pa.Table]]) -> Iterator[reports.Report]:
    bucket, tables = element
    report = reports.Report()
    name = client_shards.shard_name(bucket, self._num_shards)
    path = os.path.join(self._output_dir, name)
    try:
      with files.open_atomically(path) as file:
        clients = self._examples(self._sort(pa.concat_tables(tables), report), report)
        report.index.append(client_shards.write_shard(file, bucket, self._featurizer.schema, clients))
      report.files[name] = files.describe(path)
    except OSError as error:
      report.problems.append(f'Expected to write {path}, found {error.strerror}: choose another --output_dir.')
    yield report

  def _sort(self, rows: pa.Table, report: reports.Report) -> pa.Table:
    """Returns the rows in their total order, each once."""
    rows = rows.sort_by([(key, 'ascending') for key in self._featurizer.sort_keys])
    numbered = rows.append_column('row', pa.array(np.arange(rows.num_rows)))
    first = numbered.group_by(list(self._featurizer.identity)).aggregate([('row', 'min')])['row_min']
    report.count(reports.QUARANTINED, _DUPLICATE, rows.num_rows - len(first))
    return rows.take(first.combine_chunks().sort()).combine_chunks()

  def _examples(self, rows: pa.Table, report: reports.Report) -> Iterator[client_shards.ClientExamples]:
    for client_id, client_rows in clients_of(rows):
      made = self._featurizer.featurize(client_rows, self._limits.max_examples_per_client)
      if len(made.features) < self._limits.min_examples_per_client:
        report.count(reports.SET_ASIDE, TOO_LITTLE_DATA)
        report.count(reports.BOUNDED, TOO_LITTLE_DATA, client_rows.num_rows)
        continue
      used = int(made.rows_reached[-1])
      report.count(reports.USED, number=used)
      report.count(reports.BOUNDED, _MAX_EXAMPLES, client_rows.num_rows - used)
      for note, number in made.notes.items():
        report.count(reports.NOTES, note, number)
      yield from self._splits.split(client_shards.ClientExamples(client_id, '', made.features, made.labels))


def _write_result(report: reports.Report, output_dir: str) -> None:
  counts = [[kind, reason, number] for (kind, reason), number in sorted(report.counts.items())]
  name = client_shards.INDEX_NAME
  with contextlib.suppress(OSError):  # No room even for this: who started the job finds no result, and says so.
    splits = client_shards.count_splits(client_shards.write_index(output_dir, report.index))
    written = report.files | {name: files.describe(os.path.join(output_dir, name))}
    result = {'counts': counts, 'splits': splits, 'files': written, 'problems': sorted(report.problems)}
    files.write_atomically(os.path.join(output_dir, RESULT_NAME), json.dumps(result))


def _hash(client_id: str, key: bytes = b'') -> int:
  return int.from_bytes(hashlib.blake2b(client_id.encode(), digest_size=8, key=key).digest(), 'big')
