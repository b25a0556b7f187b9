"""Tests of what is said of held-out users, and of what is not said of few of them."""

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
  [figures_lib.Class(0, 200, 150, 20), figures_lib.Class(1, 190, 100, 20), figures_lib.Class(2, 10, 0, 2)],
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
)


class FiguresTest(parameterized.TestCase):
  def test_users_in_a_sentence(self) -> None:
    said = _FIGURES.describe()
    self.assertEqual(
      said,
      'Over 20 held-out users, accuracy is 58.3% as a mean and 65.0% for the median user; for the tenth of the users '
      'with the lowest accuracy it is 10.0%.',
    )
    # The lowest tenth are two users.
    self.assertEqual(_FIGURES.describe(5), f'{said.partition(";")[0]}.')
    few = figures_lib.Figures('', 9, [0.5] * 4, [], [], {})
    self.assertEqual(few.describe(5), 'There are fewer than 5 held-out users: nothing is shown of them.')

  def test_bins_of_few_users_are_not_shown(self) -> None:
    found = [(round(each.start, 2), round(each.stop, 2), each.clients) for each in _FIGURES.count_by_accuracy()]
    self.assertEqual([each for each in found if each[2]], [(0.1, 0.2, 4), (0.5, 0.6, 6), (0.8, 0.9, 9), (0.9, 1.0, 1)])
    self.assertEqual([each.clients for each in _FIGURES.count_by_accuracy(5)], [6, 9])
    self.assertEqual(figures_lib.describe_withheld(_FIGURES), '5 users in bins of fewer than 5 are not shown.')

  @parameterized.parameters(
    ([0.31, 0.35], 0.01), ([0.3, 0.5], 0.02), ([0.3, 0.8], 0.05), ([0.0, 1.0], 0.1), ([0.3], 0.01)
  )
  def test_bins_fit_the_range(self, accuracies: list[float], width: float) -> None:
    bins = figures_lib.Figures('', 1, accuracies, [], [], {}).count_by_accuracy()
    self.assertAlmostEqual(bins[0].stop - bins[0].start, width)
    self.assertLessEqual(len(bins), 12)
    self.assertEqual(sum(each.clients for each in bins), len(accuracies))
    for accuracy in accuracies:
      self.assertTrue(any(each.start - 1e-9 <= accuracy <= each.stop + 1e-9 for each in bins))

  def test_confusions(self) -> None:
    found = [(cell.label, cell.answer, round(share, 3)) for cell, share in _FIGURES.list_confusions()]
    self.assertEqual(found, [(1, 0, 0.453), (0, 1, 0.25), (2, 0, 1.0), (1, 2, 0.021)])
    found = [(cell.label, cell.answer, round(share, 3)) for cell, share in _FIGURES.list_confusions(5)]
    self.assertEqual(found, [(1, 0, 0.453), (0, 1, 0.25)])
    self.assertEqual([each.label for each in _FIGURES.list_classes(5)], [0, 1])

  def test_matrix(self) -> None:
    self.assertEqual(_FIGURES.to_matrix()[2][0], 1.0)
    shown = _FIGURES.to_matrix(5)
    self.assertEqual(shown[0][:2], [0.75, 0.25])
    self.assertTrue(all(map(math.isnan, (*shown[2], shown[1][2], shown[0][2]))))

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
