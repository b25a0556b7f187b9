"""Tests of what is said of a data set, as text and as a page."""

import dataclasses
import html
import pathlib
import re
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np
import pytest

from pipelines.inspection import inspection
from pipelines.inspection import inspection_report
from tests.pipelines import inspected


@pytest.mark.slow
class InspectionReportTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.figures = inspection.measure(inspected.write(folder))
    self.page = pathlib.Path(folder, 'page.html')

  def _write_page(self, figures: inspection.Figures) -> str:
    inspection_report.write_page(figures, str(self.page))
    return self.page.read_text()

  def test_text_says_what_there_is(self) -> None:
    text = inspection_report.describe(self.figures)
    self.assertIn('5 users, 37 examples for classification (features float32[2] -> label int8, 3 classes)', text)
    self.assertRegex(text, r'\ntrain +3 +31 +2 +4 +10\.3 +25  to learn from\n')
    self.assertRegex(text, r'\nvalidation +1 +3 +3 +3 +3\.0 +3  held-out users, to choose by\n')
    self.assertRegex(text, r'\n  2–4 +2 #{40}\n')
    self.assertIn("over all their examples 'walk' has 77%", text)

  def test_what_a_model_has_to_beat(self) -> None:
    sentence = "Always answering 'run' is right 100.0% of the time on the test users: a model has to beat that."
    self.assertIn(f'\n{sentence}\n', inspection_report.describe(self.figures))
    self.assertIn(sentence, html.unescape(self._write_page(self.figures)))

  def test_answers_that_no_model_gives_are_said(self) -> None:
    self.assertNotIn('Coverage', inspection_report.describe(self.figures))
    folder = self.enterContext(tempfile.TemporaryDirectory())
    with mock.patch.dict(inspected._LABELS[0], {('cy', 'test'): [2, 2, -1, -2]}):
      figures = inspection.measure(inspected.write(folder))
    sentence = 'Coverage: 66.7% of the 3 true answers of the test users are ones that a model can give; accuracy is'
    self.assertIn(sentence, inspection_report.describe(figures))
    self.assertIn(sentence, html.unescape(self._write_page(figures)))

  def test_named_by_data_set_and_folder(self) -> None:
    self.figures = self.figures._replace(data_set='my <log>', name='runs/shards')
    self.assertStartsWith(inspection_report.describe(self.figures), 'my <log> in runs/shards: 5 users, 37 examples')
    page = self._write_page(self.figures)
    self.assertIn('<title>my &lt;log&gt; · runs/shards · client shards</title>', page)
    self.assertIn('<h1>my &lt;log&gt;</h1>', page)

  def test_the_page_shows_what_would_steer_a_terminal(self) -> None:
    schema = dataclasses.replace(self.figures.schema, classes=('\x1b[2Jwalk', 'sit\u202e', 'run'))
    page = self._write_page(self.figures._replace(schema=schema))
    self.assertIn('<td>\\x1b[2Jwalk</td>', page)
    self.assertNotRegex(page, '[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]')

  def test_users_without_examples_are_said(self) -> None:
    folder = self.enterContext(tempfile.TemporaryDirectory())
    figures = inspection.measure(inspected.write(folder, empty=('fay',)))
    said = 'Besides, 1 training users without examples: they count in the population.'
    self.assertIn(said, inspection_report.describe(figures))
    self.assertIn(said, self._write_page(figures))
    self.assertNotIn('Besides', inspection_report.describe(self.figures))

  def test_text_accounts_for_every_row(self) -> None:
    text = inspection_report.describe(self.figures)
    self.assertIn('Rows: 60 read = 37 used + 12 removed by a limit + 11 quarantined', text)
    self.assertRegex(text, r'\n +duplicate_row +10 #+\n')
    self.assertIn('Held-out users set aside: too_little_data 3\n', text)
    self.assertIn('Noted: outside_vocabulary 4,321\n', text)
    self.assertIn('Limits: keep first, max_examples_per_client 1,000\n', text)

  def test_labels_by_split(self) -> None:
    text = inspection_report.describe(self.figures)
    table = text[text.index('Labels by split:') :].splitlines()[1:5]
    expected = ['label train tail validation test', 'walk 20 0 0 0', 'sit 6 1 3 0', 'run 0 0 0 2']
    self.assertEqual([' '.join(line.split()) for line in table], expected)
    page = self._write_page(self.figures)
    self.assertRegex(page, r'<td>sit</td><td>6</td><td>1</td><td>3</td><td>0</td>')

  def test_labels_of_some_clients_say_so_and_rare_ones_are_added_up(self) -> None:
    labels = self.figures.labels._replace(clients=self.figures.labels.clients | {'train': 2})
    schema = dataclasses.replace(self.figures.schema, classes=tuple(map(str, range(30))))
    labels = labels._replace(counts={'train': np.arange(30), 'tail': np.ones(30, int)})
    text = inspection_report.describe(self.figures._replace(labels=labels, schema=schema))
    self.assertIn('Labels by split, of at most 1,000 users each:\n', text)
    self.assertRegex(text, r'\n10 others +45 +10\n')

  def test_warnings(self) -> None:
    self.assertIn('\n\nWarning: The numbers in "<x>" are far from 1.\n', inspection_report.describe(self.figures))
    self.assertIn('<p class="note">The numbers in &#34;&lt;x&gt;&#34; are far', self._write_page(self.figures))

  def test_text_says_what_was_learned_and_forgotten(self) -> None:
    text = inspection_report.describe(self.figures)
    self.assertIn('Learned: scaling <of> x: source dp, epsilon 0.5, delta 1e-06\n', text)
    self.assertIn('Forgotten: asked 2, clients 2, ', text)
    self.assertEndsWith(text, inspection_report.NOT_PRIVATE)

  def test_page_says_the_same(self) -> None:
    page = self._write_page(self.figures)
    for said in ('not private', 'scaling &lt;of&gt; x: source dp, epsilon 0.5', 'clients 2', 'duplicate row', '4,321'):
      self.assertIn(said, page)
    self.assertEqual(page.count('<picture>'), 3)
    self.assertIn('prefers-color-scheme: dark', page)
    self.assertIn('width=device-width', page)

  def test_page_needs_nothing_from_elsewhere(self) -> None:
    page = self._write_page(self.figures)
    addresses = re.findall(r'(?:src|srcset|href)="([^"]*)"', page)
    self.assertLen(addresses, 6)
    self.assertEmpty([address for address in addresses if not address.startswith('data:')])
    self.assertNotIn('<script', page)

  def test_a_data_set_with_nothing_to_draw(self) -> None:
    manifest = {'rows': {'read': 3, 'used': 3, 'bounded': 0, 'quarantined': {}}}
    spreads = {'test': self.figures.spreads['test']}
    figures = self.figures._replace(manifest=manifest, spreads=spreads, sizes=inspection.Histogram((1,), ()), skew=None)
    text = inspection_report.describe(figures)
    self.assertIn('Learned: nothing\nForgotten: nobody\n', text)
    self.assertNotIn('Training users', text)
    page = self._write_page(figures)
    self.assertNotIn('<picture>', page)
    self.assertIn('Nobody.', page)


if __name__ == '__main__':
  absltest.main()
