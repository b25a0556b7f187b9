"""Tests that what the card says of the input is what the declaration says, and what the featurizers do."""

import re
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa

from export import parity
from export import preprocessing
from export import usage
from pipelines.featurizers import base
from pipelines.featurizers import characters
from pipelines.featurizers import image
from pipelines.featurizers import items
from pipelines.featurizers import table
from pipelines.featurizers import vocabularies
from pipelines.featurizers import windows
from pipelines.featurizers import words
from pipelines.rows import number_columns
from pipelines.rows import rows as rows_lib
from pipelines.statistics import scaling
from tests.export import fakes

_LABEL: dict[str, Any] = {'label': 'label', 'classes': ('a', 'b')}
_UNLISTED = 'a value that is not listed where its category has no index for it'
_NO_VALUE = 'no value where its category has no index for that'
_NO_NUMBER = 'a missing number where the table names no value for it'


def _steps(featurizer: base.Featurizer) -> dict[str, Any]:
  ends: list[parity.End] = [('input', 'input', 'float32', (1,)), ('output', 'output', 'float32', (1,))]
  signatures = {'whole': ends}
  return preprocessing.describe(fakes.manifest(featurizer), signatures)['examples']


def _describe(featurizer: base.Featurizer) -> usage.Usage:
  found = usage.describe(_steps(featurizer))
  assert found is not None
  return found


def _table(categories: tuple[table.Category, ...] = (), **fields: Any) -> table.Table:
  return table.Table(**{**_LABEL, 'numbers': ('x',), 'missing': 0.0, 'categories': categories, **fields})


