"""Tests of figures by user and by answer, counted by hand."""

from absl.testing import absltest
import numpy as np

from contracts import held_out_figures
from export import held_out
from tests.export import fakes


def _logits(answers: np.ndarray, num_classes: int) -> np.ndarray:
  return np.eye(num_classes)[answers]


class HeldOutTest(absltest.TestCase):
  def test_one_answer_an_example(self) -> None:
    labels = np.array([0, 0, 1, 1, 2, -2], np.int32)
    clients = np.array([4, 4, 4, 7, 7, 9])
    answers = np.array([0, 1, 1, 0, 2, 5])
    found = held_out.measure(labels, clients, _logits(answers, 10), fakes.HANDWRITING, 'digest', 3, False)
    # The user 9 has no answer that counts.
    self.assertEqual((found.model, found.positions, found.accuracies), ('digest', 5, [0.5, 2 / 3]))
    self.assertEqual(
      [tuple(each) for each in found.classes],
      [(0, 2, 1, 1, 1, 1), (1, 2, 1, 2, 1, 1), (2, 1, 1, 1, 1, 0)],
    )
    self.assertEqual(
      {tuple(each) for each in found.cells}, {(0, 0, 1, 1), (0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 1, 1), (2, 2, 1, 1)}
    )
    self.assertEqual((found.matrix_size, found.names['9']), (10, '9'))

  def test_an_answer_at_each_position(self) -> None:
    labels = np.full((2, 12), -1, np.int32)
    labels[0, :3], labels[1, :2] = (3, 3, 4), (3, 4)
    answers = np.full((2, 12), 3)
    found = held_out.measure(labels, np.array([0, 5]), _logits(answers, 20), fakes.CHARACTERS, 'digest', 9, True)
    self.assertEqual((found.positions, found.accuracies), (5, [0.5, 2 / 3]))
    self.assertEqual(found.classes[0], held_out_figures.Class(3, 3, 3, 2, 2, 0))
    self.assertEqual([tuple(each) for each in found.cells], [(3, 3, 3, 2), (4, 3, 2, 2)])
    self.assertEqual((found.matrix_size, found.names), (0, {'3': 'c', '4': 'd'}))
    self.assertEqual((found.held_out, found.is_sample), (9, True))


if __name__ == '__main__':
  absltest.main()
