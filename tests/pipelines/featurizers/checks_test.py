"""Tests of what is asked of featurizers: each mistake that one can make is told, and nothing of the data."""

from collections.abc import Callable
import dataclasses
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa

from contracts import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import checks
from pipelines.rows import columns
from pipelines.rows import rows as rows_lib

# Three clients of 3, 0 and 2 rows; every row but the last of the first client is an example.
_ROWS = rows_lib.ClientRows(pa.table({'number': [1.0] * 5}), np.array([0, 3, 3, 5]))
_STARTS = (0, 2, 2, 4)


@dataclasses.dataclass(frozen=True)
class Own(base.Featurizer):
  """A featurizer of which the schema alone is asked."""

  schema = schema_lib.Schema(
    task='classification',
    feature=schema_lib.Feature('numbers', 'uint8', (3,)),
    label=schema_lib.Feature('label', 'int8', ()),
    classes=('a', 'b'),
  )
  columns = ()

  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Floats(Own):
  schema = dataclasses.replace(Own.schema, feature=schema_lib.Feature('numbers', 'float32', (3,)))


@dataclasses.dataclass(frozen=True)
class Sequence(Own):
  schema = schema_lib.Schema(
    'next_word',
    schema_lib.Feature('words', 'uint8', (2,)),
    schema_lib.Feature('next', 'int8', (2,)),
    (*schema_lib.SPECIAL_CLASSES, 'a'),
  )


def _made(**changes: Any) -> base.Examples:
  made = base.Examples(
    features=np.full((4, 3), 255, np.uint8),
    labels=np.array([0, 1, schema_lib.IGNORED_LABEL, schema_lib.UNKNOWN_LABEL], np.int8),
    starts=np.array(_STARTS),
    first_row=np.array([0, 0, 3, 4]),
    last_row=np.array([0, 2, 4, 4]),
  )
  return made._replace(**changes)


def _floats(*values: float) -> np.ndarray:
  return np.array([[0.0, -1e38, 3e38], values, values, values], np.float32)


