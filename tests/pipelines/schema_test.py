"""Tests of the data set's contract."""

from absl.testing import absltest
from absl.testing import parameterized

from pipelines import schema as schema_lib

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

  @parameterized.parameters('task', 'feature', 'label', 'classes')
  def test_a_missing_field_is_named(self, name: str) -> None:
    value = _SCHEMA.to_json()
    del value[name]
    with self.assertRaisesRegex(ValueError, name):
      schema_lib.Schema.from_json(value)


if __name__ == '__main__':
  absltest.main()
