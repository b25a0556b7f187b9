"""One preprocessing job from start to end: look at what is there, run the Beam pipeline, write the manifest last."""

import argparse
from collections.abc import Sequence
from concurrent import futures
import dataclasses
import functools
import hashlib
import importlib
import json
import math
import pathlib
import re
import tempfile
import time
from typing import Any

import apache_beam as beam
from apache_beam.options import pipeline_options

from pipelines import output_folder
from pipelines import packaging
from pipelines import reports
from pipelines import storage
from pipelines import transforms
from pipelines.declarations import declaration as declarations
from pipelines.learning import base as learning
from pipelines.readers import streams
from pipelines.rows import client_ids
from pipelines.shards import bounds
from pipelines.shards import shard_building
from pipelines.shards import shard_writing

# Workers say what went wrong and nothing else. The second flag changes nothing for a pipeline without triggers, but
# with it Beam's DirectRunner works at once instead of first trying to download another runner (Prism).
_BEAM_DEFAULTS = ('--default_sdk_harness_log_level=ERROR', '--allow_unsafe_triggers')

# Of rows, unpacked: a bucket of this size is sorted and featurized in a few hundred megabytes.
_SHARD_BYTES = 32 << 20
_PACKED = ('.gz', '.zst', '.parquet', '.avro', '.npz')
_PACKED_RATIO = 4


@dataclasses.dataclass(frozen=True)
class MaxBadRows:
  """How many rows may be unusable before the job stops: a share of those read, or a number."""

  text: str

  def __post_init__(self) -> None:
    if not re.fullmatch(r'\d+(\.\d+)?%|\d+', self.text):
      raise ValueError(f'Expected max_bad_rows to be a share such as 1% or a number, found {self.text!r}.')

  def of(self, rows: int) -> float:
    return rows * float(self.text[:-1]) / 100 if self.text.endswith('%') else float(self.text)


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
  max_bad_rows: MaxBadRows
  output_dir: str

  @property
  def builder(self) -> shard_building.ShardBuilder:
    declaration = self.declaration
    identity = shard_building.row_identity(declaration.client, declaration.featurizer)
    return shard_building.ShardBuilder(declaration.featurizer, declaration.limits, declaration.splits, identity)


@dataclasses.dataclass(frozen=True)
class Outcome:
  """The manifest of the data set, and whether this job made it or found it made."""

  manifest: dict[str, Any]
  is_new: bool


def parse_beam_flags(arguments: Sequence[str]) -> pipeline_options.PipelineOptions:
  """Returns the options of Beam that the arguments ask for.

  Raises:
    ValueError: If Beam does not know one of them either.
  """
  parsers: list[argparse.ArgumentParser] = []
  pipeline_options.PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
  setattr(parsers[0], 'exit_on_error', False)  # noqa: B010 - there, but unknown to the type checker's stubs
  try:
    _, unknown = parsers[0].parse_known_args(list(arguments))
  except argparse.ArgumentError as error:
    raise ValueError(f'Expected a valid flag of Beam, found {error}.') from error
  if unknown:
    raise ValueError(f'Expected a flag of ours or of Beam, found {unknown[0]!r}: see --help for ours.')
  return pipeline_options.PipelineOptions([*_BEAM_DEFAULTS, *arguments])


def run(job: Job, options: pipeline_options.PipelineOptions) -> Outcome:
  """Makes the data set, unless it is there already.

  Raises:
    ValueError: If the input or the output folder is not what it should be, if too many rows are unusable, or if no
      client has enough usable data; no data set is left then, unless it was there before.
  """
  start = time.monotonic()
  origin = _Origin(job)
  existing = output_folder.find_existing(job.output_dir, origin.describe)
  if existing:
    return Outcome(existing, is_new=False)
  output_folder.prepare(job.output_dir)
  try:
    with futures.ThreadPoolExecutor(1) as thread:
      # While the pipeline runs: it takes a second a gigabyte, and leaves the interpreter to others.
      described = thread.submit(origin.describe)
      _run_pipeline(job, origin.num_shards, options)
    result = _take_result(job.output_dir)
    _check_usable(job, _read_report(result))
    details = {**described.result(), 'seconds': round(time.monotonic() - start, 2)}
  except BaseException:  # The rows that wait in the folder are the users': they do not outlive the job.
    output_folder.clear(job.output_dir)
    raise
  storage.remove_folder(storage.join(job.output_dir, output_folder.SPILL_NAME))
  return Outcome(_write_manifest(job, result, details), is_new=True)


class _Origin:
  """What a data set depends on: two jobs of the same origin make the same one.

  Attributes:
    num_shards: How many files it takes.
  """

  def __init__(self, job: Job):
    self._job = job
    self.num_shards = job.num_shards or math.ceil(sum(map(_unpacked_bytes, job.paths)) / _SHARD_BYTES) or 1

  def describe(self) -> dict[str, Any]:
    """Returns it for the manifest; reads the whole input."""
    return {
        'declaration': self._job.declaration.to_json(),
        'num_shards': self.num_shards,
        'client_id_key': self._job.key.fingerprint,
        'input': streams.fingerprint(self._job.paths),
        'code_version': _code_version(self._job.declaration),
    }