class CheckExamplesTest(parameterized.TestCase):
  @parameterized.parameters(_made(), _made(unknown=np.zeros(4, np.int64)))
  def test_what_fits_passes(self, *made: Any) -> None:
    checks.check_examples(Own(), base.Examples(*made), _ROWS)

  def test_clients_without_examples_pass(self) -> None:
    none = np.zeros(0, np.int64)
    made = base.Examples(np.zeros((0, 3), np.uint8), np.zeros(0, np.int8), np.zeros(4, np.int64), none, none)
    checks.check_examples(Own(), made, _ROWS)
    checks.check_examples(Floats(), made._replace(features=np.zeros((0, 3), np.float32)), _ROWS)

  @parameterized.named_parameters(
    ('that_would_wrap', np.full((4, 3), 300), r'int64 \[4, 3\]'),
    ('of_another_byte_order', np.zeros((4, 3), '>i2'), r'>i2 \[4, 3\]'),
    ('too_wide', np.zeros((4, 4), np.uint8), r'uint8 \[4, 4\]'),
    ('flat', np.zeros(12, np.uint8), r'uint8 \[12\]'),
    ('too_many', np.zeros((5, 3), np.uint8), r'uint8 \[5, 3\]'),
    ('no_array', [[0] * 3] * 4, 'list'),
  )
  def test_features(self, features: Any, found: str) -> None:
    expected = rf'^Expected features uint8 \[4, 3\] of Own, found {found}: its starts end at 4, and what is converted '
    with self.assertRaisesRegex(ValueError, expected):
      checks.check_examples(Own(), _made(features=features), _ROWS)

  @parameterized.named_parameters(
    ('labels', 'labels', np.zeros(4, np.int64), r'labels int8 \[4\] of Own, found int64 \[4\]:'),
    ('a_label_each', 'labels', np.zeros((4, 1), np.int8), r'labels int8 \[4\] of Own, found int8 \[4, 1\]:'),
    ('one_label_short', 'labels', np.zeros(3, np.int8), r'labels int8 \[4\] of Own, found int8 \[3\]:'),
    ('first_row', 'first_row', np.zeros(3, np.int64), r'first_row int64 \[4\] of Own, found int64 \[3\]:'),
    ('last_row', 'last_row', np.arange(4.0), r'last_row int64 \[4\] of Own, found float64 \[4\]:'),
    ('unknown', 'unknown', np.zeros(5, np.int64), r'unknown int64 \[4\] of Own, found int64 \[5\]:'),
    ('too_few_starts', 'starts', np.array([0, 2, 4]), r'starts int64 \[4\] of Own, found int64 \[3\]:'),
    ('unsigned_starts', 'starts', np.array(_STARTS, np.uint64), r'starts int64 \[4\] of Own, found uint64 \[4\]:'),
    ('starts_short_of_the_end', 'starts', np.array([0, 2, 2, 3]), r'features uint8 \[3, 3\] of Own, found'),
    ('starts_beyond_the_end', 'starts', np.array([0, 2, 2, 5]), r'features uint8 \[5, 3\] of Own, found'),
    ('starts_later', 'starts', np.array([1, 2, 2, 4]), 'starts from 0 on that never fall of Own, found others:'),
    ('starts_fall', 'starts', np.array([0, 3, 2, 4]), 'starts from 0 on that never fall of Own, found others:'),
    ('last_before_first', 'last_row', np.array([0, 2, 2, 4]), 'first_row <= last_row of Own, found a last_row bef'),
  )
  def test_arrays(self, name: str, array: np.ndarray, message: str) -> None:
    with self.assertRaisesRegex(ValueError, f'^Expected {message}'):
      checks.check_examples(Own(), _made(**{name: array}), _ROWS)

  @parameterized.named_parameters(
    ('first_of_the_client_before', 'first_row', [0, 0, 2, 4]),
    ('first_below_the_table', 'first_row', [-1, 0, 3, 4]),
    ('last_of_the_next_client', 'last_row', [0, 3, 4, 4]),
    ('last_beyond_the_table', 'last_row', [0, 2, 4, 5]),
  )
  def test_rows_are_the_clients_own(self, name: str, rows: list[int]) -> None:
    expected = "^Expected first_row and last_row among the rows of the example's own client of Own, found others: both "
    with self.assertRaisesRegex(ValueError, expected):
      checks.check_examples(Own(), _made(**{name: np.array(rows)}), _ROWS)

  @parameterized.parameters(2, 100, -3)
  def test_labels_are_places_among_the_classes(self, label: int) -> None:
    expected = r'^Expected labels in \[0, 2\), -2 where the answer is no class, or -1 where there is none, of Own, '
    with self.assertRaisesRegex(ValueError, expected) as raised:
      checks.check_examples(Own(), _made(labels=np.array([0, label, 1, 1], np.int8)), _ROWS)
    self.assertNotIn('100', str(raised.exception))

  def test_a_special_class_is_no_label(self) -> None:
    rows = rows_lib.ClientRows(pa.table({'number': [1.0]}), np.array([0, 1]))
    none = np.zeros(1, np.int64)
    made = base.Examples(np.array([[1, 2]], np.uint8), np.array([[2, -2]], np.int8), np.array([0, 1]), none, none)
    checks.check_examples(Sequence(), made, rows)
    for label in (0, 1):
      with self.assertRaisesRegex(ValueError, r'^Expected labels in \[2, 3\), -2 where '):
        checks.check_examples(Sequence(), made._replace(labels=np.array([[label, 2]], np.int8)), rows)

  @parameterized.parameters(np.nan, np.inf, -np.inf)
  def test_floats_are_finite(self, value: float) -> None:
    checks.check_examples(Floats(), _made(features=_floats(1, 2, 3)), _ROWS)
    with self.assertRaisesRegex(ValueError, '^Expected finite features of Floats, found infinite ones or NaN: limit'):
      checks.check_examples(Floats(), _made(features=_floats(1, value, 3)), _ROWS)


class CheckColumnsTest(parameterized.TestCase):
  @parameterized.parameters(columns.Text, columns.Number)
  def test_a_column_has_one_place(self, kind: Callable[[], columns.Kind]) -> None:
    a, b, c = (columns.Column(name, columns.Text()) for name in 'abc')
    checks.check_columns((a, b, c))
    with self.assertRaisesRegex(ValueError, "^Expected each column in one place, found 'b' in two: use it once.$"):
      checks.check_columns((a, b, c, columns.Column('b', kind())))


if __name__ == '__main__':
  absltest.main()
