"""Tests of the page in a real browser: somebody types, draws and moves sliders, and gets the answers of the file."""

import os
import pathlib
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from export.browser import chromium
from export.browser import litert_js
from export.browser import page
from export.snippets import facts as facts_lib
from tests.export import fakes
from tests.export.browser import tools
from tests.export.snippets import folders
from tests.export.snippets import javascript

_PHONE, _DESKTOP = (390, 844), (1280, 800)
# Each screen takes seconds.
_ON_A_PHONE = ('characters', 'table')
_STROKES = [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.8)], [(0.2, 0.5), (0.8, 0.55)]]
_ACTIONS: dict[str, list[dict[str, Any]]] = {
  # A key, an answer that is clicked, a character that is taken back, and another one.
  'characters': [
    {'do': 'type', 'selector': '#text', 'text': 'to be, ox'},
    {'do': 'press', 'selector': '#text', 'key': 'Backspace'},
    {'do': 'type', 'selector': '#text', 'text': 'r no'},
  ],
  'words': [{'do': 'type', 'selector': '#text', 'text': "'Tis fair, Istanbul"}],
  'items': [
    {'do': 'fill', 'selector': '#item', 'text': '17.0'},
    {'do': 'click', 'selector': '#add'},
    {'do': 'fill', 'selector': '#item', 'text': ' Caf\u00e9 3'},
    {'do': 'press', 'selector': '#item', 'key': 'Enter'},
  ],
  'table': [
    {'do': 'fill', 'selector': 'input[aria-label="x, as a number"]', 'text': '0.75'},
    {'do': 'fill', 'selector': 'input[aria-label="z[1], as a number"]', 'text': '-20'},
    {'do': 'select', 'selector': 'select[aria-label="os"]', 'label': 'no value'},
    {'do': 'select', 'selector': 'select[aria-label="answer"]', 'label': 'another value'},
    {'do': 'select', 'selector': 'select[aria-label="sex"]', 'label': 'm'},
  ],
  'windows': [{'do': 'fill', 'selector': 'input[aria-label="x: level, as a number"]', 'text': '2'}],
  'image': [{'do': 'draw', 'selector': '#paper', 'strokes': _STROKES}],
}


