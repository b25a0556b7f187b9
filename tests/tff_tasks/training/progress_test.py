"""Tests of the line that says how a run is doing, on a terminal and in a file."""

import io
import math
import os
import re
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from tff_tasks.training import metrics
from tff_tasks.training import progress


class _Terminal(io.StringIO):
  def isatty(self) -> bool:
    return True


def _show(text: str, columns: int) -> list[str]:
  """Returns what a terminal with this many columns shows below its prompt."""
  lines, row, column = ['$', ''], 1, 0
  for sign in re.findall('\033\\[\\d*[A-Z]|.|\n', text):
    if sign.endswith('A') and len(sign) > 1:
      row -= int(sign[2:-1])
    elif sign == '\033[J':
      lines[row:] = [lines[row][:column]]
    elif sign == '\r':
      column = 0
    elif sign == '\n' or column == columns:
      row, column = row + 1, 0
      lines.append('')
    if sign.isprintable():
      lines[row] = lines[row][:column] + sign + lines[row][column + 1 :]
      column += 1
  return lines


def _row(number: int, **figures: float | int | None) -> metrics.RoundMetrics:
  values = {'clients': 50, 'loss': 2.5, 'accuracy': 0.25, 'epsilon': 1.234, 'seconds': 0.5} | figures
  return metrics.RoundMetrics(number, **values)  # type: ignore[arg-type]


def _progress(stream: io.StringIO, first_round: int, total_rounds: int) -> progress.Progress:
  return progress.Progress(stream, first_round, total_rounds, 50)


def _show_row(shown: progress.Progress, row: metrics.RoundMetrics) -> None:
  shown.update([row])
  shown.tick(row.round)


class ProgressTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._now = 1_000.0
    self.enterContext(mock.patch.dict(os.environ, TERM='xterm'))
    self.enterContext(mock.patch('time.monotonic', side_effect=lambda: self._now))

  def _run(self, stream: io.StringIO, total: int, first: int = 1, seconds_a_round: float = 1.0) -> list[str]:
    """Shows all rounds from the first; returns the lines."""
    shown = _progress(stream, first, total)
    if first == 1:
      _show_row(shown, metrics.RoundMetrics(0, eval_accuracy=0.01, seconds=0.1))
    for number in range(first, total + 1):
      self._now += seconds_a_round
      _show_row(shown, _row(number))
    return stream.getvalue().splitlines()

  def test_a_line_says_all(self) -> None:
    stream = io.StringIO()
    shown = _progress(stream, 1, 40)
    _show_row(shown, metrics.RoundMetrics(0, eval_accuracy=0.01))
    self.assertEqual(stream.getvalue(), '')
    self._now += 3
    _show_row(shown, _row(1))
    self.assertEqual(
      stream.getvalue(),
      'round  1/40 [....................]  loss 2.500  accuracy 25.0%  held-out 1.0% after round 0  17 clients/s  '
      'epsilon 1.24  1:57 left\n',
    )

  def test_what_is_not_known_is_not_shown(self) -> None:
    stream = io.StringIO()
    unknown = _row(1, clients=0, loss=None, accuracy=None, epsilon=None)
    _show_row(_progress(stream, 1, 2), unknown)
    self.assertEqual(stream.getvalue(), 'round 1/2 [##########..........]  0:00 left\n')

  def test_figures_are_those_of_the_last_round_that_was_saved(self) -> None:
    stream = io.StringIO()
    shown = _progress(stream, 1, 4)
    self._now += 10
    shown.tick(1)
    shown.update([_row(1, loss=1.5), _row(2, loss=0.5)])
    self._now += 10
    shown.tick(2)
    first, second = stream.getvalue().splitlines()
    self.assertEqual(first, 'round 1/4 [#####...............]  5 clients/s  0:30 left')
    self.assertIn('  loss 0.500  accuracy 25.0%  5 clients/s  epsilon 1.24  0:20 left', second)

  def test_held_out_accuracy_is_the_last_measured(self) -> None:
    stream = io.StringIO()
    shown = _progress(stream, 1, 4)
    for number, accuracy in enumerate((math.nan, 0.1, None, 0.2), 1):
      _show_row(shown, _row(number, eval_accuracy=accuracy))
    found = [re.findall('  held-out (.*?)  ', line) for line in stream.getvalue().splitlines()]
    self.assertEqual(found, [[], ['10.0%'], ['10.0% after round 2'], ['20.0%']])

  def test_with_local_layers_it_is_that_before_and_after_reconstruction(self) -> None:
    stream = io.StringIO()
    figures = {'eval_accuracy': 0.5, 'eval_before_reconstruction': 0.1, 'eval_after_reconstruction': 0.25}
    _show_row(_progress(stream, 1, 4), _row(1, **figures))
    self.assertIn('  held-out 25.0% reconstructed, 10.0% before  ', stream.getvalue())
    # Nobody of the held-out users may have enough examples.
    _show_row(_progress(stream := io.StringIO(), 1, 4), _row(1, eval_accuracy=0.5))
    self.assertIn('  held-out 50.0%  ', stream.getvalue())

  def test_epsilon_is_that_of_the_last_saved_round(self) -> None:
    shown = _progress(stream := io.StringIO(), 1, 6)
    for number, epsilons in ((2, (None, 0.5)), (4, (None, 1.5)), (6, (None, None))):  # The last: no promise any more.
      shown.update(_row(number, epsilon=epsilon) for epsilon in epsilons)
      shown.tick(number)
    found = [re.findall('epsilon ([0-9.]+)', line) for line in stream.getvalue().splitlines()]
    self.assertEqual(found, [['0.50'], ['1.50'], []])

  def test_skipped_clients_add_up(self) -> None:
    stream = io.StringIO()
    shown = _progress(stream, 1, 4)
    for number, count in enumerate((0, 2, None, 1_000), 1):
      _show_row(shown, _row(number, skipped_clients=count))
    found = [re.findall('([0-9,]+) skipped', line) for line in stream.getvalue().splitlines()]
    self.assertEqual(found, [[], ['2'], ['2'], ['1,002']])

  def test_what_is_said_stays_in_a_file(self) -> None:
    stream = io.StringIO()
    shown = _progress(stream, 1, 4)
    shown.say('Skipped client 1')
    _show_row(shown, _row(1))
    shown.say('Skipped client 2')
    lines = stream.getvalue().splitlines()
    self.assertEqual([line[:17] for line in lines], ['Skipped client 1', 'round 1/4 [#####.', 'Skipped client 2'])

  @parameterized.parameters(200, 40, 17)
  def test_what_is_said_stays_above_the_line_of_a_terminal(self, columns: int) -> None:
    stream = _Terminal()
    with mock.patch.dict(os.environ, {'COLUMNS': str(columns)}):
      shown = _progress(stream, 1, 3)
      shown.say('first')
      for number in (1, 2):
        _show_row(shown, _row(number))
        shown.say(f'after round {number}')
      before = _show(stream.getvalue(), columns)
      _show_row(shown, _row(3))
      shown.say('in the end')
    after = _show(stream.getvalue(), columns)
    self.assertEqual(before[:4], ['$', 'first', 'after round 1', 'after round 2'])
    self.assertStartsWith(''.join(before[4:]), 'round 2/3 ')
    self.assertStartsWith(''.join(after[4:-2]), 'round 3/3 ')
    self.assertEqual([*after[:4], after[-2]], ['$', 'first', 'after round 1', 'after round 2', 'in the end'])

  def test_a_dumb_terminal_is_like_a_file(self) -> None:
    with mock.patch.dict(os.environ, TERM='dumb'):
      self.assertEqual(self._run(_Terminal(), 3), self._run(io.StringIO(), 3))

  @parameterized.parameters((_Terminal(), 1, 1), (_Terminal(), 2, 1), (io.StringIO(), 1, 1), (io.StringIO(), 0, 0))
  def test_what_comes_after_begins_on_a_line_of_its_own(self, stream: io.StringIO, rounds: int, lines: int) -> None:
    with mock.patch.dict(os.environ, {'COLUMNS': '200'}):
      shown = _progress(stream, 1, 2)
      for number in range(1, rounds + 1):
        _show_row(shown, _row(number))
      drawn = stream.getvalue().count('round ')
      shown.close()
      self.assertEqual(stream.getvalue().count('round '), drawn)
    screen = _show(stream.getvalue() + 'error', 200)
    self.assertEqual(screen[-1], 'error')
    self.assertLen(screen, 2 + lines)

  @parameterized.parameters((1, 1), (7, 7), (20, 20), (21, 12), (140, 21), (1_000, 21), (1_019, 21))
  def test_a_file_gets_few_lines(self, total: int, expected: int) -> None:
    lines = self._run(io.StringIO(), total)
    self.assertLen(lines, expected)
    self.assertRegex(lines[0], f'^round +1/{total} ')
    self.assertRegex(lines[-1], f'^round {total}/{total} .* 0:00 left$')
    self.assertNotIn('\r', ''.join(lines))

  @parameterized.parameters(200, 134, 133, 132, 80, 40, 17)
  def test_a_terminal_shows_one_line_that_is_redrawn(self, columns: int) -> None:
    stream = _Terminal()
    with mock.patch.dict(os.environ, {'COLUMNS': str(columns)}):
      self._run(stream, 140, seconds_a_round=0.5)
    self.assertEqual(stream.getvalue().count('/140 ['), 140)
    screen = _show(stream.getvalue(), columns)
    expected = self._run(io.StringIO(), 140, seconds_a_round=0.5)[-1]
    self.assertLen(expected, 133)
    self.assertEqual(screen, ['$', *(expected[start : start + columns] for start in range(0, 133, columns)), ''])

  def test_a_resumed_run_says_so_at_its_first_round(self) -> None:
    lines = self._run(io.StringIO(), 1_000, first=503)
    self.assertStartsWith(lines[0], 'round  503/1000 [##########..........]')
    self.assertStartsWith(lines[1], 'round  550/1000 ')

  @parameterized.parameters((1, 10, '1:30'), (1, 400, '1:06:30'), (101, 110, '1:30'), (10, 10, '0:00'))
  def test_time_left_is_that_of_the_rounds_of_this_session(self, first: int, total: int, clock: str) -> None:
    lines = self._run(io.StringIO(), total, first, seconds_a_round=10)
    self.assertEndsWith(lines[0], f'  {clock} left')
    self.assertEndsWith(lines[-1], '  0:00 left')


if __name__ == '__main__':
  absltest.main()
