"""Tests of showing one example to people."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import schema as schema_lib
from pipelines.inspection import decoding


def _schema(task: str, feature: np.ndarray, label: np.ndarray, classes: tuple[str, ...]) -> schema_lib.Schema:
  return schema_lib.Schema(
    task,
    schema_lib.Feature('feature', str(feature.dtype), feature.shape),
    schema_lib.Feature('label', str(label.dtype), label.shape),
    classes,
  )


def _decode(task: str, feature: np.ndarray, label: np.ndarray, classes: tuple[str, ...]) -> str:
  return decoding.decode(_schema(task, feature, label, classes), feature, label)


class TextTest(parameterized.TestCase):
  @parameterized.parameters(
    ('next_character', ('<pad>', '<unknown>', 'a', 'b'), 'ab<unknown>'),
    ('next_word', ('<pad>', '<unknown>', 'to', 'be'), 'to be <unknown>'),
  )
  def test_text_is_spelled_without_its_padding(self, task: str, classes: tuple[str, ...], expected: str) -> None:
    features = np.array([2, 3, 0, 0], np.uint8)
    labels = np.array([3, -2, -1, -1], np.int8)
    self.assertEqual(_decode(task, features, labels, classes), expected)

  def test_a_word_whose_label_is_ignored_is_still_read(self) -> None:
    features, labels = np.array([2, 3, 2], np.int32), np.array([3, -1, 3], np.int32)
    self.assertEqual(_decode('next_word', features, labels, ('<pad>', '<unknown>', 'to', 'be')), 'to be to be')

  def test_words_that_are_not_to_be_guessed_are_read_to_the_end(self) -> None:
    features, labels = np.array([2, 1, 0], np.int32), np.array([-1, -1, -1], np.int32)
    self.assertEqual(_decode('next_word', features, labels, ('<pad>', '<unknown>', 'to')), 'to <unknown>')

  def test_padding_before_the_text_is_not_shown(self) -> None:
    features, labels = np.array([0, 0, 2], np.int32), np.array([-1, -1, 3], np.int32)
    self.assertEqual(_decode('next_word', features, labels, ('<pad>', '<unknown>', 'to', 'be')), 'to be')

  def test_padding_alone_is_nothing(self) -> None:
    features, labels = np.zeros(3, np.uint8), np.full(3, -1, np.int8)
    self.assertEqual(_decode('next_character', features, labels, ('<pad>', 'a')), '')


class ImageTest(parameterized.TestCase):
  def test_ink_is_dark_and_background_blank(self) -> None:
    image = np.full((28, 28), 255, np.uint8)
    image[4:6, 3:10] = 0
    lines = _decode('handwriting', image, np.array(1, np.int8), ('0', 'seven')).split('\n')
    self.assertEqual(lines[:14], ['', '', '   @@@@@@@', *[''] * 11])
    self.assertEqual(lines[14:], ['label: seven'])

  def test_grey_lies_between(self) -> None:
    self.assertEqual(_decode('handwriting', np.full((2, 3), 128, np.uint8), np.array(0), ('a',)), '===\nlabel: a')

  @parameterized.parameters((1, 1, 1, 1), (3, 5, 2, 5), (100, 100, 17, 34), (28, 28, 14, 28), (7, 81, 2, 27))
  def test_a_picture_fits_a_screen(self, height: int, width: int, rows: int, columns: int) -> None:
    lines = _decode('handwriting', np.zeros((height, width), np.uint8), np.array(0), ('a',)).split('\n')[:-1]
    self.assertEqual(lines, ['@' * columns] * rows)


class NumbersTest(parameterized.TestCase):
  def test_a_vector_shows_its_first_numbers_and_its_range(self) -> None:
    vector = np.array([0.25, -1, 2.5], np.float32)
    self.assertEqual(
      _decode('classification', vector, np.array(1, np.int8), ('sit', 'walk')),
      '3 numbers: 0.25 -1 2.5 (least -1, mean 0.583, greatest 2.5)\nlabel: walk',
    )

  def test_a_long_vector_is_cut(self) -> None:
    shown = _decode('classification', np.arange(43, dtype=np.float32), np.array(0), ('sit',))
    self.assertStartsWith(shown, '43 numbers: 0 1 2 3 4 5 6 7 8 9 … (least 0, mean 21, greatest 42)')

  def test_a_window_shows_the_range_of_each_channel(self) -> None:
    window = np.array([[0, 10], [1, 20], [2, 60]], np.float32)
    self.assertEqual(
      _decode('classification', window, np.array(0, np.int8), ('sit',)),
      '3 x 2 numbers\nchannel 0: least 0, mean 1, greatest 2\nchannel 1: least 10, mean 30, greatest 60\nlabel: sit',
    )

  def test_many_channels_are_cut(self) -> None:
    lines = _decode('classification', np.zeros((2, 13), np.float32), np.array(0), ('sit',)).split('\n')
    self.assertLen(lines, 13)
    self.assertEqual(lines[-2], '… 3 more channels')

  def test_an_ignored_label_has_no_name(self) -> None:
    shown = _decode('classification', np.zeros(1, np.float32), np.array(-1, np.int8), ('sit', 'walk'))
    self.assertEndsWith(shown, 'label: none')

  def test_a_label_that_is_no_class_is_unknown(self) -> None:
    shown = _decode('classification', np.zeros(1, np.float32), np.array(-2, np.int8), ('sit', 'walk'))
    self.assertEndsWith(shown, 'label: <unknown>')


if __name__ == '__main__':
  absltest.main()
