"""One preprocessing job from start to end: look at what is there, run the Beam pipeline, write the manifest last."""

import argparse
from collections.abc import Sequence
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import time
from typing import Any

import apache_beam as beam
from apache_beam.options import pipeline_options

from pipelines import client_shards
from pipelines import featurizers
from pipelines import reports
from pipelines import sources
from pipelines import transforms

# Workers say what went wrong and nothing else. The second flag changes nothing for a pipeline without triggers, but
# with it Beam's DirectRunner works at once instead of first trying to download another runner (Prism).
_BEAM_DEFAULTS = ('--default_sdk_harness_log_level=ERROR', '--allow_unsafe_triggers')
_OUR_FILES = re.compile(r'(shard-\d+-of-\d+\.arrow|index\.arrow|manifest\.json|pipeline_result\.json)(\.\d+\.part)?')

# Flags that say where things are; what is in the files speaks for itself.
_PLACES = frozenset({'input', 'femnist_dir', 'output_dir'})


@dataclasses.dataclass(frozen=True)
class Job:
  """What to make of which files.

  Attributes:
    paths: The input files.
    source: What reads them; gives `sources.Rows`.
    featurizer: From a client's rows to its examples.
    limits: How much a client may and must contribute.
    splits: What is held out.
    num_shards: How many files to make.
    output_dir: Where.
    flags: What the data set was asked for with, as the manifest records it. Two jobs with the same flags, `_PLACES`
      aside, and the same input make the same data set.
  """

  paths: Sequence[str]
  source: beam.PTransform
  featurizer: featurizers.Featurizer
  limits: transforms.Limits
  splits: transforms.Splits
  num_shards: int
  output_dir: str
  flags: dict[str, Any]


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
    ValueError: If the input or the output folder is not what it should be, or if no client has enough usable data;
      no data set is left then, unless it was there before.
  """
  start = time.monotonic()
  origin = {'flags': job.flags, 'input': sources.fingerprint(job.paths), 'code_version': _code_version()}
  existing = _find_existing(job.output_dir, origin)
  if existing:
    return Outcome(existing, is_new=False)
  _clear(job.output_dir)
  _run_pipeline(job, options)
  report, splits = _take_result(job.output_dir)
  _check_usable(job, report)
  details = {
      **origin,
      **_accounting(report),
      'splits': splits,
      'files': report.files,
      'limits': dataclasses.asdict(job.limits),
      'seconds': round(time.monotonic() - start, 2),
  }
  return Outcome(client_shards.write_manifest(job.output_dir, job.featurizer.schema, details), is_new=True)


def _run_pipeline(job: Job, options: pipeline_options.PipelineOptions) -> None:
  output_dir = os.path.abspath(job.output_dir)
  write_shards = transforms.WriteShards(job.featurizer, job.limits, job.splits, output_dir, job.num_shards)
  with beam.Pipeline(options=options) as pipeline:
    rows = pipeline | 'ReadRows' >> job.source
    written = (
        rows.rows
        | 'KeyByBucket' >> transforms.KeyByBucket(job.num_shards)
        | 'WriteShards' >> write_shards
    )
    (
        (rows.reports, written)
        | 'AllReports' >> beam.Flatten()
        | 'WriteResult' >> transforms.WriteResult(output_dir)
    )


def _find_existing(output_dir: str, origin: dict[str, Any]) -> dict[str, Any] | None:
  """Returns the manifest of the finished data set of the same origin, or None if the folder is free to be used.

  Raises:
    ValueError: If the folder holds anything else.
  """
  names = os.listdir(output_dir) if os.path.isdir(output_dir) else []
  foreign = sorted(name for name in names if not _OUR_FILES.fullmatch(name))
  if foreign:
    raise _occupied(output_dir, foreign[0])
  if client_shards.MANIFEST_NAME not in names:
    return None
  manifest = client_shards.read_manifest(output_dir)
  other = [f'--{name}' for name in sorted(_flags_apart(manifest['flags'], origin['flags']))]
  if manifest['input'] != origin['input']:
    other.append('input')
  if manifest['code_version'] != origin['code_version']:
    other.append('code')
  if other:
    raise _occupied(output_dir, f'one made with other {", ".join(other)}')
  client_shards.ClientShards(output_dir)
  return manifest


def _flags_apart(found: dict[str, Any], wanted: dict[str, Any]) -> set[str]:
  return {name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)} - _PLACES


def _occupied(output_dir: str, found: str) -> ValueError:
  return ValueError(
      f'Expected an empty output_dir or one made with the same flags from the same input, found {found} in '
      f'{output_dir}: choose another --output_dir or delete it.'
  )


def _clear(output_dir: str) -> None:
  """Makes the folder, and removes what an interrupted or failed job left in it."""
  try:
    os.makedirs(output_dir, exist_ok=True)
  except OSError as error:
    raise ValueError(f'Expected to make {output_dir}, found {error.strerror}: choose another --output_dir.') from error
  # The manifest first: without it the rest is no data set.
  for name in sorted(os.listdir(output_dir), key=lambda name: name != client_shards.MANIFEST_NAME):
    if _OUR_FILES.fullmatch(name):
      with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(output_dir, name))
  if not os.access(output_dir, os.W_OK):
    raise ValueError(f'Expected a folder that can be written, found {output_dir}: choose another --output_dir.')


def _take_result(output_dir: str) -> tuple[reports.Report, dict[str, Any]]:
  path = os.path.join(output_dir, transforms.RESULT_NAME)
  try:
    with open(path, encoding='utf-8') as file:
      result = json.load(file)
    os.remove(path)
  except FileNotFoundError as error:
    _clear(output_dir)
    raise ValueError(
        f'Expected the workers to write their result into {output_dir}, found none: make room there, and share it.'
    ) from error
  counts = {(kind, reason): number for kind, reason, number in result['counts']}
  return reports.Report(counts, result['files'], problems=result['problems']), result['splits']


def _check_usable(job: Job, report: reports.Report) -> None:
  """Raises a ValueError, leaving no data set, if the pipeline found nothing to train on."""
  problem = next(iter(report.problems), None)
  if not problem and not report.total(reports.READ):
    problem = f'Expected rows in {", ".join(job.paths)}, found none: check the input.'
  if not problem and not report.total(reports.USED):
    found = {**report.reasons(reports.QUARANTINED), **report.reasons(reports.BOUNDED)}
    problem = (
        f'Expected at least one user with {job.limits.min_examples_per_client} examples, found none in '
        f'{report.total(reports.READ)} rows ({describe_reasons(found)}): check the columns and limits.'
    )
  if problem:
    _clear(job.output_dir)
    raise ValueError(problem)


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


def _code_version() -> str:
  """Returns a hash of the code of this stage, which exists where no version control does."""
  digest = hashlib.sha256()
  for path in sorted(pathlib.Path(__file__).parent.glob('*.py')):
    digest.update(path.read_bytes())
  return digest.hexdigest()[:16]
