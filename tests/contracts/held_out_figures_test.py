"""Tests of what is said of held-out users, and of what is not said of few of them."""

import dataclasses
import math
import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from contracts import held_out_figures as figures_lib

_CELL = figures_lib.Cell
# Of 20 users, 4 have a low accuracy.
_FIGURES = figures_lib.Figures(
  'digest',
  400,
  [0.1, 0.1, 0.12, 0.14, *[0.5] * 6, *[0.8] * 9, 1.0],
  [
    figures_lib.Class(0, 200, 150, 20, 20, 7),
    figures_lib.Class(1, 190, 100, 20, 20, 9),
    figures_lib.Class(2, 10, 0, 2, 0, 2),
  ],
  [
    _CELL(0, 0, 150, 20),
    _CELL(1, 1, 100, 20),
    _CELL(1, 0, 86, 9),
    _CELL(0, 1, 50, 7),
    _CELL(2, 0, 10, 2),
    _CELL(1, 2, 4, 1),
  ],
  {'0': 'a', '1': '\n', '2': 'x' * 40},
  3,
  20,
)


def _of_users(accuracies: list[float], positions: int = 10_000) -> figures_lib.Figures:
  return figures_lib.Figures('', positions, accuracies, [], [], {})


def _of_class(times: int, right: int, clients: tuple[int, int, int], *wrong: figures_lib.Cell) -> figures_lib.Figures:
  """Returns figures of a class 0 with these cells of wrong answers, and of a less frequent one."""
  cells = [_CELL(0, 0, right, clients[1]), *wrong] if right else [*wrong]
  classes = [figures_lib.Class(0, times, right, *clients), figures_lib.Class(1, 10, 10, 9, 9, 0)]
  return figures_lib.Figures(
    '', times + 10, [0.5] * 20, classes, [*cells, _CELL(1, 1, 10, 9)], dict.fromkeys('0123', ''), 4
  )


