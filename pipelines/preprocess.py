r"""Turns raw per-user logs into client shards.

    python -m pipelines.preprocess --dataset=configs/datasets/shakespeare_characters.toml \
      --input=examples/shakespeare/utterances.jsonl.gz --output_dir=DIR

The dataset file says what the logs hold and what to make of it. Flags that are not listed here go to Beam unchanged,
for example `--direct_num_workers=2 --direct_running_mode=multi_processing` or `--runner=...`.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import os
from typing import Any

from absl import flags
from absl import logging

from common import cli
from common import printable

_DATASET = flags.DEFINE_string(
  'dataset',
  None,
  'The declaration: a TOML file that says what the logs hold and what to make of it. Examples are in configs/datasets.',
)
_INPUT = flags.DEFINE_multi_string(
  'input',
  [],
  'Files, globs or folders, with commas between them, on any filesystem that Beam knows: JSON lines, '
  'CSV, TSV, Parquet, Avro, TFRecord of tf.train.Example; text plain or gzip, zstd, bzip2, xz, lz4, zip; may be '
  'given again. In folders and globs, names that begin with . or _ are skipped.',
)
_OUTPUT_DIR = flags.DEFINE_string(
  'output_dir', None, 'The folder to make: shards, index and manifest. All workers have to see it.'
)
_KEY_FILE = flags.DEFINE_string(
  'client_id_key_file',
  None,
  'File with the secret key of the hash that replaces user ids, 16 bytes or more; else '
  'POCKETFED_CLIENT_ID_KEY is read. Not needed where the declaration says public_ids = true or has a [partition].',
)
_OVERRIDE = flags.DEFINE_multi_string(
  'override', [], 'Replaces a value of the declaration, as in limits.keep=latest; may be given again.'
)
_MAX_BAD_ROWS = flags.DEFINE_string(
  'max_bad_rows',
  '10%',
  'With more rows that cannot be used the job fails: a share of all rows, or a whole number. Duplicates do not count.',
)
_NUM_SHARDS = flags.DEFINE_integer(
  'num_shards',
  0,
  'Files to make, of which two must fit into the memory of a worker; 0: one for about every 32 MiB '
  'of rows, but no more than a thousand.',
  lower_bound=0,
  upper_bound=99_999,
)
_DESCRIBE = flags.DEFINE_bool(
  'describe',
  False,
  'Only print what would be made of the input (if it is large, of its first rows), checked as the '
  'job does it: exit code 2 if the job would fail.',
)
_FORGET = flags.DEFINE_string(
  'forget',
  None,
  'File with user ids, one a line, as the logs have them: removes these users from the finished data '
  'set in output_dir.',
)

cli.group_flags(
  {
    'What to read': [_INPUT, _DATASET, _OVERRIDE],
    'Whose it is': [_KEY_FILE],
    'What to write': [_OUTPUT_DIR, _NUM_SHARDS],
    'Care': [_DESCRIBE, _MAX_BAD_ROWS, _FORGET],
  }
)

_SPLIT_MEANINGS = {
  'train': 'to learn from',
  'tail': 'the held-out part of the same {who}',
  'validation': 'held-out {who}, to choose by',
  'test': 'held-out {who}',
}


@flags.multi_flags_validator([_INPUT, _FORGET], 'Missing --input: files of logs. See --help.')
def _has_task(values: Mapping[str, Any]) -> bool:
  if any(values['input']) and values['forget']:
    raise flags.ValidationError(
      'Expected either --input=FILES, to make a data set, or --forget=FILE, to remove users from one.'
    )
  return any(values['input']) or bool(values['forget'])


@flags.multi_flags_validator([_DATASET, _FORGET], 'Missing --dataset: a TOML file, as in configs/datasets. See --help.')
def _has_declaration(values: Mapping[str, Any]) -> bool:
  return bool(values['dataset'] or values['forget'])


@flags.multi_flags_validator(
  [_FORGET, _DATASET, _OVERRIDE, _DESCRIBE], 'Expected --forget with --output_dir and the key, and nothing else.'
)
def _forgets_only(values: Mapping[str, Any]) -> bool:
  return not values['forget'] or not any(value for name, value in values.items() if name != 'forget')


@flags.multi_flags_validator([_OUTPUT_DIR, _DESCRIBE], 'Missing --output_dir: the folder to make. See --help.')
def _has_place(values: Mapping[str, Any]) -> bool:
  return bool(values['output_dir'] or values['describe'])


def main(beam_arguments: Sequence[str]) -> None:
  """Does what the flags ask for and says what came of it."""
  # Beam warns on import about cloud libraries that are not installed, and repeats every error that it raises.
  logging.set_verbosity(logging.FATAL)
  if _FORGET.value:
    _forget(beam_arguments)
    return
  from pipelines.declarations import declaration as declarations
  from pipelines.readers import inputs

  patterns = [pattern for value in _INPUT.value for pattern in flags.ListParser().parse(value)]
  paths, skipped = inputs.find(patterns)
  declaration = declarations.read(_DATASET.value, _OVERRIDE.value, paths)
  with _hiding(declaration.client.id):
    _make(declaration, paths, skipped, beam_arguments)


@contextlib.contextmanager
def _hiding(column: str | None) -> Iterator[None]:
  """Hides client ids in the paths that errors name."""
  from pipelines.readers import partitions

  try:
    yield
  except (ValueError, OSError) as error:
    message = ' '.join([str(error), *getattr(error, '__notes__', ())])
    hidden = partitions.hide(message, column)
    if hidden == message:
      raise
    raise ValueError(hidden) from error


def _make(declaration: Any, paths: Sequence[str], skipped: Sequence[str], beam_arguments: Sequence[str]) -> None:
  from pipelines.readers import partitions

  column = declaration.client.id
  if skipped:
    hidden = partitions.hide(_name_all(skipped), column)
    print(f'Skipped, because their names begin with . or _: {hidden}.')
  if _DESCRIBE.value:
    from pipelines.inspection import describe
    from pipelines.rows import client_ids
    from pipelines.shards import accounting

    is_given = bool(_KEY_FILE.value or os.environ.get(client_ids.KEY_VARIABLE))
    key = client_ids.read_key(_KEY_FILE.value, declaration.client.public_ids) if is_given else None
    described = describe.describe(declaration, paths, accounting.MaxBadRows(_MAX_BAD_ROWS.value), key)
    print(printable.show(partitions.hide(described.text, column)), flush=True)
    if described.problem:
      raise ValueError(described.problem)
    return
  _preprocess(declaration, paths, beam_arguments)


def _forget(beam_arguments: Sequence[str]) -> None:
  from contracts import client_shards
  from pipelines.rows import client_ids
  from pipelines.shards import forgetting

  if beam_arguments:
    raise ValueError(f'Expected only flags of ours with --forget, found {beam_arguments[0]!r}: Beam has no part in it.')
  manifest = client_shards.read_manifest(_OUTPUT_DIR.value)
  if 'partition' in manifest['declaration']:
    raise ValueError(
      f'Expected a data set of users with --forget, found simulated clients in {_OUTPUT_DIR.value}: remove the rows '
      'from the input and preprocess it again.'
    )
  key = client_ids.read_key(_KEY_FILE.value, manifest['declaration']['client']['public_ids'])
  if key.fingerprint != manifest['client_id_key']:
    raise ValueError(
      'Expected the key of client ids that the data set was made with, found another: give that key in '
      '--client_id_key_file.'
    )
  names = _read_names(_FORGET.value)
  asked = client_ids.hash_names(names, key.secret)
  unknown = forgetting.find_unknown(_OUTPUT_DIR.value, asked)
  outcome = forgetting.forget(_OUTPUT_DIR.value, asked)
  print(
    f'Forgot {outcome.clients:,} users: {outcome.rows:,} rows, {len(outcome.shards)} shards written anew in '
    f'{_OUTPUT_DIR.value}. The logs still have them.',
    *outcome.warnings,
    sep='\n',
  )
  lines = [line for line in unknown if names[line].strip()]
  if lines:
    print(
      f'Not in the data set, perhaps forgotten before: {len(lines):,} of the ids in {_FORGET.value}, first that of '
      f'line {lines[0] + 1}.'
    )


def _read_names(path: str) -> list[str]:
  try:
    with open(path, encoding='utf-8-sig') as file:
      names = [line.rstrip('\r\n') for line in file]
  except (OSError, UnicodeDecodeError) as error:
    what = error.strerror if isinstance(error, OSError) else 'no UTF-8'
    raise ValueError(f'Expected user ids in {path}, a line each, found {what}: check the file.') from error
  if not any(name.strip() for name in names):
    raise ValueError(f'Expected user ids in {path}, found none: write one a line.')
  return names


def _preprocess(declaration: Any, paths: Sequence[str], beam_arguments: Sequence[str]) -> None:
  from pipelines import job as job_lib
  from pipelines.execution import running
  from pipelines.readers import partitions
  from pipelines.rows import client_ids
  from pipelines.shards import accounting

  key = client_ids.read_key(_KEY_FILE.value, declaration.client.public_ids)
  limit = accounting.MaxBadRows(_MAX_BAD_ROWS.value)
  job = job_lib.Job(paths, declaration, key, _NUM_SHARDS.value, limit, _OUTPUT_DIR.value)
  options = running.parse_flags(beam_arguments)
  names = partitions.hide(_name_all(paths), declaration.client.id)
  print(printable.show(f'Preprocessing {names} as {declaration.name}.'), flush=True)
  outcome = job_lib.run(job, options)
  if outcome.is_new:
    print(printable.show(_describe(outcome.manifest)))
    print(f'Client shards are in {job.output_dir} ({outcome.manifest["seconds"]:.1f} s).')
  else:
    forgotten = sum(entry['clients'] for entry in outcome.manifest['forgotten'])
    without = f', without {forgotten:,} users forgotten since' if forgotten else ''
    print(f'Nothing to do: {job.output_dir} holds the client shards made of this input as declared{without}.')


def _name_all(paths: Sequence[str]) -> str:
  return ', '.join(paths) if len(paths) <= 3 else f'{len(paths)} files ({paths[0]} … {paths[-1]})'


def _describe(manifest: Mapping[str, Any]) -> str:
  """Returns what was made of the input, for people."""
  from pipelines.shards import accounting

  rows, who = manifest['rows'], 'clients' if 'partition' in manifest['declaration'] else 'users'
  lines = [
    f'rows   {rows["read"]:,} read = {rows["used"]:,} used + {_total("bounded", manifest["bounded_by"])} + '
    + _total('quarantined', rows['quarantined']),
    f'{who}  '
    + _total('kept without examples', manifest['empty_clients'])
    + ', '
    + _total('held out and set aside', manifest['clients_set_aside']),
  ]
  for split, meaning in _SPLIT_MEANINGS.items():
    counts = manifest['splits'][split]
    if counts['clients']:
      empty = f' ({counts["empty"]:,} of them without examples)' if counts.get('empty') else ''
      examples = f'{counts["examples"]:,} examples: {meaning.format(who=who)}'
      lines.append(f'{split:<10} {counts["clients"]:,} {who}{empty}, {examples}')
  lines += [f'note   {note}' for note in accounting.describe_notes(manifest['notes'])]
  lines += [f'warning  {warning}' for warning in manifest['warnings']]
  return '\n'.join(lines)


def _total(what: str, reasons: Mapping[str, int]) -> str:
  from pipelines.shards import accounting

  return f'{sum(reasons.values()):,} {what}' + (f' ({accounting.describe_reasons(reasons)})' if reasons else '')


if __name__ == '__main__':
  cli.run_with_foreign_flags(main)