class PageTest(parameterized.TestCase):
  def test_in_a_browser(self) -> None:
    browser = tools.find_chromium(self)
    runtime = litert_js.read(tools.LITERT_JS)
    # The code that the page runs, with all that it has to make examples of. Here, for making the files takes longest.
    made = {kind: folders.make(kind) for kind in folders.CASES}
    given = {kind: {'given': case.given, 'wrong': case.wrong} for kind, case in folders.CASES.items()}
    answered = javascript.run(browser, runtime, made, given)
    for kind, case in folders.CASES.items():
      with self.subTest(kind):
        case.check(self, answered[kind])
        self.assertEqual(answered[kind]['wrong'], folders.WRONG_SIZE.get(kind, []))
    site: dict[str, str | bytes] = {}
    for kind, path in made.items():
      folder = pathlib.Path(path)
      text = page.render(f'Kind: {kind}', 'A model with random weights.', folders.facts(kind), fakes.privacy(), runtime)
      (folder / 'index.html').write_text(text)
      site |= {f'/{kind}/litert/{name}': content for name, content in runtime.items()}
      site[f'/{kind}/'] = os.fspath(folder)
    screenshots = os.environ.get('POCKETFED_SCREENSHOTS') or self.create_tempdir().full_path
    with chromium.serve(site) as address:
      visits: list[dict[str, Any]] = [
        {
          'name': f'{kind}-{width}',
          'url': f'{address}/{kind}/index.html',
          'width': width,
          'height': height,
          'actions': actions,
        }
        for kind, actions in _ACTIONS.items()
        for width, height in (_DESKTOP, _PHONE)
        if (width, height) == _DESKTOP or kind in _ON_A_PHONE
      ]
      shown = tools.visit(self, visits, screenshots)
    for visit, found in zip(visits, shown, strict=True):
      with self.subTest(visit['name']):
        self.assertEqual((found['problems'], found['error']), ([], ''))
        self.assertFalse(found['isWide'])
        self.assertRegex(found['status'], r'^A call of the model takes \d+\.\d\d ms in this browser')
        self.assertEmpty([sent for sent in found['requested'] if not sent.startswith((f'GET {address}/', 'GET data:'))])
        self._check(visit['name'].partition('-')[0], found)

  def _check(self, kind: str, found: dict[str, Any]) -> None:
    """Compares the answers on a page with those of the file on LiteRT."""
    case = folders.CASES[kind]
    first, classes = case.featurizer.schema.first_answer, case.featurizer.schema.classes
    logits = self._answer(kind, found)[first:].astype(np.float64)
    shares = 100 * np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    order = np.argsort(-shares, kind='stable')[:5]
    self.assertEqual([name for name, _ in found['answers']], [classes[first + code] for code in order])
    np.testing.assert_allclose([share for _, share in found['answers']], shares[order], atol=0.06)

  def _answer(self, kind: str, found: dict[str, Any]) -> np.ndarray:
    case = folders.CASES[kind]
    if case.is_sequence:
      entered = {
        'characters': 'to be, or no',
        'words': ["'tis", 'fair', ',', 'istanbul'],
        'items': ['17', 'Caf\u00e9 3'],
      }
      return case.answer(case.encode(*entered[kind]))[0, len(entered[kind]) - 1]
    if kind == 'table':
      row: dict[str, list[Any]] = {
        'x': [0.75],
        'z': [[1.0, -20.0]],
        'on': [3.0],
        'os': [None],
        'answer': ['?'],
        'sex': ['m'],
        'label': ['a'],
      }
      return case.answer(folders.featurize(case.featurizer, row).features)[0]
    if kind == 'windows':
      wave = np.sin(2 * np.pi * 2 * np.arange(3) / 3)
      features = np.stack([2 + 3.333 * wave, 3.333 * wave], -1)
      return case.answer(features[np.newaxis].astype(np.float32))[0]
    # What the page shows as seen is black on white; the data set of the case is not, and was inverted.
    pixels = np.array(found['pixels'], np.uint8).reshape(1, 12, 12)
    self.assertGreater(np.count_nonzero(pixels < 128), 5)
    self.assertEqual(pixels[:, [0, -1]].min(), 255)
    return case.answer(pixels)[0]

  def test_says_what_was_promised(self) -> None:
    for ledger, expected in (
      (fakes.privacy(), '(7.62, 0.0001)-differential privacy, unit: client'),
      (fakes.privacy(private=False), 'No privacy guarantee: this run adds no noise.'),
      ({}, 'No privacy guarantee: the run has no record of its privacy.'),
    ):
      self.assertIn(expected, page.render('', '', folders.facts('characters'), ledger, {}))

  def test_what_somebody_typed_is_no_markup(self) -> None:
    ledger = {**fakes.privacy(), 'covers': '<script>alert(1)</script>'}
    text = page.render('<b>', '<i>', folders.facts('characters'), ledger, {})
    for markup in ('<script>alert', '<b>', '<i>'):
      self.assertNotIn(markup, text)

  def test_asks_no_other_server(self) -> None:
    for kind in folders.CASES:
      text = page.render('', '', folders.facts(kind), {}, {'core/index.js': b''})
      self.assertNotRegex(text.replace('http://127.0.0.1:8000/', ''), 'https?:|//cdn')

  @parameterized.parameters(
    ({'needs_flex': True}, r'a.tflite needs the kernels of TensorFlow \(Flex\)'),
    ({'steps': {'examples': {'kind': 'my.own'}}}, 'a featurizer of your own'),
    ({}, ''),
  )
  def test_says_why_there_is_none(self, changes: dict[str, Any], expected: str) -> None:
    facts = folders.facts('characters')
    steps = {**facts.steps, **changes.pop('steps', {})}
    reason = page.why_none(facts_lib.Facts(**{'steps': steps, 'path': 'a.tflite', 'is_step': True, **changes}))
    self.assertRegex(reason, f'^(.* )?{expected}' if expected else '^$')

  def test_says_how_to_see_it(self) -> None:
    folder = self.create_tempdir().full_path
    self.assertIn('--litert_js=node_modules/@litertjs/core', page.describe(folder, {}))
    pathlib.Path(folder, 'index.html').write_text('')
    self.assertIn(f'--directory {folder}', page.describe(folder, {'core/index.js': b''}))


if __name__ == '__main__':
  absltest.main()