class FiguresTest(parameterized.TestCase):
  def test_users_in_a_sentence(self) -> None:
    said = _FIGURES.describe()
    self.assertEqual(
      said,
      'Over 20 held-out users, on about 20 answers each, accuracy is 58.3% as a mean and 65.0% for the median '
      'user; for the tenth of the users with the lowest accuracy it is 10.0%.',
    )
    # The lowest tenth are two users.
    self.assertEqual(_FIGURES.describe(5), f'{said.partition(" and 65")[0]}.')
    few = _of_users([0.5] * 4)
    self.assertEqual(few.describe(5), 'There are fewer than 5 held-out users: nothing is shown of them.')

  def test_the_median_of_an_odd_number_is_of_one_user(self) -> None:
    seven = _of_users([0.1, 0.2, 0.3, 0.4321, 0.5, 0.6, 0.7])
    self.assertIn('43.2% for the median user', seven.describe())
    self.assertNotIn('43.2', seven.describe(5))

  def test_a_sample(self) -> None:
    sample = dataclasses.replace(_of_users([0.25, 0.75], 39), held_out=6, is_sample=True)
    self.assertEqual(
      sample.describe(),
      'Over 2 of 6 held-out users, on a sample of about 20 answers each, accuracy is 50.0% as a mean. How it differs '
      'between users is not shown: of fewer than 20 answers a user, it would be chance.',
    )
    self.assertEmpty(sample.count_by_accuracy())
    enough = dataclasses.replace(sample, positions=40)
    self.assertIn('on a sample of about 20 answers each, accuracy is 50.0% as a mean and', enough.describe())
    self.assertLen([each for each in enough.count_by_accuracy() if each.clients], 2)

  def test_bins_of_few_users_are_not_shown(self) -> None:
    found = [(round(each.start, 2), round(each.stop, 2), each.clients) for each in _FIGURES.count_by_accuracy()]
    self.assertEqual([each for each in found if each[2]], [(0.1, 0.2, 4), (0.5, 0.6, 6), (0.8, 0.9, 9), (0.9, 1.0, 1)])
    self.assertEqual([each.clients for each in _FIGURES.count_by_accuracy(5)], [6, 9])
    self.assertStartsWith(figures_lib.describe_omitted(_FIGURES), 'Bins of 5 users are omitted: those of fewer than 5,')
    self.assertEqual(figures_lib.describe_omitted(_of_users([0.5] * 9)), '')

  def test_an_omitted_bin_cannot_be_worked_out(self) -> None:
    # One user would be the total without the others.
    bins = _of_users([0.05, *[0.45] * 7, *[0.75] * 6, *[0.95] * 8]).count_by_accuracy(5)
    self.assertEqual([each.clients for each in bins], [7, 8])

  def test_published_bins_do_not_follow_the_users(self) -> None:
    for accuracies in ([0.31] * 9, [0.0, *[0.31] * 9, 1.0]):
      bins = _of_users(accuracies).count_by_accuracy(5)
      self.assertEqual([(round(each.start, 6), round(each.stop, 6)) for each in bins], [(0.3, 0.4)] * (len(bins) > 0))

  @parameterized.parameters(
    ([0.31, 0.35], 0.01), ([0.3, 0.5], 0.02), ([0.3, 0.8], 0.05), ([0.0, 1.0], 0.1), ([0.3], 0.01)
  )
  def test_bins_fit_the_range(self, accuracies: list[float], width: float) -> None:
    bins = _of_users(accuracies).count_by_accuracy()
    self.assertAlmostEqual(bins[0].stop - bins[0].start, width)
    self.assertLessEqual(len(bins), 12)
    self.assertEqual(sum(each.clients for each in bins), len(accuracies))
    for accuracy in accuracies:
      self.assertTrue(any(each.start - 1e-9 <= accuracy <= each.stop + 1e-9 for each in bins))

  def test_confusions(self) -> None:
    found = [(cell.label, cell.answer, round(share, 3)) for cell, share in _FIGURES.list_confusions()]
    self.assertEqual(found, [(1, 0, 0.453), (0, 1, 0.25), (2, 0, 1.0), (1, 2, 0.021)])
    found = [(cell.label, cell.answer, round(share, 3)) for cell, share in _FIGURES.list_confusions(5)]
    # The class 2 is of two users, so class 1 is omitted too, and of class 0 how often it is right.
    self.assertEmpty(found)
    self.assertEqual([each.label for each in _FIGURES.list_classes(5)], [0])

  @parameterized.parameters(
    # Right answers of one user; the only wrong answer would give them away.
    (3, (9, 1, 9), [_CELL(0, 1, 97, 9)], False, []),
    (3, (9, 1, 9), [_CELL(0, 1, 50, 9), _CELL(0, 2, 47, 9)], False, [1]),
    # Wrong answers of one user.
    (97, (9, 9, 1), [_CELL(0, 1, 3, 1)], False, []),
    # One wrong answer that is of one user, and more than one.
    (50, (9, 9, 9), [_CELL(0, 1, 30, 9), _CELL(0, 2, 19, 9), _CELL(0, 3, 1, 1)], True, [1]),
    (50, (9, 9, 9), [_CELL(0, 1, 50, 9)], True, [1]),
    # Never, or always right: of all users.
    (0, (9, 0, 9), [_CELL(0, 1, 60, 9), _CELL(0, 2, 40, 9)], True, [1, 2]),
    (100, (9, 9, 0), [], True, []),
  )
  def test_what_is_omitted_cannot_be_worked_out(
    self, right: int, clients: tuple[int, int, int], wrong: list[figures_lib.Cell], shows_right: bool, shown: list[int]
  ) -> None:
    figures = _of_class(100, right, clients, *wrong)
    # If it is omitted, so is that of the other class: the accuracy over both is known.
    self.assertEqual(figures.find_right(5), {0, 1} if shows_right else set())
    self.assertEqual([cell.answer for cell, _ in figures.list_confusions(5)], shown)
    row = figures.to_matrix(5)[0]
    expected = [*([0] if shows_right and right else []), *shown]
    self.assertEqual([answer for answer, share in enumerate(row) if not math.isnan(share)], expected)
    # The operator sees all.
    self.assertEqual(figures.find_right(), {0, 1})
    self.assertLen(figures.list_confusions(), len(wrong))

  def test_matrix(self) -> None:
    self.assertEqual(_FIGURES.to_matrix()[2][0], 1.0)
    shown = dataclasses.replace(_FIGURES, positions=390, classes=_FIGURES.classes[:2]).to_matrix(5)
    self.assertEqual(shown[0][:2], [0.75, 0.25])
    self.assertEqual(shown[1][1], 100 / 190)
    self.assertTrue(all(map(math.isnan, (*shown[2], shown[1][0], shown[1][2], shown[0][2]))))

  def test_names(self) -> None:
    self.assertEqual([_FIGURES.name(label) for label in (0, 1)], ['a', '\\n'])
    self.assertLen(_FIGURES.name(2), 16)
    self.assertEqual(figures_lib.Figures('', 1, [], [], [], {'0': ' '}).name(0), '␣')


class FilesTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._run_dir = self.enterContext(tempfile.TemporaryDirectory())
    os.makedirs(os.path.join(self._run_dir, 'operator'))

  def test_reads_what_was_written(self) -> None:
    self.assertIsNone(figures_lib.read(self._run_dir, 'digest'))
    figures_lib.write(self._run_dir, _FIGURES)
    self.assertEqual(figures_lib.read(self._run_dir, 'digest'), _FIGURES)

  def test_figures_of_another_model_are_none(self) -> None:
    figures_lib.write(self._run_dir, _FIGURES)
    self.assertIsNone(figures_lib.read(self._run_dir, 'another'))

  def test_a_damaged_file(self) -> None:
    figures_lib.write(self._run_dir, _FIGURES)
    path = pathlib.Path(self._run_dir, 'operator/held_out.json')
    for text in (path.read_text().replace('0.5', '0.6'), '{}', ''):
      path.write_text(text)
      with self.assertRaisesRegex(ValueError, 'Expected figures of held-out users in .*: delete the file and export'):
        figures_lib.read(self._run_dir, 'digest')


if __name__ == '__main__':
  absltest.main()
