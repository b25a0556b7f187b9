"""The steps of the pipeline: read rows, spill them into buckets, learn what has to be learned, write a shard a bucket.

A shard is a hash bucket of clients. All rows of a client meet in its bucket, are put in order, bounded, featurized,
split and written there, so that nothing ever holds more than one bucket, and the same input gives the same bytes
whatever the number of workers. Elements are blocks, references and reports, never single rows: an element costs Beam
microseconds, a row inside a table next to nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import contextlib
import json
import posixpath
from typing import Any, Literal, NamedTuple, TypeAlias

import apache_beam as beam
import pyarrow as pa

from common import files
from pipelines.declarations import declaration as declarations
from pipelines.declarations import parsing
from pipelines.execution import prefetching
from pipelines.execution import storage
from pipelines.limits import simulated_clients
from pipelines.readers import base as readers
from pipelines.readers import partitions
from pipelines.rows import reports
from pipelines.rows import spill
from pipelines.shards import output_folder
from pipelines.shards import shard_building
from pipelines.shards import shard_writing

_BUCKETS_PER_BATCH = 8

# The tag under which a step gives its reports.
REPORTS = 'reports'
ReportOutput: TypeAlias = beam.pvalue.TaggedOutput[Literal['reports'], reports.Report]


class NamedRows(NamedTuple):
  """A table of rows, or of ids alone, and a name for it that sorts as its place in the input does."""

  name: str
  table: pa.Table


class Output(NamedTuple):
  """What a step gives, and what it has to report."""

  elements: beam.PCollection[Any]
  reports: beam.PCollection[reports.Report]


class ReadRows(beam.PTransform):
  """Reads the input files, part by part, into `NamedRows`.

  Args:
    paths: The files.
    declaration: What they hold.
    key: Of the hash of the ids.
    assignment: Whose each row is, if the declaration has a partition and the labels are counted.
  """

  def __init__(
    self,
    paths: Sequence[str],
    declaration: declarations.Declaration,
    key: bytes,
    assignment: simulated_clients.Assignment | None = None,
  ):
    super().__init__()
    self._paths = paths
    self._declaration = declaration
    self._reader = _ReadParts(declaration, key, assignment)

  def expand(self, input_or_inputs: beam.pvalue.PBegin) -> Output:
    parts = (
      input_or_inputs
      | 'Files' >> beam.Create(list(enumerate(self._paths)))
      | 'CutIntoParts' >> beam.ParDo(_CutIntoParts(self._declaration.reader)).with_outputs(REPORTS, main='parts')
    )
    rows = (
      parts['parts']
      | 'SpreadParts' >> beam.Reshuffle()
      | 'ReadParts' >> beam.ParDo(self._reader).with_outputs(REPORTS, main='rows')
    )
    return Output(rows['rows'], (parts[REPORTS], rows[REPORTS]) | 'ReadReports' >> beam.Flatten())


class SpillRows(beam.PTransform):
  """`NamedRows` -> `(bucket, slices)`: where the rows of each bucket of clients wait."""

  def __init__(self, num_buckets: int, folder: str):
    super().__init__()
    self._num_buckets = num_buckets
    self._folder = folder

  def expand(self, input_or_inputs: beam.PCollection[NamedRows]) -> Output:
    spilled = input_or_inputs | 'Spill' >> beam.ParDo(_Spill(self._num_buckets, self._folder)).with_outputs(
      REPORTS, main='slices'
    )
    return Output(spilled['slices'] | 'GroupByBucket' >> beam.GroupByKey(), spilled[REPORTS])


class WriteShards(beam.PTransform):
  """`(bucket, slices)` -> reports of the shards written, one shard per bucket.

  Args:
    builder: Makes the content of a shard.
    name: Gives the path of a shard by its number.
  """

  def __init__(self, builder: shard_building.ShardBuilder, name: Callable[[int], str]):
    super().__init__()
    self._writer = _WriteShards(builder, name)

  def expand(
    self, input_or_inputs: beam.PCollection[tuple[int, Iterable[spill.Slice]]]
  ) -> beam.PCollection[reports.Report]:
    return (
      input_or_inputs
      # A bucket is gathered while another is written: two cores have something to do, and memory holds two.
      | 'BatchBuckets' >> beam.BatchElements(min_batch_size=_BUCKETS_PER_BATCH, max_batch_size=_BUCKETS_PER_BATCH)
      | 'WriteShards' >> beam.ParDo(self._writer)
    )


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


class WriteReport(beam.PTransform):
  """Reports -> a file with their counts and problems."""

  def __init__(self, path: str):
    super().__init__()
    self._path = path

  def expand(self, input_or_inputs: beam.PCollection[reports.Report]) -> beam.PCollection[None]:
    return (
      input_or_inputs
      | 'MergeReports' >> beam.CombineGlobally(reports.MergeReports())
      | 'WriteReport' >> beam.Map(_write_report, self._path)
    )


class _CutIntoParts(beam.DoFn):
  """A numbered path -> its parts."""

  def __init__(self, reader: readers.Reader):
    self._reader = reader

  def process(self, element: tuple[int, str]) -> Iterator[readers.Part | ReportOutput]:
    number, path = element
    try:
      yield from self._reader.parts(path, number)
    except readers.DamagedFile as error:
      yield _report(reports.Report(problems=[str(error)]))


class _ReadParts(beam.DoFn):
  """A part of a file -> its rows, block by block."""

  def __init__(
    self, declaration: declarations.Declaration, key: bytes, assignment: simulated_clients.Assignment | None
  ):
    self._declaration = declaration
    self._key = key
    self._assignment = assignment

  def process(self, element: readers.Part) -> Iterator[NamedRows | ReportOutput]:
    report = reports.Report()
    try:
      blocks = partitions.read(self._declaration.reader, element, parsing.raw_columns(self._declaration))
      for number, block in enumerate(prefetching.prefetch(blocks)):
        rows = parsing.read_block(block, element, self._declaration, self._key)
        report.add(reports.Report(rows.counts))
        name = f'{element.file:06d}-{element.start:015d}-{number:06d}'
        if rows.table.num_rows:
          yield NamedRows(name, self._assignment.assign(name, rows.table) if self._assignment else rows.table)
        if rows.bare_ids.num_rows:
          yield NamedRows(f'{name}-ids', rows.bare_ids)
    except readers.DamagedFile as error:
      report.problems.append(str(error))
    yield _report(report)


class _Spill(beam.DoFn):
  """Rows -> where those of each bucket were written."""

  def __init__(self, num_buckets: int, folder: str):
    self._num_buckets = num_buckets
    self._folder = folder

  def process(self, element: NamedRows) -> Iterator[tuple[int, spill.Slice] | ReportOutput]:
    path = storage.join(self._folder, f'{element.name}.arrow')
    try:
      yield from spill.write(element.table, self._num_buckets, path)
    except OSError as error:
      yield _report(reports.Report(problems=[_cannot_write(path, error)]))


class _WriteShards(beam.DoFn):
  """The rows of some buckets -> their shards."""

  def __init__(self, builder: shard_building.ShardBuilder, name: Callable[[int], str]):
    self._builder = builder
    self._name = name

  def process(self, element: Sequence[tuple[int, Iterable[spill.Slice]]]) -> Iterator[reports.Report]:
    # Beam may fetch the references as they are asked for, which it allows this thread alone.
    references = [(bucket, list(slices)) for bucket, slices in element]
    gathered = ((bucket, *self._builder.gather(spill.read(slices))) for bucket, slices in references)
    for bucket, rows, report in prefetching.prefetch(gathered):
      self._write(bucket, rows, report)
      yield report

  def _write(self, shard: int, rows: shard_building.Bucket, report: reports.Report) -> None:
    path = self._name(shard)
    try:
      with storage.open_atomically(path) as opened:
        file = files.DescribedWriter(opened)
        content = self._builder.build(rows, report)
        report.index.append(shard_writing.write_shard(file, shard, self._builder.featurizer.schema, content))
      report.files[posixpath.basename(path)] = file.describe() | {'shard': shard}
    except OSError as error:
      report.problems.append(_cannot_write(path, error))


def _write_report(report: reports.Report, path: str) -> None:
  storage.write_json(report.to_json(), path)


def _write_result(report: reports.Report, output_dir: str) -> None:
  name = shard_writing.INDEX_NAME
  with contextlib.suppress(OSError):  # No room even for this: who started the job finds no result, and says so.
    splits = shard_writing.count_splits(
      shard_writing.write_index(output_dir, report.index, open_file=storage.open_atomically)
    )
    written = report.files | {name: storage.describe(storage.join(output_dir, name))}
    result = report.to_json() | {'splits': splits, 'files': written}
    with storage.open_atomically(storage.join(output_dir, output_folder.RESULT_NAME)) as file:
      file.write(json.dumps(result).encode())


def _cannot_write(path: str, error: OSError) -> str:
  return f'Expected to write {path}, found {storage.explain(error)}: choose another --output_dir.'


def _report(report: reports.Report) -> ReportOutput:
  return beam.pvalue.TaggedOutput(REPORTS, report)
