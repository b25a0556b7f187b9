"""What is asked of featurizers: what is not so would be stored all the same, as something else."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from contracts import schema as schema_lib
from pipelines.featurizers import base
from pipelines.rows import columns as columns_lib
from pipelines.rows import rows as rows_lib


class _Mistake(NamedTuple):
  expected: str
  found: str
  remedy: str


def check_columns(columns: Sequence[columns_lib.Column]) -> None:
  """Checks the columns of a featurizer; for its `__post_init__`.

  Raises:
    ValueError: If one is used twice: as the feature and as the label, for example.
  """
  names = [column.name for column in columns]
  repeated = sorted({name for name in names if names.count(name) > 1})
  if repeated:
    raise ValueError(f'Expected each column in one place, found {repeated[0]!r} in two: use it once.')


def check_examples(featurizer: base.Featurizer, made: base.Examples, rows: rows_lib.ClientRows) -> None:
  """Checks the examples that a featurizer made of the rows against its schema and what `Examples` says.

  Raises:
    ValueError: If they differ; it tells how, and nothing of what the examples hold.
  """
  schema = featurizer.schema
  mistake = next(_find_mistakes(schema, made, rows), None)
  if mistake:
    name = type(featurizer).__name__
    raise ValueError(f'Expected {mistake.expected} of {name}, found {mistake.found}: {mistake.remedy}')


def _find_mistakes(schema: schema_lib.Schema, made: base.Examples, rows: rows_lib.ClientRows) -> Iterator[_Mistake]:
  """Yields what is wrong; what follows the first holds only without it."""
  yield from _check_starts(made.starts, len(rows.starts))
  yield from _check_arrays(schema, made)
  yield from _check_rows(made, rows)
  yield from _check_values(schema, made)


def _check_starts(starts: np.ndarray, size: int) -> Iterator[_Mistake]:
  expected, found = _form('int64', (size,)), _form_of(starts)
  if found != expected:
    yield _Mistake(f'starts {expected}', found, 'give the first example of each client, and the end of the last.')
  if starts[0] != 0 or (np.diff(starts) < 0).any():
    yield _Mistake('starts from 0 on that never fall', 'others', 'keep the clients in the order of the rows.')


def _check_arrays(schema: schema_lib.Schema, made: base.Examples) -> Iterator[_Mistake]:
  examples = int(made.starts[-1])
  forms = {'features': (schema.feature.dtype, schema.feature.shape), 'labels': (schema.label.dtype, schema.label.shape)}
  forms |= dict.fromkeys(('first_row', 'last_row', 'unknown', 'positions'), ('int64', ()))
  for name, (dtype, shape) in forms.items():
    expected, array = _form(dtype, (examples, *shape)), getattr(made, name)
    if _form_of(array) != expected and not (array is None and name in ('unknown', 'positions')):
      remedy = f'its starts end at {examples}, and what is converted must not wrap.'
      yield _Mistake(f'{name} {expected}', _form_of(array), remedy)


def _check_rows(made: base.Examples, rows: rows_lib.ClientRows) -> Iterator[_Mistake]:
  counts = np.diff(made.starts)
  begin, end = (np.repeat(starts, counts) for starts in (rows.starts[:-1], rows.starts[1:]))
  if (made.first_row > made.last_row).any():
    yield _Mistake('first_row <= last_row', 'a last_row before the first', 'last_row is inclusive.')
  if (made.first_row < begin).any() or (made.last_row >= end).any():
    remedy = 'both count from the first row of the table, and last_row is inclusive.'
    yield _Mistake("first_row and last_row among the rows of the example's own client", 'others', remedy)


def _check_values(schema: schema_lib.Schema, made: base.Examples) -> Iterator[_Mistake]:
  # By the extremes, which are a NaN if there is one: it takes a fraction of the time and no memory.
  least, most, first = made.labels.min(initial=0), made.labels.max(initial=0), schema.first_answer
  are_special = bool(first) and ((made.labels >= 0) & (made.labels < first)).any()
  if are_special or not (least >= schema_lib.UNKNOWN_LABEL and most < schema.num_classes):
    expected = (
      f'labels in [{first}, {schema.num_classes}), {schema_lib.UNKNOWN_LABEL} where the answer is no class, or '
      f'{schema_lib.IGNORED_LABEL} where there is none,'
    )
    yield _Mistake(expected, 'others', 'a label is a place among the classes of its schema.')
  extremes = [made.features.min(initial=0), made.features.max(initial=0)] if _is_float(made.features) else []
  if not np.isfinite(extremes).all():
    yield _Mistake('finite features', 'infinite ones or NaN', 'limit them, or make no example of such rows.')


def _is_float(array: np.ndarray) -> bool:
  return np.issubdtype(array.dtype, np.floating)


def _form(dtype: str | np.dtype, shape: Sequence[int]) -> str:
  return f'{np.dtype(dtype)} {list(shape)}'


def _form_of(array: object) -> str:
  return _form(array.dtype, array.shape) if isinstance(array, np.ndarray) else type(array).__name__
