"""Tests of sequences of items."""

from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa

from contracts import schema as schema_lib
from pipelines.featurizers import items
from pipelines.featurizers import vocabularies
from pipelines.rows import columns
from pipelines.rows import rows as rows_lib

_IGNORED, _UNKNOWN = schema_lib.IGNORED_LABEL, schema_lib.UNKNOWN_LABEL
_DECLARED = vocabularies.Items('declared', ('17', 'café', '5'))


def _rows(featurizer: items.Items, *clients: list[Any]) -> rows_lib.ClientRows:
  (column,) = featurizer.columns
  read = column.kind.read(pa.array([item for client in clients for item in client]))
  return rows_lib.ClientRows(pa.table({column.name: read.values}), np.cumsum([0, *map(len, clients)]))


class ItemsTest(parameterized.TestCase):
  def test_schema(self) -> None:
    featurizer = items.Items('place', _DECLARED, 4)
    schema = featurizer.schema
    self.assertEqual((schema.task, schema.feature.shape, schema.label.shape), ('next_item', (4,), (4,)))
    self.assertEqual((schema.feature.name, schema.label.name), ('items', 'next_items'))
    self.assertEqual(schema.classes, ('<pad>', '<unknown>', '17', 'café', '5'))
    self.assertEqual(schema.first_answer, 2)
    self.assertEqual(featurizer.columns, (columns.Column('place', columns.Id()),))

  def test_a_row_is_an_item_and_nothing_stands_between_two(self) -> None:
    featurizer = items.Items('place', _DECLARED, 3)
    made = featurizer.featurize(_rows(featurizer, ['17.0', ' café', '5', '17', '9', '5'], ['5'], ['9', '5']))
    self.assertEqual(made.features.tolist(), [[2, 3, 4], [2, 1, 0], [1, 0, 0]])
    self.assertEqual(made.labels.tolist(), [[3, 4, 2], [_UNKNOWN, 4, _IGNORED], [4, _IGNORED, _IGNORED]])
    self.assertEqual(made.starts.tolist(), [0, 2, 2, 3])
    self.assertEqual((made.first_row.tolist(), made.last_row.tolist()), ([0, 3, 7], [3, 5, 8]))
    for found, expected in ((made.unknown, [0, 1, 1]), (made.positions, [3, 2, 1])):
      self.assertEqual([] if found is None else found.tolist(), expected)

  @parameterized.parameters(([17, 5, 17],), ([17.0, 5.0, 17.0],), (['17', '5', '17'],))
  def test_ids_of_any_type(self, client: list[Any]) -> None:
    featurizer = items.Items('place', _DECLARED, 2)
    self.assertEqual(featurizer.featurize(_rows(featurizer, client)).features.tolist(), [[2, 4]])

  def test_rows_of_the_needed_weight_give_the_examples(self) -> None:
    featurizer = items.Items('place', _DECLARED, 3)
    client = ['17', '5', 'café', '17', '17', '5', 'café', '9']
    self.assertIsNone(featurizer.weigh(_rows(featurizer, client).table))
    for examples in (1, 2):
      rows = _rows(featurizer, client[: featurizer.weight_needed(examples)])
      whole = featurizer.featurize(_rows(featurizer, client))
      np.testing.assert_array_equal(featurizer.featurize(rows).features[:examples], whole.features[:examples])

  def test_codes_fit_their_type(self) -> None:
    known = vocabularies.Items('declared', tuple(map(str, range(200))))
    featurizer = items.Items('place', known, 1)
    made = featurizer.featurize(_rows(featurizer, [199, 199]))
    self.assertEqual((made.features.dtype, made.labels.dtype), (np.int16, np.int16))
    self.assertEqual((made.features.tolist(), made.labels.tolist()), ([[201]], [[201]]))


if __name__ == '__main__':
  absltest.main()
