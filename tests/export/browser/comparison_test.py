"""Tests of the comparison between browser and LiteRT, without either: both answer what a test says."""

from collections.abc import Callable
import json
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import schema as schema_lib
from export import guard
from export import parity
from export.browser import chromium
from export.browser import comparison

_SCHEMA = schema_lib.Schema(
  'next_character',
  schema_lib.Feature('characters', 'int32', (3,)),
  schema_lib.Feature('next_characters', 'int32', (3,)),
  ('<pad>', '<unknown>', *'abc'),
)
_EXAMPLES = parity.Examples(np.arange(6).reshape(2, 3), np.array([[2, 3, 4], [2, -1, -1]]))
_LOGITS = np.random.default_rng(1).normal(size=(2, 3, 5)).astype(np.float32)
_LOGITS[..., 2] += 5
_INPUT = {'name': 'characters', 'dtype': 'int32', 'shape': [1, 3]}
_STEPS: dict[str, Any] = {
  'input': _INPUT,
  'output': {'name': 'logits', 'dtype': 'float32', 'shape': [1, 3, 5]},
  'step': {
    'input': {**_INPUT, 'shape': [1]},
    'output': {'name': 'logits', 'dtype': 'float32', 'shape': [1, 5]},
    'states': [{'input': 'state_0', 'output': 'next_state_0', 'dtype': 'float32', 'shape': [1, 8], 'start': 0.0}],
  },
}


class ComparisonTest(parameterized.TestCase):
  def _compare(self, path: str, form: str, change: Callable[[np.ndarray], np.ndarray]) -> comparison.Outcome:
    def run(chromium_path: str, site: dict[str, Any], page: str, seconds: float) -> dict[str, bytes]:
      self.assertEqual((chromium_path, page, seconds), ('browser', '/check.html', 9.0))
      self._site = site
      return {'/logits/0': change(_LOGITS.copy()).tobytes(), '/times/0': b'0.25'}

    with mock.patch.object(chromium, 'run', run), mock.patch.object(guard, 'call', return_value=_LOGITS):
      (found,) = comparison.compare(
        'model', {path: form}, _STEPS, _EXAMPLES, _SCHEMA, {'core/index.js': b'1'}, 'browser', guard.Limits(seconds=9.0)
      )
    return found

  @parameterized.parameters(('a.float32.tflite', 'whole', 1), ('a.step.tflite', 'step', 3))
  def test_gives_the_browser_what_it_needs(self, path: str, form: str, calls: int) -> None:
    found = self._compare(path, form, lambda logits: logits)
    self.assertEqual((found.path, found.fault, found.microseconds), (path, '', 250.0))
    assert found.figures
    self.assertEqual((found.figures.argmax_agreement, found.figures.accuracy), (1.0, 0.5))
    (job,) = json.loads(self._site['/job.json'])
    self.assertEqual((job['path'], job['per_example'], len(job['states'])), (f'/model/{path}', calls, calls // 3))
    self.assertEqual(np.frombuffer(self._site['/features/int32'], np.int32).tolist(), [*range(6)])
    self.assertEqual((self._site['/model/'], self._site['/litert/core/index.js']), ('model', b'1'))
    self.assertIn(b'{"imports": {"@litertjs/core": "/litert/core/index.js"}}', self._site['/check.html'])

  @parameterized.parameters(
    ('a.float32.tflite', 1e-3, 'Expected logits within .* of those of LiteRT, found 0.001 away'),
    ('a.float32.tflite', 1e-5, ''),
    ('a.dynamic_range.tflite', 1e-3, ''),
    ('a.dynamic_range.tflite', np.nan, 'Expected the same answer as LiteRT'),
    ('a.dynamic_range.tflite', 20.0, 'Expected the same answer as LiteRT at 99.0% of positions, found 75.00%'),
  )
  def test_says_what_differs(self, path: str, difference: float, expected: str) -> None:
    def change(logits: np.ndarray) -> np.ndarray:
      logits[0, 0, 3] += difference
      return logits

    self.assertRegex(self._compare(path, 'whole', change).fault, expected or '^$')

  def test_one_that_fails_and_the_next(self) -> None:
    posted = {'/failed/0': b'Error: no kernel\n  at a.js', '/logits/1': _LOGITS.tobytes(), '/times/1': b'0.25'}
    self.enterContext(mock.patch.object(chromium, 'run', return_value=posted))
    self.enterContext(mock.patch.object(guard, 'call', return_value=_LOGITS))
    paths = {'a.float32.tflite': 'whole', 'b.float32.tflite': 'whole'}
    first, second = comparison.compare('', paths, _STEPS, _EXAMPLES, _SCHEMA, {}, '', guard.Limits())
    self.assertEqual(first, ('a.float32.tflite', None, 0.0, 'Error: no kernel at a.js'))
    self.assertEqual((second.path, second.fault), ('b.float32.tflite', ''))

  def test_an_older_export(self) -> None:
    older = {name: value for name, value in _STEPS.items() if name != 'output'}
    found = comparison.compare('', {'a.tflite': 'whole'}, older, _EXAMPLES, _SCHEMA, {}, '', guard.Limits())
    with self.assertRaisesRegex(ValueError, 'name input and output of a.tflite, found none: export again.$'):
      next(found)

  def test_says_which_files_no_browser_runs(self) -> None:
    whole = {'form': 'whole', 'summary': 'full precision'}
    variants: dict[str, dict[str, Any]] = {
      'float32': {**whole, 'path': 'a.float32.tflite'},
      'older': {'path': 'a.older.tflite', 'summary': ''},
      'step': {**whole, 'path': 'a.step.tflite', 'form': 'step'},
      'int8_io': {**whole, 'path': 'a.int8_io.tflite', 'quantized': {}},
      'train': {**whole, 'path': 'a.train.tflite', 'form': 'train'},
      'mine': {**whole, 'path': 'a.mine.tflite', 'summary': 'it needs the kernels of TensorFlow (Flex) for X'},
    }
    chosen, refused = comparison.choose(variants)
    self.assertEqual(chosen, {'a.float32.tflite': 'whole', 'a.older.tflite': 'whole', 'a.step.tflite': 'step'})
    self.assertEqual(list(refused), ['a.int8_io.tflite', 'a.train.tflite', 'a.mine.tflite'])


if __name__ == '__main__':
  absltest.main()
