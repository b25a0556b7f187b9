"""What would come of a declaration, shown before anything is made: of all rows of a small input, else of the first."""

from collections.abc import Iterator, Sequence
import dataclasses
import textwrap
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from contracts import client_shards
from contracts import guarantees
from contracts import schema as schema_lib
from pipelines import row_remedies
from pipelines.declarations import declaration as declarations
from pipelines.declarations import parsing
from pipelines.featurizers import base as featurizers
from pipelines.inspection import decoding
from pipelines.limits import bounds
from pipelines.limits import simulated_clients
from pipelines.limits import splits as splits_lib
from pipelines.readers import base as readers
from pipelines.readers import partitions
from pipelines.rows import client_ids
from pipelines.rows import reports
from pipelines.shards import accounting
from pipelines.shards import quality
from pipelines.shards import shard_building
from pipelines.shards import shard_writing

_INDENT = ' ' * 10
_MOST_CLASSES = 10
# Read in a second or two.
_ENOUGH_ROWS, _ENOUGH_BYTES = 100_000, 64 << 20


class Description(NamedTuple):
  """What would come of a declaration.

  Attributes:
    text: Some lines for people, without any client's id.
    problem: Why the job would fail, as far as the rows tell that were looked at; None if it would not.
  """

  text: str
  problem: str | None


class _Rows(NamedTuple):
  """Rows of the input.

  Attributes:
    place: Which ones they are, for people.
    is_all: Whether they are all there are.
    knows_splits: Whether the users that the job holds out are known: with another key these are others.
    table: Those that can be used.
    report: What the job would count of them.
  """

  place: str
  is_all: bool
  knows_splits: bool
  table: pa.Table
  report: reports.Report


def describe(
  declaration: declarations.Declaration,
  paths: Sequence[str],
  max_bad_rows: accounting.MaxBadRows,
  key: client_ids.Key | None = None,
) -> Description:
  """Returns the schema, one example, and what is limited, held out and learned, of all rows of a small input.

  Args:
    declaration: What is made of them.
    paths: The files.
    max_bad_rows: Beyond which the job fails.
    key: Of the hash of the ids, which decides who is held out; None if it is not known.

  Raises:
    ValueError: If the rows cannot be read: one line for the user.
  """
  featurizer = declaration.featurizer
  rows = _read_rows(declaration, paths, key)
  builder = shard_building.ShardBuilder.of(declaration)
  bucket, gathered = builder.gather([rows.table])
  rows.report.add(gathered)
  lines = [*_describe_rows(rows)]
  splits = None
  if featurizer.learner:
    lines.append(_entry('examples', 'cannot be shown yet: what they are made with is learned when the job runs'))
  else:
    splits = _count_splits(builder.build(bucket, rows.report))
    lines += _describe_use(declaration, rows)
    lines += _describe_schema(featurizer.schema)
    lines += _describe_example(declaration, bucket, rows.report)
  lines += _describe_limits(declaration.limits)
  lines += _describe_splits(declaration.splits, 'clients' if declaration.partition else 'users')
  if declaration.partition:
    lines.append(_entry('partition', declaration.partition.warning))
  clients = builder.count_clients(bucket)
  lines += [_entry('warning', warning) for warning in _warn(declaration, rows, clients, splits)]
  lines += _describe_learning(featurizer)
  return Description('\n'.join(lines), _find_problem(declaration, rows, max_bad_rows, clients, splits))


def _warn(
  declaration: declarations.Declaration,
  rows: _Rows,
  clients: dict[str, int],
  splits: dict[str, dict[str, int]] | None,
) -> Iterator[str]:
  """Yields what the job would warn of, besides what the examples say."""
  yield from row_remedies.suggest(rows.report, declaration)
  if rows.knows_splits and splits is not None:
    yield from accounting.warn(splits)
  elif rows.is_all:  # How many there are in all is known whatever the key is.
    yield from accounting.warn_of_few(sum(clients.values()), 'clients, those held out included')


