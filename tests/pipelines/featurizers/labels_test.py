"""Tests of labels: small types that hold every class."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa

from pipelines.featurizers import labels


class LabelsTest(parameterized.TestCase):
  @parameterized.parameters((1, 'int8'), (128, 'int8'), (129, 'int16'), (32_768, 'int16'), (32_769, 'int32'))
  def test_the_smallest_type_that_holds_the_last_class(self, num_classes: int, expected: str) -> None:
    self.assertEqual(labels.dtype_of(num_classes), expected)
    self.assertGreaterEqual(np.iinfo(expected).max, num_classes - 1)
    self.assertEqual(labels.feature('label', ('a',) * num_classes).dtype, expected)

  def test_reads_places(self) -> None:
    places = pa.chunked_array([pa.array([2, 0], pa.int32()), pa.array([1], pa.int32())])
    read = labels.read(places, labels.feature('label', 'abc'))
    np.testing.assert_array_equal(read, np.array([2, 0, 1], np.int8), strict=True)


if __name__ == '__main__':
  absltest.main()
