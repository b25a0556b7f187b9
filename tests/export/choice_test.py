"""Tests that the smallest file that is good enough is kept, and that the others say why they are not."""

from typing import Any

from absl.testing import absltest
from absl.testing import parameterized

from export import choice

_MADE: dict[str, dict[str, Any]] = {
  'float32': {'bytes': 900_000, 'accuracy': 0.9},
  'dynamic_range': {'bytes': 240_000, 'accuracy': 0.896},
  'int8': {'bytes': 230_000, 'accuracy': 0.89},
}


class ChoiceTest(parameterized.TestCase):
  @parameterized.parameters(
    (0.005, None, 'dynamic_range'), (0.01, None, 'int8'), (0.0, None, 'float32'), (0.005, 240.0, 'dynamic_range')
  )
  def test_the_smallest_that_holds(self, loss: float, size: float | None, expected: str) -> None:
    best, dropped = choice.Choice(loss, size).choose(_MADE, 0.9)
    self.assertEqual(best, expected)
    self.assertCountEqual([expected, *dropped], _MADE)

  def test_says_why_the_others_are_dropped(self) -> None:
    _, dropped = choice.Choice(0.005).choose(_MADE, 0.9)
    self.assertEqual(
      dropped,
      {
        'float32': 'its file of 900.0 kB is no smaller than that of dynamic_range',
        'int8': 'its accuracy is 0.0100 below that of Keras',
      },
    )

  def test_none_holds(self) -> None:
    best, dropped = choice.Choice(0.005, 235).choose(_MADE, 0.9)
    self.assertIsNone(best)
    self.assertEqual(
      dropped,
      {
        'float32': 'its file has 900.0 kB',
        'dynamic_range': 'its file has 240.0 kB',
        'int8': 'its accuracy is 0.0100 below that of Keras',
      },
    )
    self.assertEqual(
      choice.Choice(0.001, 100).choose(_MADE, 0.9)[1]['int8'],
      'its accuracy is 0.0100 below that of Keras and its file has 230.0 kB',
    )
    self.assertEqual(choice.Choice(0.005).choose({}, 0.9), (None, {}))

  def test_of_equal_sizes_the_more_accurate(self) -> None:
    made = {'a': {'bytes': 5, 'accuracy': 0.5}, 'b': {'bytes': 5, 'accuracy': 0.6}}
    best, dropped = choice.Choice(1.0).choose(made, 0.9)
    self.assertEqual((best, list(dropped)), ('b', ['a']))

  def test_an_accuracy_above_that_of_keras_is_no_loss(self) -> None:
    self.assertEqual(choice.Choice(0.0).choose({'a': {'bytes': 5, 'accuracy': 0.95}}, 0.9)[0], 'a')

  def test_says_what_a_file_has_to_be_like(self) -> None:
    self.assertEqual(choice.Choice(0.005).describe(), 'an accuracy at most 0.005 below that of Keras')
    self.assertEndsWith(choice.Choice(0.005, 300.0).describe(), 'below that of Keras and a file of at most 300 kB')


if __name__ == '__main__':
  absltest.main()