def _read_rows(declaration: declarations.Declaration, paths: Sequence[str], key: client_ids.Key | None) -> _Rows:
  tables = [parsing.schema_of(declaration).empty_table()]
  report = reports.Report()
  size = 0
  knows_key = declaration.client.public_ids or key is not None
  secret = (key or client_ids.read_key(None, is_public=True)).secret
  for path, block, part in _read_blocks(declaration, paths):
    if report.total(reports.READ) >= _ENOUGH_ROWS or size >= _ENOUGH_BYTES:
      first = f'the first {report.total(reports.READ):,} of {path}'
      return _Rows(first, False, False, _assign_clients(declaration, pa.concat_tables(tables), secret), report)
    read = parsing.read_block(block, part, declaration, secret)
    tables.append(read.table)
    report.add(reports.Report(read.counts))
    size += block.table.nbytes
  place = paths[0] if len(paths) == 1 else f'{len(paths):,} files'
  table = _assign_clients(declaration, pa.concat_tables(tables), secret)
  return _Rows(f'all {report.total(reports.READ):,} of {place}', True, knows_key, table, report)


def _assign_clients(declaration: declarations.Declaration, table: pa.Table, key: bytes) -> pa.Table:
  """Returns the rows with the client that each is of if these are all, and there is a row for each client."""
  if not declaration.partition or not table.num_rows:
    return table
  clients = min(declaration.partition.clients, table.num_rows)
  shown = dataclasses.replace(declaration, partition=dataclasses.replace(declaration.partition, clients=clients))
  counts = simulated_clients.count_labels(table, declaration.split_by)
  return shown.assign({'': counts}, key).assign('', table)


def _read_blocks(
  declaration: declarations.Declaration, paths: Sequence[str]
) -> Iterator[tuple[str, readers.Block, readers.Part]]:
  """Yields the blocks of all files, with what they are of: the first of some files, or the one that there is."""
  columns = parsing.raw_columns(declaration)
  for place, path in enumerate(paths):
    for part in declaration.reader.parts(path, place):
      for block in partitions.read(declaration.reader, part, columns):
        yield path if len(paths) == 1 else f'{len(paths):,} files', block, part


def _count_splits(content: shard_writing.ShardContent) -> dict[str, dict[str, int]]:
  examples = np.diff(content.starts)
  return {
    split: {'clients': int(np.count_nonzero(mask)), 'examples': int(examples[mask].sum())}
    for split, mask in ((split, content.splits == place) for place, split in enumerate(client_shards.SPLITS))
  }


def _find_problem(
  declaration: declarations.Declaration,
  rows: _Rows,
  limit: accounting.MaxBadRows,
  clients: dict[str, int],
  splits: dict[str, dict[str, int]] | None,
) -> str | None:
  """Returns the message with which the job would end, checking what the job checks."""
  learner = declaration.featurizer.learner
  try:
    accounting.check_rows(rows.report, limit, declaration)
    if rows.is_all and declaration.partition:
      declaration.partition.check_rows(rows.table.num_rows)
    if rows.is_all and splits is not None:  # Else there may be more rows of a user, or what is learned is not known.
      accounting.check(rows.report, limit, declaration)
    if rows.knows_splits and splits is not None:
      accounting.check_splits(splits)
    if rows.knows_splits and learner:
      accounting.check_before_learning(clients, learner.cost)
  except ValueError as error:
    return str(error) if rows.is_all else f'Of {rows.place}: {error}'
  return None


def _describe_rows(rows: _Rows) -> Iterator[str]:
  refused = rows.report.reasons(reports.QUARANTINED)
  refused.pop(bounds.DUPLICATE, None)
  unusable = sum(refused.values())
  reasons = f' ({accounting.describe_reasons(refused)})' if refused else ''
  yield _entry('rows', f'{rows.place}: {rows.table.num_rows:,} can be used, {unusable:,} cannot{reasons}')
  if not rows.is_all:
    yield _entry('', 'the job reads and checks the others too')
  yield from (_entry('note', note) for note in accounting.describe_notes(rows.report.reasons(reports.NOTES)))


def _describe_use(declaration: declarations.Declaration, rows: _Rows) -> Iterator[str]:
  """Yields what the job will count of the rows that can be used, if these are all and the key makes no difference."""
  bounded = rows.report.reasons(reports.BOUNDED)
  is_known = rows.knows_splits or not declaration.featurizer.examples_overlap
  if rows.is_all and is_known and bounded:
    used, removed = rows.report.total(reports.USED), accounting.describe_reasons(bounded)
    yield _entry('', f'{used:,} of them are in examples, {sum(bounded.values()):,} are not ({removed})')


