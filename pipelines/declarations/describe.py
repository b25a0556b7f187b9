"""What would come of a declaration, shown on the first rows of the input before anything is made."""

import collections
from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import textwrap
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines import accounting
from pipelines import quality
from pipelines import reports
from pipelines import schema as schema_lib
from pipelines.declarations import declaration as declarations
from pipelines.featurizers import base as featurizers
from pipelines.inspecting import decoding
from pipelines.readers import partitions
from pipelines.rows import client_ids
from pipelines.rows import parsing
from pipelines.rows import rows as rows_lib
from pipelines.shards import bounds
from pipelines.shards import shard_building
from pipelines.shards import splits as splits_lib

_INDENT = ' ' * 10
_MOST_CLASSES = 10
_ENOUGH_ROWS = 10_000


class _FirstRows(NamedTuple):
  """The first rows of the first file that has any.

  Attributes:
    path: The file.
    table: Those that can be used.
    refused: How many cannot, by reason.
    notes: What else is worth knowing of them.
  """

  path: str
  table: pa.Table
  refused: Mapping[str, int]
  notes: Mapping[str, int]


def describe(declaration: declarations.Declaration, paths: Sequence[str]) -> str:
  """Returns the schema, one example, and what is limited, held out and learned, for people; no client's id.

  Raises:
    ValueError: If the first rows cannot be read: one line for the user.
  """
  featurizer = declaration.featurizer
  read = _read_first_rows(declaration, paths)
  lines = [*_describe_rows(read)]
  if featurizer.learner:
    lines.append(_entry('examples', 'cannot be shown yet: what they are made with is learned when the job runs'))
  else:
    lines += _describe_schema(featurizer.schema)
    lines += _describe_example(declaration, read.table)
  lines += _describe_limits(declaration.limits)
  lines += _describe_splits(declaration.splits)
  lines += _describe_learning(featurizer)
  return '\n'.join(lines)


def _read_first_rows(declaration: declarations.Declaration, paths: Sequence[str]) -> _FirstRows:
  tables: list[pa.Table] = []
  refused: collections.Counter[str] = collections.Counter()
  notes: collections.Counter[str] = collections.Counter()
  columns = parsing.raw_columns(declaration)
  for place, path in enumerate(paths):
    for part in declaration.reader.parts(path, place):
      for block in partitions.read(declaration.reader, part, columns):
        # The ids are only told apart here, and shown nowhere: any key will do.
        read = parsing.read_block(block, part, declaration, client_ids.PUBLIC_KEY)
        tables.append(read.table)
        refused.update(read.refused)
        notes.update(read.notes)
        if sum(table.num_rows for table in tables) + refused.total() >= _ENOUGH_ROWS:
          return _FirstRows(path, pa.concat_tables(tables), refused, notes)
    if tables:
      return _FirstRows(path, pa.concat_tables(tables), refused, notes)
  return _FirstRows(paths[0], rows_lib.row_schema(declaration.featurizer.columns).empty_table(), refused, notes)


def _describe_rows(read: _FirstRows) -> Iterator[str]:
  refused = sum(read.refused.values())
  reasons = accounting.describe_reasons(dict(sorted(read.refused.items())))
  yield _entry(
      'rows',
      f'the first {read.table.num_rows + refused:,} of {read.path}: {read.table.num_rows:,} can be used, {refused:,} '
      f'cannot{f" ({reasons})" if refused else ""}',
  )
  yield from (_entry('note', note) for note in accounting.describe_notes(read.notes))


def _describe_schema(schema: schema_lib.Schema) -> Iterator[str]:
  yield _entry('task', schema.task)
  for name, feature in (('feature', schema.feature), ('label', schema.label)):
    shape = f' [{", ".join(map(str, feature.shape))}]' if feature.shape else ''
    yield _entry(name, f'{feature.name}: {feature.dtype}{shape}')
  shown = ', '.join(map(repr, schema.classes[:_MOST_CLASSES]))
  more = ', …' if schema.num_classes > _MOST_CLASSES else ''
  yield _entry('classes', f'{schema.num_classes:,}: {shown}{more}')


def _describe_example(declaration: declarations.Declaration, rows: pa.Table) -> Iterator[str]:
  if not rows.num_rows:
    yield _entry('example', 'none: there are no usable rows')
    return
  builder = shard_building.ShardBuilder.of(declaration)
  bucket, report = builder.gather([rows])
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
  builder.build(bucket, report)
  yield from (_entry('warning', warning) for warning in quality.warn(report, declaration))


def _describe_limits(limits: bounds.Limits) -> Iterator[str]:
  chosen = {'first': 'its first', 'latest': 'its latest', 'random': 'chosen by a hash'}[limits.keep]
  yield _entry('limits', f'a client keeps at most {limits.max_examples_per_client:,} examples, {chosen}')
  yield _entry('', f'at most {limits.max_bytes_per_client:,} bytes of its rows are looked at')
  yield _entry('', f'with fewer than {limits.min_examples_per_client:,} examples it is set aside')


def _describe_splits(splits: splits_lib.Splits) -> Iterator[str]:
  held_out = {'last': 'the last', 'random': 'a random'}[splits.tail]
  yield _entry(
      'splits',
      f'{_percent(splits.test_users_share)} of the users are held out for test, '
      f'{_percent(splits.validation_users_share)} for validation; {held_out} {_percent(splits.tail_share)} of the '
      "others' examples",
  )


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
  return f'epsilon {epsilon:g}, delta {delta:g}' if epsilon or delta else 'at no cost'


def _percent(share: float) -> str:
  return f'{100 * share:.3g}%'


def _entry(name: str, text: str) -> str:
  return f'{name:<{len(_INDENT)}}{text}'
