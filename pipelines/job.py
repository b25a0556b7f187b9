"""One preprocessing job from start to end: look at what is there, run the Beam pipeline, write the manifest last."""

from collections.abc import Sequence
from concurrent import futures
import dataclasses
import functools
import hashlib
import importlib
import json
import math
import pathlib
import sys
import tempfile
import threading
import time
from typing import Any

import apache_beam as beam
from apache_beam.options import pipeline_options
import pyarrow as pa

from pipelines import row_remedies
from pipelines import statistics_step
from pipelines import transforms
from pipelines.declarations import declaration as declarations
from pipelines.declarations import parsing
from pipelines.execution import job_progress
from pipelines.execution import packaging
from pipelines.execution import running
from pipelines.execution import storage
from pipelines.readers import inputs
from pipelines.readers import partitions
from pipelines.rows import client_ids
from pipelines.rows import reports
from pipelines.shards import accounting
from pipelines.shards import output_folder
from pipelines.shards import quality
from pipelines.shards import shard_building
from pipelines.shards import shard_writing
from pipelines.statistics import base as learning

# Of rows, unpacked: a bucket of this size is sorted and featurized in a few hundred megabytes.
_SHARD_BYTES = 32 << 20
# Every block of the input has a slice for every shard: from here on, shards grow with the input.
_MOST_SHARDS = 1_000
_PACKED = ('.gz', '.gzip', '.zst', '.zstd', '.bz2', '.xz', '.lz4', '.zip', '.parquet', '.pq', '.avro', '.npz')
_PACKED_RATIO = 8

_TOTAL_NAME, _CLIENTS_NAME, _REPORT_NAME = 'total.arrow', 'clients.json', 'report.json'
_MAKES_EXAMPLES = (
  'contracts',
  'pipelines/declarations',
  'pipelines/featurizers',
  'pipelines/limits',
  'pipelines/readers',
  'pipelines/rows',
  'pipelines/shards',
  'pipelines/statistics',
)


@dataclasses.dataclass(frozen=True)
class Job:
  """What to make of which files.

  Attributes:
    paths: The input files.
    declaration: What they hold, and what to make of it.
    key: Of the hash that client ids are replaced by.
    num_shards: How many files to make; 0 leaves it to the size of the input.
    max_bad_rows: Beyond which no data set is made.
    output_dir: Where, on any filesystem that Beam knows and all workers share.
  """

  paths: Sequence[str]
  declaration: declarations.Declaration
  key: client_ids.Key
  num_shards: int
  max_bad_rows: accounting.MaxBadRows
  output_dir: str


@dataclasses.dataclass(frozen=True)
class Outcome:
  """The manifest of the data set, and whether this job made it or found it made."""

  manifest: dict[str, Any]
  is_new: bool


def run(job: Job, options: pipeline_options.PipelineOptions) -> Outcome:
  """Makes the data set, unless it is there already.

  Raises:
    ValueError: If the input or the output folder is not what it should be, if too many rows are unusable, or if no
      client has enough usable data; no data set is left then, unless it was there before.
  """
  origin = _Origin(job)
  with output_folder.hold(job.output_dir):
    existing = output_folder.find_existing(job.output_dir, origin.describe)
    if existing:
      return Outcome(existing, is_new=False)
    spill_folder = output_folder.prepare(job.output_dir)
    try:
      return Outcome(_make(job, origin, spill_folder, options), is_new=True)
    except BaseException as error:  # The rows that wait in the folder are the users': they do not outlive the job.
      try:
        output_folder.clear(job.output_dir)
      except OSError as left:
        error.add_note(f'And rows of users are left in {job.output_dir} ({storage.explain(left)}): delete it.')
      raise


class _Origin:
  """What a data set depends on: two jobs of the same origin make the same one.

  Attributes:
    num_shards: How many files it takes.
    is_cancelled: Ends `describe` early.
  """

  def __init__(self, job: Job):
    self._job = job
    wanted = math.ceil(sum(map(_unpacked_bytes, job.paths)) / _SHARD_BYTES)
    self.num_shards = job.num_shards or min(max(wanted, 1), _MOST_SHARDS)
    self.is_cancelled = threading.Event()

  def describe(self) -> dict[str, Any]:
    """Returns it for the manifest; reads the whole input."""
    files = inputs.fingerprint(self._job.paths, self.is_cancelled.is_set)
    # No names: logs may be kept in a file a user.
    digest = hashlib.sha256(''.join(file['sha256'] for file in files).encode()).hexdigest()
    return {
      'declaration': self._job.declaration.to_json(),
      'num_shards': self.num_shards,
      'client_id_key': self._job.key.fingerprint,
      'input': {
        'files': len(files),
        'bytes': sum(file['bytes'] for file in files),
        'sha256': digest,
        **self._describe_folders(digest),
      },
      'code_version': _code_version(self._job.declaration),
    }

  def _describe_folders(self, digest: str) -> dict[str, str]:
    """Returns an entry for the columns that stand in the names of folders, if there are any."""
    found = partitions.describe(self._job.paths, parsing.raw_columns(self._job.declaration))
    if not found:
      return {}
    # They may be client ids: without the key and the whole input nobody can try which ones.
    content = json.dumps([digest, found]).encode()
    return {'folders': hashlib.blake2b(content, digest_size=16, key=self._job.key.secret).hexdigest()}


def _unpacked_bytes(path: str) -> int:
  return storage.size(path) * (_PACKED_RATIO if path.endswith(_PACKED) else 1)