def _describe_schema(schema: schema_lib.Schema) -> Iterator[str]:
  yield _entry('task', schema.task)
  for name, feature in (('feature', schema.feature), ('label', schema.label)):
    shape = f' [{", ".join(map(str, feature.shape))}]' if feature.shape else ''
    yield _entry(name, f'{feature.name}: {feature.dtype}{shape}')
  shown = ', '.join(map(repr, schema.classes[:_MOST_CLASSES]))
  more = ', …' if schema.num_classes > _MOST_CLASSES else ''
  yield _entry('classes', f'{schema.num_classes:,}: {shown}{more}')


def _describe_example(
  declaration: declarations.Declaration, bucket: shard_building.Bucket, report: reports.Report
) -> Iterator[str]:
  if not bucket.rows.table.num_rows:
    yield _entry('example', 'none: there are no usable rows')
    return
  made = declaration.featurizer.featurize(bucket.rows)
  twice = report.reasons(reports.QUARANTINED).get(bounds.DUPLICATE, 0)
  duplicates = f', {twice:,} rows twice' if twice else ''
  yield _entry('clients', f'{len(bucket.ids):,} in these rows, who give {len(made.labels):,} examples{duplicates}')
  if not len(made.labels):
    yield _entry('example', 'none: no client has enough of these rows')
    return
  # Of the client with most examples, since the first of those with few may be mostly padding.
  first = made.starts[np.argmax(np.diff(made.starts))]
  yield _entry('example', 'the first of the client with most')
  schema = declaration.featurizer.schema
  yield textwrap.indent(decoding.decode(schema, made.features[first], made.labels[first]), _INDENT)
  yield from (_entry('warning', warning) for warning in quality.warn(report, declaration))


def _describe_limits(limits: bounds.Limits) -> Iterator[str]:
  chosen = {'first': 'its first', 'latest': 'its latest', 'random': 'chosen by a hash'}[limits.keep]
  yield _entry('limits', f'a client keeps at most {limits.max_examples_per_client:,} examples, {chosen}')
  yield _entry('', f'at most {limits.max_bytes_per_client:,} bytes of its rows are looked at')
  yield _entry('', f'with fewer than {limits.min_examples_per_client:,} it has none; it counts in the population still')


def _describe_splits(splits: splits_lib.Splits, who: str) -> Iterator[str]:
  held_out = {'last': 'the last', 'random': 'a random'}[splits.tail]
  yield _entry(
    'splits',
    f'{_percent(splits.test_users_share)} of the {who} are held out for test, '
    f'{_percent(splits.validation_users_share)} for validation; {held_out} {_percent(splits.tail_share)} of the '
    "others' examples",
  )
  if not splits.test_users_share:
    yield _entry('warning', 'test_users_share = 0 holds nobody out: training refuses such a data set')


def _describe_learning(featurizer: featurizers.Featurizer) -> Iterator[str]:
  for entry in featurizer.provenance:
    yield _entry('privacy', f'{entry["what"]}: {entry["source"]}, {_cost(entry["epsilon"], entry["delta"])}')
  if featurizer.learner:
    promises = [*_promises(featurizer)] or ["learned from the training users' data"]
    yield from (_entry('privacy', promise) for promise in promises)


def _promises(featurizer: featurizers.Featurizer) -> Iterator[str]:
  """Yields what learning costs by the options of the featurizer that say it."""
  for field in dataclasses.fields(featurizer):  # type: ignore[arg-type]  # Featurizers are dataclasses.
    options = getattr(featurizer, field.name)
    if getattr(options, 'source', '') == 'dp':
      yield f'{field.name}: learned from the training users, {_cost(options.epsilon, options.delta)}'


def _cost(epsilon: float, delta: float) -> str:
  return f'epsilon {guarantees.format_epsilon(epsilon)}, delta {delta:g}' if epsilon or delta else 'at no cost'


def _percent(share: float) -> str:
  return f'{100 * share:.3g}%'


def _entry(name: str, text: str) -> str:
  return f'{name:<{len(_INDENT)}}{text}'
