from absl.testing import absltest
from absl.testing import parameterized

from tff_tasks.privacy import calibration


class SmallestWithinTest(parameterized.TestCase):
  @parameterized.parameters(0.01, 0.5, 7.0, 300.0)
  def test_finds_the_first_number(self, limit: float) -> None:
    value = lambda number: 5000.0 / number**1.3 if number > 3 else float('inf')  # noqa: E731
    found = calibration.smallest_within(value, limit, 999_999)
    assert found is not None
    self.assertLessEqual(value(found), limit)
    self.assertGreater(value(found - 1), limit)

  def test_looks_at_few_values(self) -> None:
    asked: list[int] = []

    def value(number: int) -> float:
      asked.append(number)
      return 8000.0 / number

    calibration.smallest_within(value, 1.7, 999_999)
    self.assertLess(len(asked), 15)
    self.assertLen(set(asked), len(asked))

  def test_none_is_enough(self) -> None:
    self.assertIsNone(calibration.smallest_within(lambda number: 5.0, 1.0, 999_999))

  def test_the_smallest_of_all_is_enough(self) -> None:
    self.assertEqual(calibration.smallest_within(lambda number: 0.5, 1.0, 999_999), 1)


if __name__ == '__main__':
  absltest.main()
