"""Turns raw per-user logs into client shards.

    python -m pipelines.preprocess --flagfile=configs/shakespeare_data.flags

Flags that are not listed here go to Beam unchanged, for example `--direct_num_workers=2
--direct_running_mode=multi_processing` or `--runner=...`.
"""

from collections.abc import Mapping, Sequence
import os
from typing import Any

from absl import flags
from absl import logging

from pipelines import cli

_TASK = flags.DEFINE_enum('task', None, ['next_character', 'handwriting'], 'What to learn.', required=True)
_INPUT = flags.DEFINE_list(
    'input', [], 'For next_character: files or globs of JSON lines, plain or gzip, on any filesystem that Beam knows.'
)
_FEMNIST_DIR = flags.DEFINE_string('femnist_dir', None, 'For handwriting: the folder that holds femnist_leaf.npz.')
_OUTPUT_DIR = flags.DEFINE_string('output_dir', None, 'The folder to make: shards, index and manifest.', required=True)
_USER_COLUMN = flags.DEFINE_string('user_column', 'user_id', 'The key of a line that says whose it is.')
_ORDER_COLUMN = flags.DEFINE_string('order_column', 'utterance', "The key that orders a user's lines: an integer.")
_TEXT_COLUMN = flags.DEFINE_string('text_column', 'text', 'The key of a line that holds the text.')
_WINDOW_LENGTH = flags.DEFINE_integer(
    'window_length', 80, 'Characters in an example of next_character.', lower_bound=1, upper_bound=100_000
)
_MAX_EXAMPLES = flags.DEFINE_integer(
    'max_examples_per_client', 256, 'So many examples of a user are kept, the first.', lower_bound=1,
    upper_bound=10_000_000
)
_MIN_EXAMPLES = flags.DEFINE_integer(
    'min_examples_per_client', 2, 'A user with fewer examples is set aside.', lower_bound=1, upper_bound=10_000_000
)
_TEST_USERS_SHARE = flags.DEFINE_float(
    'test_users_share', 0.1, 'Share of the users that is held out.', lower_bound=0.0, upper_bound=1.0
)
_TAIL_SHARE = flags.DEFINE_float(
    'tail_share', 0.1, "Share of each training user's examples, the last ones, that is held out.", lower_bound=0.0,
    upper_bound=0.9
)
_NUM_SHARDS = flags.DEFINE_integer(
    'num_shards', 8, "Files to make; each must fit into a worker's memory.", lower_bound=1, upper_bound=99_999
)
_SPLIT_KEY = flags.DEFINE_string(
    'split_key', 'pocketfed', 'Public key of the hash that chooses the held-out users, 1 to 64 bytes.'
)

_SPLIT_MEANINGS = {
    'train': 'to learn from',
    'tail': 'the held-out last part of the same users',
    'test': 'held-out users',
}

_JOB_FLAGS = (
    _TASK, _INPUT, _FEMNIST_DIR, _OUTPUT_DIR, _USER_COLUMN, _ORDER_COLUMN, _TEXT_COLUMN, _WINDOW_LENGTH, _MAX_EXAMPLES,
    _MIN_EXAMPLES, _TEST_USERS_SHARE, _TAIL_SHARE, _NUM_SHARDS, _SPLIT_KEY
)


@flags.multi_flags_validator(
    [_TASK, _INPUT, _FEMNIST_DIR],
    'Expected --input for --task=next_character, --femnist_dir for --task=handwriting, and not the other.',
)
def _has_input(values: Mapping[str, Any]) -> bool:
  is_text = values['task'] == 'next_character'
  return bool(values['input']) == is_text and bool(values['femnist_dir']) != is_text


@flags.multi_flags_validator(
    [_MIN_EXAMPLES, _MAX_EXAMPLES], 'Expected min_examples_per_client up to max_examples_per_client, found more.'
)
def _has_room(values: Mapping[str, Any]) -> bool:
  return values['min_examples_per_client'] <= values['max_examples_per_client']


@flags.validator(_OUTPUT_DIR, 'Expected a folder on a local or mounted disk: the shards are read as memory.')
def _is_local(value: str | None) -> bool:
  return value is None or '://' not in value


@flags.validator(_SPLIT_KEY, 'Expected 1 to 64 bytes.')
def _fits_hash(value: str) -> bool:
  return 1 <= len(value.encode()) <= 64


def main(beam_arguments: Sequence[str]) -> None:
  """Runs the job that the flags describe and says what came of it."""
  # Beam warns on import about cloud libraries that are not installed; errors still show.
  logging.set_verbosity(logging.ERROR)
  from pipelines import job as job_lib

  options = job_lib.parse_beam_flags(beam_arguments)
  job = _make_job()
  print(f'Preprocessing {_name_all(job.paths)} for {_TASK.value}.', flush=True)
  outcome = job_lib.run(job, options)
  if outcome.is_new:
    print(_describe(outcome.manifest))
    print(f'Client shards are in {job.output_dir} ({outcome.manifest["seconds"]:.1f} s).')
  else:
    print(f'Nothing to do: {job.output_dir} holds the client shards made from this input with these flags.')


def _name_all(paths: Sequence[str]) -> str:
  return ', '.join(paths) if len(paths) <= 3 else f'{len(paths)} files ({paths[0]} … {paths[-1]})'


def _make_job() -> Any:
  from pipelines import featurizers
  from pipelines import femnist
  from pipelines import job
  from pipelines import sources
  from pipelines import transforms

  limits = transforms.Limits(_MAX_EXAMPLES.value, _MIN_EXAMPLES.value)
  splits = transforms.Splits(_TEST_USERS_SHARE.value, _TAIL_SHARE.value, _SPLIT_KEY.value)
  source: Any
  featurizer: featurizers.Featurizer
  if _TASK.value == 'next_character':
    paths = sources.match_files(_INPUT.value)
    source = sources.ReadJsonLines(paths, sources.Columns(_USER_COLUMN.value, _ORDER_COLUMN.value, _TEXT_COLUMN.value))
    featurizer = featurizers.NextCharacter(_WINDOW_LENGTH.value)
  else:
    paths = sources.match_files([os.path.join(_FEMNIST_DIR.value, femnist.FILE_NAME)])
    source, featurizer = femnist.ReadFemnist(paths[0]), featurizers.Handwriting()
  values = {flag.name: flag.value for flag in _JOB_FLAGS}
  return job.Job(paths, source, featurizer, limits, splits, _NUM_SHARDS.value, _OUTPUT_DIR.value, values)


def _describe(manifest: Mapping[str, Any]) -> str:
  """Returns what was made of the input, for people."""
  rows = manifest['rows']
  lines = [
      f'rows   {rows["read"]:,} read = {rows["used"]:,} used + {_total("bounded", manifest["bounded_by"])} + '
      + _total('quarantined', rows['quarantined']),
      'users  ' + _total('set aside', manifest['clients_set_aside']),
  ]
  for split, meaning in _SPLIT_MEANINGS.items():
    counts = manifest['splits'][split]
    lines.append(f'{split:<6} {counts["clients"]:,} users, {counts["examples"]:,} examples: {meaning}')
  lines += [f'note   {note} {number:,}' for note, number in manifest['notes'].items()]
  return '\n'.join(lines)


def _total(what: str, reasons: Mapping[str, int]) -> str:
  listed = ', '.join(f'{reason} {number:,}' for reason, number in reasons.items())
  return f'{sum(reasons.values()):,} {what}' + (f' ({listed})' if listed else '')


if __name__ == '__main__':
  cli.run_with_foreign_flags(main)
