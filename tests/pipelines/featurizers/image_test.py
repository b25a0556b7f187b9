"""Tests of images: as they are or inverted, with the class of each."""

from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa

from pipelines.featurizers import image
from pipelines.rows import columns
from pipelines.rows import rows as rows_lib

_IMAGES = np.random.default_rng(0).integers(0, 256, (5, 11, 12), np.uint8)


def _make(**options: Any) -> image.Image:
  given = {'column': 'picture', 'label': 'digit', 'classes': tuple('0123456789'), 'height': 11, 'width': 12, **options}
  return image.Image(**given)


def _rows(featurizer: image.Image, digits: list[Any], starts: list[int]) -> rows_lib.ClientRows:
  pictures, labels = featurizer.columns
  content = pa.array([picture.tobytes() for picture in _IMAGES[: len(digits)]], pa.binary())
  read = pictures.kind.read(content).values
  halves = pa.chunked_array([read[: len(digits) // 2], read[len(digits) // 2 :]])
  table = pa.table({labels.name: labels.kind.read(pa.array(digits)).values, pictures.name: halves})
  return rows_lib.ClientRows(table, np.array(starts))


class ImageTest(parameterized.TestCase):
  @parameterized.parameters((False,), (True,))
  def test_one_row_is_one_example(self, invert: bool) -> None:
    featurizer = _make(invert=invert)
    made = featurizer.featurize(_rows(featurizer, ['3', '9', '0', '1', '3'], [0, 2, 5]))
    np.testing.assert_array_equal(made.features, 255 - _IMAGES if invert else _IMAGES, strict=True)
    np.testing.assert_array_equal(made.labels, np.array([3, 9, 0, 1, 3], np.int8), strict=True)
    self.assertSequenceEqual(made.starts.tolist(), [0, 2, 5])
    for found in (made.first_row, made.last_row):
      self.assertSequenceEqual(found.tolist(), [0, 1, 2, 3, 4])
    self.assertEqual(featurizer.weight_needed(5), 5)

  def test_no_rows(self) -> None:
    featurizer = _make()
    made = featurizer.featurize(_rows(featurizer, [], [0]))
    self.assertEqual((made.features.shape, made.labels.shape), ((0, 11, 12), (0,)))

  def test_schema_is_that_of_the_handwriting_model(self) -> None:
    schema = image.Image('picture', 'digit', ('a', 'b')).schema
    self.assertEqual((schema.task, schema.feature.name, schema.label.name), ('handwriting', 'image', 'character'))
    self.assertEqual((schema.feature.dtype, schema.feature.shape, schema.label.shape), ('uint8', (28, 28), ()))
    self.assertEqual(schema.classes, ('a', 'b'))

  def test_columns(self) -> None:
    expected = (
      columns.Column('picture', columns.Image(11, 12)),
      columns.Column('digit', columns.Category(tuple('0123456789'))),
    )
    self.assertEqual(_make().columns, expected)
    self.assertEqual([entry['what'] for entry in _make().provenance], ['classes'])

  @parameterized.parameters(
    ({'height': 9}, '^Expected images of at least 10x10, found 9x12: enlarge them.$'),
    ({'classes': ()}, 'Expected at least one class'),
    ({'label': 'picture'}, "found 'picture' in two"),
  )
  def test_refuses_what_does_not_fit(self, options: dict[str, Any], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      _make(**options)


if __name__ == '__main__':
  absltest.main()
