"""One preprocessing job from start to end: look at what is there, run the Beam pipeline, write the manifest last."""

from collections.abc import Sequence
from concurrent import futures
import dataclasses
import functools
import json
import sys
import tempfile
import time
from typing import Any

import apache_beam as beam
from apache_beam.options import pipeline_options

from pipelines import origin as origins
from pipelines import partition_step
from pipelines import row_remedies
from pipelines import statistics_step
from pipelines import transforms
from pipelines.declarations import declaration as declarations
from pipelines.execution import job_progress
from pipelines.execution import packaging
from pipelines.execution import running
from pipelines.execution import storage
from pipelines.limits import simulated_clients
from pipelines.rows import client_ids
from pipelines.rows import reports
from pipelines.shards import accounting
from pipelines.shards import output_folder
from pipelines.shards import quality
from pipelines.shards import shard_building
from pipelines.shards import shard_writing
from pipelines.statistics import base as learning

_TOTAL_NAME, _CLIENTS_NAME, _REPORT_NAME = 'total.arrow', 'clients.json', 'report.json'


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
    assignment: Which simulated client each row is of, once the job has counted the labels for it.
  """

  paths: Sequence[str]
  declaration: declarations.Declaration
  key: client_ids.Key
  num_shards: int
  max_bad_rows: accounting.MaxBadRows
  output_dir: str
  assignment: simulated_clients.Assignment | None = None


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
  origin = origins.Origin(job.paths, job.declaration, job.key, job.num_shards)
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


def _make(
  job: Job, origin: origins.Origin, spill_folder: str, options: pipeline_options.PipelineOptions
) -> dict[str, Any]:
  start = time.monotonic()
  with futures.ThreadPoolExecutor(1) as thread, tempfile.TemporaryDirectory() as folder:
    packaging.add_to(options, folder)
    # While the pipeline runs: it takes a second a gigabyte, and leaves the interpreter to others.
    described = thread.submit(origin.describe)
    try:
      with job_progress.shown(job.output_dir, spill_folder, len(job.paths), origin.num_shards, sys.stdout):
        assigned = _assign_clients(job, spill_folder, options)
        learned, entries = _learn(assigned, origin.num_shards, spill_folder, options)
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
        *([job.declaration.partition.warning] if job.declaration.partition else []),
        *row_remedies.suggest(report, learned.declaration),
        *accounting.warn(result['splits']),
        *quality.warn(report, learned.declaration),
      ],
      'splits': result['splits'],
      'files': result['files'],
      'index': shard_writing.INDEX_NAME,
      'limits': dataclasses.asdict(job.declaration.limits),
      'learned': [*learned.declaration.provenance, *entries],
      'forgotten': [],
    }
  storage.remove_folder(spill_folder)
  details['seconds'] = round(time.monotonic() - start, 2)
  schema = learned.declaration.featurizer.schema
  return shard_writing.write_manifest(job.output_dir, schema, details, storage.open_atomically)


def _assign_clients(job: Job, spill_folder: str, options: pipeline_options.PipelineOptions) -> Job:
  """Returns the job with the clients of the rows filled in, if its declaration has a partition."""
  if job.declaration.partition is None:
    return job
  counted = partition_step.count(_read_rows(job), job.declaration, spill_folder, options)
  accounting.check_rows(counted.report, job.max_bad_rows, job.declaration)
  return dataclasses.replace(job, assignment=job.declaration.assign(counted.labels, job.key.secret))


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
  rows = pipeline | 'ReadRows' >> _read_rows(job)
  return rows, rows.elements | 'SpillRows' >> transforms.SpillRows(num_shards, storage.absolute(spill_folder))


def _read_rows(job: Job) -> transforms.ReadRows:
  # Workers may have another working directory.
  paths = [storage.absolute(path) for path in job.paths]
  return transforms.ReadRows(paths, job.declaration, job.key.secret, job.assignment)


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
