from absl.testing import absltest
from absl.testing import parameterized
import pyarrow as pa

from pipelines.rows import casts


class ToPlainTest(parameterized.TestCase):

  @parameterized.parameters(
      pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(),
      pa.dictionary(pa.int8(), pa.string()),
  )  # fmt: skip
  def test_text(self, kind: pa.DataType) -> None:
    values = pa.array(['é', None, '17'])
    cast = values.dictionary_encode() if pa.types.is_dictionary(kind) else values.cast(kind)
    self.assertEqual(casts.to_plain(cast), values)

  def test_bytes_that_are_no_text_are_null(self) -> None:
    self.assertEqual(casts.to_plain(pa.array([b'a', b'\xff', None])).to_pylist(), ['a', None, None])

  def test_whole_numbers(self) -> None:
    values = pa.array([17.0, -3.0, 0.5, float('nan'), float('inf'), 2.0**53, None])
    self.assertEqual(casts.to_plain(values), pa.array([17, -3, None, None, None, None, None], pa.int64()))
    self.assertEqual(casts.to_plain(pa.array([17.0], pa.float32())).to_pylist(), [17])

  @parameterized.parameters(([1],), ([True],), ([[1]],), ([None],))
  def test_leaves_other_types_alone(self, values: list) -> None:
    self.assertEqual(casts.to_plain(pa.array(values)), pa.array(values))


if __name__ == '__main__':
  absltest.main()