def _make(job: Job, origin: _Origin, spill_folder: str, options: pipeline_options.PipelineOptions) -> dict[str, Any]:
  start = time.monotonic()
  with futures.ThreadPoolExecutor(1) as thread, tempfile.TemporaryDirectory() as folder:
    packaging.add_to(options, folder)
    # While the pipeline runs: it takes a second a gigabyte, and leaves the interpreter to others.
    described = thread.submit(origin.describe)
    try:
      with job_progress.shown(job.output_dir, spill_folder, len(job.paths), origin.num_shards, sys.stdout):
        learned, entries = _learn(job, origin.num_shards, spill_folder, options)
        _write_shards(learned, origin.num_shards, spill_folder, options)
      result = _take_result(job.output_dir)
      report = reports.Report.from_json(result)
      accounting.check(report, job.max_bad_rows, job.declaration)
      accounting.check_splits(result['splits'])
    except BaseException:
      origin.is_cancelled.set()
      raise
    details = {
      **described.result(),
      **accounting.to_json(report),
      'warnings': [
        *row_remedies.suggest(report, learned.declaration),
        *accounting.warn(result['splits']),
        *quality.warn(report, learned.declaration),
      ],
      'splits': result['splits'],
      'files': result['files'],
      'index': shard_writing.INDEX_NAME,
      'limits': dataclasses.asdict(job.declaration.limits),
      'learned': [*learned.declaration.featurizer.provenance, *entries],
      'forgotten': [],
    }
  storage.remove_folder(spill_folder)
  details['seconds'] = round(time.monotonic() - start, 2)
  schema = learned.declaration.featurizer.schema
  return shard_writing.write_manifest(job.output_dir, schema, details, storage.open_atomically)


def _learn(
  job: Job, num_shards: int, spill_folder: str, options: pipeline_options.PipelineOptions
) -> tuple[Job, list[dict[str, Any]]]:
  """Returns the job with what has to be learned filled in, and the manifest entries of what that cost.

  A pipeline of its own: the noise is drawn here, once, and all shards are made with the same.
  """
  featurizer = job.declaration.featurizer
  learner = featurizer.learner
  if not learner:
    return job, []
  names = (_TOTAL_NAME, _CLIENTS_NAME, _REPORT_NAME)
  total_path, clients_path, report_path = (storage.join(spill_folder, name) for name in names)
  pipeline = beam.Pipeline(options=options)
  rows, buckets = _spill(pipeline, job, num_shards, spill_folder)
  builder = shard_building.ShardBuilder.of(job.declaration)
  buckets.elements | 'Learn' >> statistics_step.Learn(builder, learner, total_path, clients_path)
  (
    (rows.reports, buckets.reports)
    | 'ReportsOfRows' >> beam.Flatten()
    | 'WriteReport' >> transforms.WriteReport(report_path)
  )
  running.run(pipeline)
  # Before anything is released: what ends the job, or what training refuses, must not cost an epsilon.
  report = reports.Report.from_json(json.loads(storage.read(report_path)))
  accounting.check_rows(report, job.max_bad_rows, job.declaration)
  accounting.check_before_learning(json.loads(storage.read(clients_path)), learner.cost)
  with storage.open_random(total_path) as file:
    release = learner.release(learning.read_total(learner, file))
  if release.problem:
    raise ValueError(release.problem)
  learning.check_entry(release.entry)
  declaration = dataclasses.replace(job.declaration, featurizer=featurizer.with_learned(release.value))
  return dataclasses.replace(job, declaration=declaration), [release.entry]


def _write_shards(job: Job, num_shards: int, spill_folder: str, options: pipeline_options.PipelineOptions) -> None:
  output_dir = storage.absolute(job.output_dir)
  name_shard = functools.partial(_shard_path, output_dir, num_shards)
  pipeline = beam.Pipeline(options=options)
  rows, buckets = _spill(pipeline, job, num_shards, spill_folder)
  builder = shard_building.ShardBuilder.of(job.declaration)
  written = buckets.elements | 'WriteShards' >> transforms.WriteShards(builder, name_shard)
  (
    (rows.reports, buckets.reports, written)
    | 'AllReports' >> beam.Flatten()
    | 'WriteResult' >> transforms.WriteResult(output_dir)
  )
  running.run(pipeline)


def _spill(
  pipeline: beam.Pipeline, job: Job, num_shards: int, spill_folder: str
) -> tuple[transforms.Output, transforms.Output]:
  # Workers may have another working directory.
  paths = [storage.absolute(path) for path in job.paths]
  rows = pipeline | 'ReadRows' >> transforms.ReadRows(paths, job.declaration, job.key.secret)
  return rows, rows.elements | 'SpillRows' >> transforms.SpillRows(num_shards, storage.absolute(spill_folder))


def _shard_path(output_dir: str, num_shards: int, shard: int) -> str:
  return storage.join(output_dir, shard_writing.shard_name(shard, num_shards))


def _take_result(output_dir: str) -> dict[str, Any]:
  path = storage.join(output_dir, output_folder.RESULT_NAME)
  if output_folder.RESULT_NAME not in storage.list_names(output_dir):
    raise ValueError(
      f'Expected the workers to write their result into {output_dir}, found none: free disk space there, or '
      'choose an --output_dir that all workers share.'
    )
  result = json.loads(storage.read(path))
  storage.remove(path)
  return result


def _code_version(declaration: declarations.Declaration) -> str:
  """Returns a hash of the code that makes the examples, which exists where no version control does."""
  root = pathlib.Path(__file__).parents[1]
  own = importlib.import_module(type(declaration.featurizer).__module__).__file__ or ''
  ours = [path for name in _MAKES_EXAMPLES for path in (root / name).glob('*.py')]
  digest = hashlib.sha256(f'pyarrow {pa.__version__}'.encode())
  for path in sorted({pathlib.Path(own), root / 'pipelines/transforms.py', *ours}):
    digest.update(path.read_bytes())
  return digest.hexdigest()[:16]
