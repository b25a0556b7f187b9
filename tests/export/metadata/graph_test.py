"""Tests that inputs and outputs are found under the names that apps know. Without TensorFlow."""

from absl.testing import absltest

from export.metadata import graph
from tests.export.metadata import tiny


class GraphTest(absltest.TestCase):
  def test_names_are_those_of_the_signature(self) -> None:
    found = graph.read(tiny.make())
    given, returned = ('input', 'features', 'float32', (1, 3)), ('output', 'logits', 'float32', (1, 3))
    self.assertEqual(found, ([given], [returned], {'serving_default': [given, returned]}, {}))

  def test_integers_that_stand_for_numbers(self) -> None:
    found = graph.read(tiny.make(quantized=True))
    self.assertEqual(found.quantized, {'input': ('int8', 0.5, -3), 'output': ('int8', 0.5, -3)})
    self.assertEqual(found.inputs[0][2], 'int8')

  def test_without_a_signature_names_are_those_of_tensors(self) -> None:
    found = graph.read(tiny.make(signature=''))
    self.assertEqual([end[1] for end in (*found.inputs, *found.outputs)], ['x', 'y'])
    self.assertEqual(found.signatures, {})

  def test_what_is_no_file_is_refused(self) -> None:
    with self.assertRaisesRegex(ValueError, '^Expected a TFLite file'):
      graph.read(b'a file')


if __name__ == '__main__':
  absltest.main()
