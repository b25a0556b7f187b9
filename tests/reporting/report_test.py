"""Tests that the report says what the run's files say, and nothing that must not be said."""

import html
from html import parser
import json
import math
import os
import pathlib
import re
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import pytest

from common import files
from common import sealed_json
from contracts import run_directory
from reporting import charts
from reporting import report
from tests.export import fakes
from tests.reporting import drawn_once
from tests.reporting import made_files


class _Page(parser.HTMLParser):
  """The visible text of a page, and the tags and references in it."""

  def __init__(self, page: str) -> None:
    super().__init__()
    self.text, self.tags, self.references = '', list[str](), list[str]()
    self.feed(page)
    self.text = ' '.join(self.text.split())

  def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
    self.tags.append(tag)
    self.references += [value or '' for name, value in attributes if name in ('src', 'href', 'xlink:href')]

  def handle_data(self, data: str) -> None:
    if self.tags[-1:] != ['style']:
      self.text += f' {data}'


@pytest.mark.slow
class ReportTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.enterContext(mock.patch.object(charts, 'draw', drawn_once.draw))
    self._folder = self.enterContext(tempfile.TemporaryDirectory())
    self._run_dir, self._model_dir = (os.path.join(self._folder, name) for name in ('run', 'model'))

  def _write(self, exported: bool = False, **options: object) -> _Page:
    fakes.write_figures(self._run_dir, 'shards', **options)  # type: ignore[arg-type]
    if exported:
      os.makedirs(self._model_dir)
      fakes.write_parity(self._model_dir, made_files.PARITY)
    path = report.write_report(self._run_dir, self._model_dir if exported else None)
    self.assertEqual(path, os.path.join(self._run_dir, 'operator/report.html'))
    return _Page(pathlib.Path(path).read_text())

  def test_headline_figures(self) -> None:
    text = self._write().text
    self.assertIn('37.4 % as a mean over users baseline (bigram) 27.6 %; coverage 50.2', text)
    for figure in ('38.1 %', 'ε = 7.62', 'at δ = 0.0001', '915 users', '2 min 31 s'):
      self.assertIn(figure, text)
    self.assertIn('each training user with all of their examples', text)
    self.assertIn('20,248 weights; not exported yet', text)

  def test_privacy_says_who_sees_what_and_who_accounted(self) -> None:
    text = self._write().text
    for said in ('trust model simulated on one machine', 'accountant version 0.6.0', 'replaced by none (zero-out)'):
      self.assertIn(said, text)
    self.assertNotIn('bound', text.split('Privacy ')[-1])

  def _rewrite(self, **figures: object) -> _Page:
    """Changes figures of the run and returns the new page."""
    path = pathlib.Path(self._run_dir, 'operator/run.json')
    files.write_atomically(str(path), sealed_json.dumps({**json.loads(path.read_text()), **figures}))
    return _Page(pathlib.Path(report.write_report(self._run_dir)).read_text())

  def test_the_accuracy_stands_beside_what_it_is_compared_with(self) -> None:
    page = self._write()
    self.assertIn("Always answering '<end>' is right 16.3% of the time, a bigram 27.6%. Coverage: the model", page.text)
    self.assertIn('19.1% of all answers are right.', page.text)
    self.assertNotIn('does not beat', page.text)
    self.assertIn(' bigram ', page.text.split('Over the rounds')[1].split('Loss')[0])
    self.assertIn('does not beat the baseline (bigram): 20.0% against 27.6%', self._rewrite(accuracy=0.2).text)

  def test_named_by_run_and_data_set(self) -> None:
    folder = os.path.basename(self._folder)
    self.assertStartsWith(self._write().text, f'{folder}/run · my <log> · next character next character on my <log>')

  def test_shows_what_would_steer_a_terminal(self) -> None:
    self._write()
    self.assertIn(r'on my \x1b[2J\u202e log Run', self._rewrite(data_set='my \x1b[2J\u202e log').text)

  @parameterized.parameters((0.5, 0.1, False), (0.3, 0.3, False), (0.3, 0.31, True))
  def test_explains_training_below_held_out(self, training: float, held_out: float, is_said: bool) -> None:
    self._write()
    self._write_metrics(accuracy=[0.9, *[training] * 10], eval_accuracy=[0.0, *[math.nan] * 9, held_out])
    text = _Page(pathlib.Path(report.write_report(self._run_dir)).read_text()).text
    self.assertEqual('Training lies below held-out because' in text.split('Loss')[0], is_said)
    self.assertEqual('lower --client_learning_rate' in text, is_said)

  @parameterized.parameters((1.0, True), (0.98, False), (math.nan, False))
  def test_explains_that_all_updates_are_clipped(self, share: float, is_said: bool) -> None:
    self._write()
    self._write_metrics(clipped_share=[0.5, *[share] * 10])
    text = _Page(pathlib.Path(report.write_report(self._run_dir)).read_text()).text
    self.assertEqual('Every update was longer than the clip' in text, is_said)
    self.assertEqual('raise --clip_norm' in text, is_said)

  @parameterized.parameters((100, 'Rounds 140 100 clients'), (97, 'Rounds 140 about 100 clients'))
  def test_says_whether_the_number_of_clients_is_exact(self, last: int, expected: str) -> None:
    self._write()
    self._write_metrics(clients=[math.nan, *[100] * 9, last])
    self.assertIn(expected, _Page(pathlib.Path(report.write_report(self._run_dir)).read_text()).text)

  def _write_metrics(self, **columns: list[float]) -> None:
    rows = zip(range(11), *columns.values(), strict=True)
    lines = [','.join(['round', *columns]), *(','.join(map(str, row)) for row in rows)]
    pathlib.Path(self._run_dir, 'operator/metrics.csv').write_text('\n'.join(lines).replace('nan', ''))

  @parameterized.parameters((0, None), (1_203, 'a client was skipped 1,203 times'))
  def test_says_if_clients_were_skipped(self, count: int, expected: str | None) -> None:
    self.assertNotIn('skipped', self._write().text)
    text = self._rewrite(skipped_clients=count).text
    self.assertIn(expected, text) if expected else self.assertNotIn('skipped', text)

  def test_says_who_took_part_by_class(self) -> None:
    self.assertNotIn('capability class', self._write().text)
    text = self._rewrite(clients_by_class={'fast': 1_203, '<slow>': 0}).text
    self.assertIn('took part by capability class: fast 1,203 times; <slow> 0 times', text)

  def test_ledger(self) -> None:
    text = self._write().text
    for release in ('model of each round', 'Gaussian noise on the clipped, 8-bit sum', 'vocabulary', 'exact sums'):
      self.assertIn(release, text)
    self.assertEqual(text.count('not private'), 1)
    self.assertIn('the held-out users, whose data only measured the accuracy', text)
    self.assertIn('1,000 a round the same noise-to-signal ratio would give epsilon 2', text)

  def test_what_the_data_set_has_spent_is_told_apart(self) -> None:
    run_directory.make(self._run_dir)
    words = {'what': 'vocabulary', 'mechanism': 'noisy counts', 'private': True, 'epsilon': 1.25, 'delta': 2e-6}
    privacy = {
      **fakes.privacy(),
      'learned_epsilon': 1.25,
      'training_epsilon': 6.37,
      'releases': [words],
      'unit': 'one of 600 simulated clients, no person',
    }
    pathlib.Path(self._run_dir, 'public/privacy.json').write_text(json.dumps(privacy))
    text = _Page(pathlib.Path(report.write_report(self._run_dir)).read_text()).text
    self.assertIn('at δ = 0.0001 (1.25 for the data set, 6.37 for training).', text)
    self.assertIn('noisy counts 1.25 2e-06 yes', text)
    self.assertIn('No person is behind a client here', text)
    for other in ('for the data set', 'No person'):
      self.assertNotIn(other, self._write().text)

  def test_charts(self) -> None:
    page = self._write()
    self.assertEqual(page.tags.count('svg'), 6)
    for label in ('held-out, by user', 'training', 'epsilon', 'largest', 'clip', 'clipped', 'up', 'down'):
      self.assertIn(f' {label} ', page.text)
    self.assertIn('users who took no part (validation split)', page.text)

  def test_model_files(self) -> None:
    text = self._write(exported=True).text
    for figure in ('293 kB', '84 kB', '100.00 %', '99.12 %', '1.9e-06', '0.31', '38.09 %', '1,953 examples'):
      self.assertIn(figure, text)
    self.assertIn('int8 could not be made: took longer than its <limit> of 3 s', text)
    self.assertIn('qat was skipped: Expected layers, found one. clustered was dropped: its file has 900.0 kB. ', text)
    self.assertNotIn('time of a call', text)
    timed = {'path': 'mine', 'latency_us': {'median': 1_265.25, 'p95': 2e3, 'calls': 200}, 'peak_memory_mb': 8.9}
    fakes.write_parity(self._model_dir, {**made_files.PARITY, 'variants': {'float32': timed}})
    text = _Page(pathlib.Path(report.write_report(self._run_dir, self._model_dir)).read_text()).text
    self.assertIn(' 1,265.2 µs 2,000.0 µs 8.90 MB ', text)

  @parameterized.parameters(('public', 1), ('released', 2))
  def test_what_files_learned_from_clients(self, kind: str, times: int) -> None:
    statement = 'Some files learned from examples of data.'
    learned = {'kind': kind, 'folder': 'data', 'fingerprint': '', 'examples': {}, 'statement': statement}
    with mock.patch.dict(made_files.PARITY, calibration=learned):
      text = self._write(exported=True).text
    self.assertEqual(text.count(statement), times)
    self.assertEqual(text.split('What the guarantee does not cover')[1].count(statement), times - 1)
    self.assertIn(statement, text.split('Model files')[1].split('Each file was run')[0])

  def test_no_line_ends_within_a_file_name_or_a_flag(self) -> None:
    self._write(exported=True)
    self._write_metrics(clipped_share=[1.0] * 11)
    privacy = {**fakes.privacy(False), 'no_promise': 'leave --seed out & train'}
    pathlib.Path(self._run_dir, 'public/privacy.json').write_text(json.dumps(privacy))
    source = pathlib.Path(report.write_report(self._run_dir, self._model_dir)).read_text()
    self.assertIn('td code, .flag { white-space: nowrap; }', source)
    self.assertIn('<code>next_character.float32.tflite</code>', source)
    self.assertIn('<span class="flag">--server_learning_rate</span>; if the norms grow', source)
    self.assertEqual(source.count('leave <span class="flag">--seed</span> out &amp; train'), 2)

  def test_flags_without_the_seed(self) -> None:
    page = self._write()
    self.assertIn('--seed=(withheld)', page.text)
    self.assertIn('--clip_norm=0.3', page.text)
    self.assertIn('--nocentered', page.text)
    self.assertNotIn('271828', pathlib.Path(self._run_dir, 'operator/report.html').read_text())

  def test_escapes_what_people_typed(self) -> None:
    page = self._write()
    self.assertNotIn('script', page.tags)
    self.assertIn('--note=<script>alert(1)</script>', page.text)

  def test_stands_alone(self) -> None:
    page = self._write(exported=True)
    self.assertEmpty({'link', 'script', 'img', 'iframe'} & set(page.tags))
    self.assertEmpty([reference for reference in page.references if not reference.startswith('#')])
    source = pathlib.Path(self._run_dir, 'operator/report.html').read_text()
    self.assertNotRegex(source, r'https?:|@import|url\((?!#)')
    self.assertIn('prefers-color-scheme: dark', source)
    self.assertIn('name="viewport"', source)

  def test_without_privacy(self) -> None:
    page = self._write(private=False)
    self.assertIn('no privacy guarantee', page.text)
    self.assertIn('No privacy guarantee: this run adds no noise.', page.text)
    self.assertNotIn('ε =', page.text)
    self.assertNotIn('None', page.text)
    # No epsilon in any round: its chart gives way to words.
    self.assertEqual(page.tags.count('svg'), 5)
    self.assertIn('Not measured in this run.', page.text)

  def test_before_the_first_round(self) -> None:
    page = self._write(rounds=0)
    self.assertIn('Rounds 0 of 140; about 100 clients in each', page.text)
    self.assertEqual(page.tags.count('svg'), 2)

  def test_of_a_run_that_left_little(self) -> None:
    os.makedirs(self._run_dir)
    page = _Page(pathlib.Path(report.write_report(self._run_dir)).read_text())
    self.assertIn('no privacy guarantee', page.text)
    self.assertIn('The run has no record of its flags.', page.text)
    self.assertNotIn('svg', page.tags)
    self.assertNotRegex(page.text, 'None|Undefined|nan')

  @parameterized.parameters('operator/metrics.csv', 'public/privacy.json', 'operator/run.json')
  def test_refuses_a_damaged_file(self, name: str) -> None:
    self._write()
    before = pathlib.Path(self._run_dir, 'operator/report.html').read_text()
    pathlib.Path(self._run_dir, name).write_text('{"epsilon": 7, \n "1')
    with self.assertRaisesRegex(ValueError, f'^Expected .*{name}'):
      report.write_report(self._run_dir)
    self.assertEqual(pathlib.Path(self._run_dir, 'operator/report.html').read_text(), before)

  def test_replaces_the_report_whole(self) -> None:
    self._write()
    before = pathlib.Path(self._run_dir, 'operator/report.html').read_text()
    with mock.patch.object(os, 'fsync', side_effect=OSError('disk full')), self.assertRaises(OSError):
      report.write_report(self._run_dir)
    self.assertEqual(pathlib.Path(self._run_dir, 'operator/report.html').read_text(), before)
    self.assertEqual([name for name in os.listdir(self._run_dir) if 'part' in name], [])

  def test_same_files_same_report(self) -> None:
    self._write()
    before = pathlib.Path(self._run_dir, 'operator/report.html').read_text()
    with mock.patch.object(charts, 'draw', drawn_once.draw_anew):
      report.write_report(self._run_dir)
    self.assertEqual(pathlib.Path(self._run_dir, 'operator/report.html').read_text(), before)

  def test_knows_whether_it_is_whole(self) -> None:
    self._write()
    path = pathlib.Path(self._run_dir, 'operator/report.html')
    whole = path.read_bytes()
    self.assertTrue(report.is_whole(self._run_dir))
    for content in (whole[:-1], whole[:100] + whole[101:], b'', b'\xff', whole + b' '):
      path.write_bytes(content)
      self.assertFalse(report.is_whole(self._run_dir))
    path.unlink()
    self.assertFalse(report.is_whole(self._run_dir))

  @parameterized.parameters((None, '–'), (0.4, '0 s'), (59.6, '1 min'), (151.3, '2 min 31 s'), (3700, '1 h 1 min'))
  def test_durations(self, seconds: float | None, expected: str) -> None:
    run_directory.make(self._run_dir)
    pathlib.Path(self._run_dir, 'operator/run.json').write_text(json.dumps({'seconds': seconds, 'rounds': 1}))
    text = _Page(pathlib.Path(report.write_report(self._run_dir)).read_text()).text
    self.assertTrue(re.search(rf'· {html.escape(expected)}(?= \S)', text), text[:200])


if __name__ == '__main__':
  absltest.main()
