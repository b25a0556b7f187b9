"""Beam from outside: its flags, and running a pipeline so that an error says whose it is."""

import argparse
from collections.abc import Sequence
import contextlib
import re

import apache_beam as beam
from apache_beam.options import pipeline_options

# Workers say what went wrong and nothing else. The second flag changes nothing for a pipeline without triggers, but
# with it Beam's DirectRunner works at once instead of first trying to download another runner (Prism).
_BEAM_DEFAULTS = ('--default_sdk_harness_log_level=ERROR', '--allow_unsafe_triggers')

# What Beam adds to the message of an error in a worker.
_IN_WORKER = '[while running'
_EXHAUSTED = re.compile(r'^\s*(?:\w+\.)*_?\w*MemoryError\b(?:: [^\n\[]*)?', re.MULTILINE)


def parse_flags(arguments: Sequence[str]) -> pipeline_options.PipelineOptions:
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


def run(pipeline: beam.Pipeline) -> None:
  """Runs a pipeline to its end; one that is interrupted here is cancelled where it runs."""
  result = None
  try:
    result = pipeline.run()
    result.wait_until_finish()
  except BaseException as error:
    if result is not None:
      with contextlib.suppress(Exception):  # Not every runner can; the error that ends the job is the other one.
        result.cancel()
    exhausted = _EXHAUSTED.search(str(error)) if isinstance(error, Exception) else None
    if exhausted:  # Beam passes on the name of a worker's error and no more.
      raise MemoryError(f'{exhausted[0].strip()} in a worker') from error
    if isinstance(error, ValueError | OSError) and _IN_WORKER in str(error):
      # What users do wrong comes back as a report: this is a mistake of ours, and keeps its traceback.
      raise RuntimeError('A worker failed.') from error
    raise
