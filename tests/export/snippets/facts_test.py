"""Tests of which file a snippet is about, and what it needs to know of it."""

from typing import Any

from absl.testing import absltest

from export.snippets import facts as facts_lib

_END = {'name': 'x', 'dtype': 'int32', 'shape': [1, 5]}
_LOGITS = {'name': 'y', 'dtype': 'float32', 'shape': [1, 5, 9]}
_STEPS: dict[str, Any] = {
  'input': _END,
  'output': _LOGITS,
  'step': {'input': {**_END, 'shape': [1]}, 'output': _LOGITS, 'states': [{'input': 'a'}], 'longest': 7},
  'examples': {'kind': 'characters', 'unicode_normalization': 'NFC', 'after_each_text': '\n'},
}


def _variant(path: str, size: int, form: str = 'whole', summary: str = '', **others: Any) -> dict[str, Any]:
  return {'path': path, 'bytes': size, 'form': form, 'summary': summary, **others}


class FactsTest(absltest.TestCase):
  def test_takes_the_smallest_file_that_an_app_can_feed(self) -> None:
    flex = 'it needs the kernels of TensorFlow (Flex)'
    variants = [
      _variant('flex.tflite', 1, 'step', flex),
      _variant('large.tflite', 9, 'step'),
      _variant('step.tflite', 8, 'step'),
      _variant('io.tflite', 2, quantized={'input': {}}),
      _variant('small.tflite', 3),
      _variant('other.tflite', 1, summary=flex),
      _variant('train.tflite', 1, 'train'),
    ]
    # Whatever is best is taken away each time.
    for expected in ('step', 'large', 'flex', 'small', 'other', 'train', 'io'):
      best = facts_lib.choose(_STEPS, {each['path']: each for each in variants})
      self.assertEqual(best.path, f'{expected}.tflite')
      self.assertEqual(best.is_step, expected in ('step', 'large', 'flex'))
      self.assertEqual(best.needs_flex, expected in ('flex', 'other'))
      variants = [each for each in variants if each['path'] != best.path]

  def test_ends_are_those_of_the_form(self) -> None:
    step, whole = (facts_lib.Facts(_STEPS, 'a.tflite', is_step) for is_step in (True, False))
    self.assertEqual((step.input['shape'], step.longest, len(step.states)), ([1], 7, 1))
    self.assertEqual((whole.input['shape'], whole.longest, len(whole.states)), ([1, 5], 5, 0))

  def test_kinds(self) -> None:
    found = facts_lib.Facts(_STEPS, 'a.tflite', is_step=False)
    self.assertEqual(
      (found.kind, found.is_sequence, found.is_text, found.is_tabular), ('characters', True, True, False)
    )
    self.assertFalse(found.has_normal_form)
    own = facts_lib.Facts({**_STEPS, 'examples': {'kind': 'my.own'}}, 'a.tflite', is_step=False)
    self.assertEqual((own.kind, own.is_sequence, own.is_text), ('', False, False))

  def test_a_row_has_a_value_in_each_column(self) -> None:
    numbers = ['x', {'column': 'z', 'missing': 7.0, 'length': 2}]
    examples = {'kind': 'table', 'numbers': numbers, 'categories': [{'column': 'os', 'values': ['ios', 'web']}]}
    found = facts_lib.Facts({**_STEPS, 'examples': examples}, 'a.tflite', is_step=False)
    self.assertEqual(found.row, {'x': 0.0, 'z': [0.0, 0.0], 'os': 'ios'})
    self.assertTrue(found.has_normal_form)

  def test_types_that_have_no_code(self) -> None:
    self.assertEqual(facts_lib.Facts(_STEPS, 'a.tflite', is_step=False).unsupported, '')
    other = {**_STEPS, 'input': {**_END, 'dtype': 'int64'}}
    self.assertEqual(facts_lib.Facts(other, 'a.tflite', is_step=False).unsupported, 'Its input or output is of int64.')


if __name__ == '__main__':
  absltest.main()