class UsageTest(parameterized.TestCase):
  def test_the_indices_are_those_of_the_features(self) -> None:
    numbers = ('x', 'y', number_columns.NumberColumn('z', 7.0, 2), number_columns.NumberColumn('on', -1.5))
    categories = (
      table.Category('os', ('ios', 'web'), other=True, missing=True),
      table.Category('sex', ('f', 'm')),
      table.Category('ok', ('true',), missing=True),
      table.Category('size', ('s', 'm', 'l'), other=True),
    )
    declared = _table(categories, numbers=numbers, missing=None)
    found = _describe(declared)
    self.assertEqual(
      found.parts[:3],
      [
        usage.Part('0 to 1', 'x, y', '2 numbers'),
        usage.Part(
          '2 to 3', 'z', 'a list of 2 numbers; if the list or one of its numbers is missing, each 7.0 before scaling'
        ),
        usage.Part('4', 'on', 'a number; if missing, -1.5 before scaling'),
      ],
    )
    rows: dict[str, list[Any]] = {
      'x': [1.0] * 3,
      'y': [2.0] * 3,
      'z': [[3.0, 4.0]] * 3,
      'on': [True] * 3,
      'label': ['a'] * 3,
      'os': ['web', 'linux', None],
      'sex': ['m', 'f', 'f'],
      'ok': ['true', 'true', None],
      'size': ['l', 'xs', 's'],
    }
    read = {column.name: column.kind.read(pa.array(rows[column.name])).values for column in declared.columns}
    features = declared.featurize(rows_lib.ClientRows(pa.table(read), np.array([0, 3]))).features
    expected = np.zeros_like(features)
    expected[:, :5] = [1, 2, 3, 4, 1]
    for category, (_, column, content) in zip(categories, found.parts[3:], strict=True):
      self.assertEqual(category.column, column)
      first = int(re.findall(r'(\d+)(?: to \d+)?: its `values`', content)[0])
      index = {value: first + offset for offset, value in enumerate(category.values)}
      for row, value in enumerate(rows[column]):
        phrase = 'no value' if value is None else 'any other value'
        match = re.search(rf'(\d+): {phrase}', content)
        place = index[value] if value in index else int(match.group(1)) if match else None
        self.assertIsNotNone(place, f'{column} {value}: {content}')
        expected[row, place] = 1
    np.testing.assert_array_equal(features, expected)

  @parameterized.parameters(
    (False, False, 0.0, f'{_UNLISTED}, or {_NO_VALUE}'),
    (True, False, 0.0, _NO_VALUE),
    (False, True, 0.0, _UNLISTED),
    (True, True, None, _NO_NUMBER),
    (True, True, 0.0, None),
  )
  def test_says_which_rows_were_not_used(
    self, other: bool, missing: bool, stand_in: float | None, expected: str | None
  ) -> None:
    found = _describe(_table((table.Category('os', ('ios',), other, missing),), missing=stand_in))
    if expected is None:
      self.assertNotIn('not used', found.notes)
    else:
      self.assertIn(f'Rows with {expected} were not used: the model has no useful answer', found.notes)
    self.assertEqual(': any other value' in found.parts[-1].content, other)
    self.assertEqual(': no value' in found.parts[-1].content, missing)

  def test_a_row_is_usable_only_if_each_category_takes_it(self) -> None:
    categories = (table.Category('os', ('ios',), True, True), table.Category('sex', ('f', 'm'), True, False))
    self.assertIn(f'Rows with {_NO_VALUE} were', _describe(_table(categories)).notes)

  def test_columns_that_are_alike_share_a_line(self) -> None:
    numbers = (*(f'bin{index}' for index in range(30)), number_columns.NumberColumn('peak', 5000.0))
    found = _describe(_table(numbers=numbers, missing=None))
    self.assertEqual(
      found.parts,
      [
        usage.Part('0 to 29', 'bin0, bin1, …, bin29', '30 numbers'),
        usage.Part('30', 'peak', 'a number; if missing, 5000.0 before scaling'),
      ],
    )

  def test_a_table_of_categories_alone_speaks_of_no_scaling(self) -> None:
    found = _describe(_table((table.Category('os', ('ios',), True, True),), numbers=(), missing=None))
    self.assertNotRegex(found.notes, 'scal|boolean|not used')

  def test_scaling(self) -> None:
    self.assertIn('The numbers are not scaled.', _describe(_table()).notes)
    scaled = _table(scaling=scaling.Scaling('declared', mean=(1.0,), stddev=(2.0,)))
    self.assertIn('subtract its `mean` and divide by its `stddev`', _describe(scaled).notes)

  def test_windows(self) -> None:
    declared = windows.Windows(**_LABEL, numbers=('x', number_columns.NumberColumn('y', 3.0)), length=128, stride=64)
    found = _describe(declared)
    self.assertStartsWith(found.text, 'Write 128 readings, the oldest first')
    self.assertEqual([part.content for part in found.parts], ['a number', 'a number; if missing, 3.0 before scaling'])
    self.assertIn(f'Readings with {_NO_NUMBER} were not used', found.notes)

  @parameterized.parameters(
    (characters.Characters('text', 4), 'with a newline after each message.'),
    (characters.Characters('text', 4, end_token=False), 'with nothing between two messages.'),
    (words.Words('text', vocabularies.Words('declared', words=('a',)), 4), 'with 2, `<end>`, after each message.'),
    (
      words.Words('text', vocabularies.Words('declared', words=('a',)), 4, end_token=False),
      'with nothing between two messages.',
    ),
  )
  def test_says_what_stands_between_two_texts(self, featurizer: base.Featurizer, expected: str) -> None:
    text = _describe(featurizer).text
    self.assertIn(expected, text)
    self.assertEqual('`<end>`' in text, '<end>' in featurizer.schema.classes)

  def test_items(self) -> None:
    text = _describe(items.Items('place', vocabularies.Items('declared', items=('17',)))).text
    self.assertIn('each as its index in `classes.json` (1, `<unknown>`, for an item that is not listed)', text)

  @parameterized.parameters(False, True)
  def test_images_are_inverted_only_if_declared(self, invert: bool) -> None:
    text = _describe(image.Image('picture', 'label', ('a', 'b'), 10, 10, invert)).text
    self.assertEqual('became 255 - v' in text, invert)

  @parameterized.parameters(
    (characters.Characters('text', 4),),
    (words.Words('text', vocabularies.Words('declared', words=('a',)), 4),),
    (items.Items('place', vocabularies.Items('declared', items=('17',))),),
    (_table(),),
    (_table((table.Category('os', ('ios',)),)),),
    (windows.Windows(**_LABEL, numbers=('x',), length=2, stride=1),),
    (image.Image('picture', 'label', ('a', 'b')),),
  )
  def test_names_only_what_stands_in_the_files(self, featurizer: base.Featurizer) -> None:
    found, steps = _describe(featurizer), _steps(featurizer)
    named = set(re.findall('`([a-z_]+)`', ' '.join([found.text, found.notes, *(part.content for part in found.parts)])))
    inner = [key for value in steps.values() if isinstance(value, dict) for key in value]
    inner += [key for category in steps.get('categories', ()) for key in category]
    self.assertContainsSubset(named, {*steps, *inner, 'first_answer'})

  def test_knows_no_more_of_what_somebody_else_made(self) -> None:
    self.assertIsNone(usage.describe({'kind': 'mine.of.Kind'}))
    self.assertIsNone(usage.describe({}))


if __name__ == '__main__':
  absltest.main()
