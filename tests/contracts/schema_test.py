"""Tests of the data set's contract."""

import dataclasses
import json
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized

from contracts import schema as schema_lib

_SCHEMA = schema_lib.Schema(
  'handwriting',
  schema_lib.Feature('image', 'uint8', (28, 28)),
  schema_lib.Feature('character', 'int8', ()),
  ('0', '1'),
)


class SchemaTest(parameterized.TestCase):
  def test_json_gives_the_schema_back(self) -> None:
    self.assertEqual(schema_lib.Schema.from_json(_SCHEMA.to_json()), _SCHEMA)

  def test_sizes(self) -> None:
    self.assertEqual((_SCHEMA.feature.size, _SCHEMA.label.size, _SCHEMA.num_classes), (784, 1, 2))

  @parameterized.parameters(
    ((*schema_lib.SPECIAL_CLASSES, 'a', '<pad>'), 2), (('<pad>', 'a'), 1), (('a', '<unknown>'), 0)
  )
  def test_special_classes_of_a_sequence_are_no_answers(self, classes: tuple[str, ...], first: int) -> None:
    feature = schema_lib.Feature('words', 'int8', (3,))
    self.assertEqual(schema_lib.Schema('next_word', feature, feature, classes).first_answer, first)
    single = dataclasses.replace(_SCHEMA, classes=classes)
    self.assertEqual((single.first_answer, single.is_sequence), (0, False))

  @parameterized.parameters('task', 'feature', 'label', 'classes')
  def test_a_missing_field_is_named(self, name: str) -> None:
    value = _SCHEMA.to_json()
    del value[name]
    with self.assertRaisesRegex(ValueError, name):
      schema_lib.Schema.from_json(value)

  @parameterized.parameters(
    ('shape', [-28, -28]),
    ('shape', [28, 0]),
    ('shape', [1 << 40]),
    ('shape', [1.5]),
    ('shape', [1] * 9),
    ('shape', ['a']),
    ('dtype', 'float128'),
    ('dtype', 'object'),
    ('dtype', []),
  )
  def test_a_feature_that_cannot_be_is_named(self, key: str, wrong: Any) -> None:
    value = json.loads(json.dumps(_SCHEMA.to_json()))
    value['feature'][key] = wrong
    with self.assertRaisesRegex(ValueError, 'found no valid'):
      schema_lib.Schema.from_json(value)


if __name__ == '__main__':
  absltest.main()