def _unpacked_bytes(path: str) -> int:
  return storage.size(path) * (_PACKED_RATIO if path.endswith(_PACKED) else 1)


def _run_pipeline(job: Job, num_shards: int, options: pipeline_options.PipelineOptions) -> None:
  # Workers may have another working directory.
  output_dir, paths = storage.absolute(job.output_dir), [storage.absolute(path) for path in job.paths]
  name_shard = functools.partial(_shard_path, output_dir, num_shards)
  learner = job.declaration.featurizer.learner
  with tempfile.TemporaryDirectory() as folder:
    packaging.add_to(options, folder)
    pipeline = beam.Pipeline(options=options)
    rows = pipeline | 'ReadRows' >> transforms.ReadRows(paths, job.declaration, job.key.secret)
    spill_folder = storage.join(output_dir, output_folder.SPILL_NAME)
    buckets = rows.elements | 'SpillRows' >> transforms.SpillRows(num_shards, spill_folder)
    all_reports = [rows.reports, buckets.reports]
    release = None
    if learner:
      learned = buckets.elements | 'Learn' >> transforms.Learn(job.builder, learner)
      all_reports.append(learned | 'ReportRelease' >> beam.Map(_report_release))
      release = beam.pvalue.AsSingleton(learned)
    all_reports.append(buckets.elements | 'WriteShards' >> transforms.WriteShards(job.builder, name_shard, release))
    all_reports | 'AllReports' >> beam.Flatten() | 'WriteResult' >> transforms.WriteResult(output_dir)
    pipeline.run().wait_until_finish()


def _shard_path(output_dir: str, num_shards: int, shard: int) -> str:
  return storage.join(output_dir, shard_writing.shard_name(shard, num_shards))


def _report_release(release: learning.Release) -> reports.Report:
  return reports.Report(releases=[release])


def _take_result(output_dir: str) -> dict[str, Any]:
  path = storage.join(output_dir, output_folder.RESULT_NAME)
  if output_folder.RESULT_NAME not in storage.list_names(output_dir):
    raise ValueError(
        f'Expected the workers to write their result into {output_dir}, found none: make room there, and share it.'
    )
  result = json.loads(storage.read(path))
  storage.remove(path)
  return result


def _read_report(result: dict[str, Any]) -> reports.Report:
  return reports.Report(
      counts={(kind, reason): number for kind, reason, number in result['counts']},
      files=result['files'],
      releases=[learning.Release(*release) for release in result['releases']],
      problems=result['problems'],
  )


def _write_manifest(job: Job, result: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
  report, featurizer = _read_report(result), job.declaration.featurizer
  for release in report.releases:
    featurizer = featurizer.with_learned(release.value)
  details |= {
      **_accounting(report),
      'splits': result['splits'],
      'files': report.files,
      'index': shard_writing.INDEX_NAME,
      'limits': dataclasses.asdict(job.declaration.limits),
      'learned': [*featurizer.provenance, *(release.entry for release in report.releases)],
      'forgotten': [],
  }
  return shard_writing.write_manifest(job.output_dir, featurizer.schema, details, storage.open_atomically)


def _check_usable(job: Job, report: reports.Report) -> None:
  """Raises a ValueError if the pipeline found nothing to train on, or too much that is unusable."""
  read, refused = report.total(reports.READ), report.reasons(reports.QUARANTINED)
  bad = sum(number for reason, number in refused.items() if reason != bounds.DUPLICATE)
  if report.problems:
    raise ValueError(report.problems[0])
  if not read:
    raise ValueError(f'Expected rows in {", ".join(job.paths)}, found none: check the input.')
  if bad > job.max_bad_rows.of(read):
    raise ValueError(
        f'Expected at most {job.max_bad_rows.text} bad rows, found {bad:,} of {read:,} ({describe_reasons(refused)}): '
        'check the columns, or raise --max_bad_rows.'
    )
  if not report.total(reports.USED):
    found = {**refused, **report.reasons(reports.BOUNDED)}
    raise ValueError(
        f'Expected at least one user with {job.declaration.limits.min_examples_per_client} examples, found none in '
        f'{read:,} rows ({describe_reasons(found)}): check the columns and limits.'
    )


def describe_reasons(reasons: dict[str, int]) -> str:
  """Returns `reason number, ...`, or `none`."""
  return ', '.join(f'{reason} {number:,}' for reason, number in reasons.items()) or 'none'


def _accounting(report: reports.Report) -> dict[str, Any]:
  return {
      'rows': {
          'read': report.total(reports.READ),
          'used': report.total(reports.USED),
          'bounded': report.total(reports.BOUNDED),
          'quarantined': report.reasons(reports.QUARANTINED),
      },
      'bounded_by': report.reasons(reports.BOUNDED),
      'clients_set_aside': report.reasons(reports.SET_ASIDE),
      'notes': report.reasons(reports.NOTES),
  }


def _code_version(declaration: declarations.Declaration) -> str:
  """Returns a hash of the code that makes the examples, which exists where no version control does."""
  own = importlib.import_module(type(declaration.featurizer).__module__).__file__ or ''
  digest = hashlib.sha256()
  for path in sorted({*pathlib.Path(__file__).parent.rglob('*.py'), pathlib.Path(own)}):
    digest.update(path.read_bytes())
  return digest.hexdigest()[:16]
