"""Tests of what the card advises."""

from typing import Any

from absl.testing import absltest

from export.card import advice
from tests.export import fakes

_VARIANTS: dict[str, Any] = {
  'float32': {'path': 'a.float32.tflite', 'form': 'whole', 'bytes': 900, 'accuracy': 0.8, 'latency_us': {}},
  'dynamic_range': {'path': 'a.dynamic_range.tflite', 'form': 'whole', 'bytes': 300, 'accuracy': 0.797},
  'int8_io': {'path': 'a.int8_io.tflite', 'form': 'whole', 'bytes': 200, 'accuracy': 0.8, 'quantized': {}},
  'step_dynamic_range': {'path': 'a.step.tflite', 'form': 'step', 'bytes': 100, 'accuracy': 0.7},
}
_PARITY = {'variants': _VARIANTS, 'keras_accuracy': 0.8}


class AdviceTest(absltest.TestCase):
  def test_the_smallest_that_is_accurate_enough(self) -> None:
    whole, step = advice.choose(_PARITY)
    self.assertEqual(
      whole,
      'For one example a call: `a.dynamic_range.tflite`, the smallest whose accuracy is at most 0.5% below that of '
      'Keras.',
    )
    self.assertStartsWith(step, 'For one element of a sequence a call: no file here loses at most 0.5% of accuracy')

  def test_a_file_that_trains(self) -> None:
    train = {'path': 'a.train.tflite', 'form': 'train', 'bytes': 5, 'accuracy': 0.8}
    self.assertStartsWith(advice.choose({**_PARITY, 'variants': {'train': train}})[0], 'To train on the device: `a.tr')

  def test_limits(self) -> None:
    said = ' '.join(advice.list_limits(fakes.CHARACTERS, 'my_logs', fakes.privacy(), _PARITY))
    self.assertIn('users of my_logs', said)
    self.assertIn('the 20 answers', said)
    self.assertIn('no sequence of more than 12 elements', said)
    self.assertIn('on no phone', said)
    self.assertNotIn('no privacy guarantee', said)
    for ledger in ({}, fakes.privacy(private=False)):
      said = ' '.join(advice.list_limits(fakes.HANDWRITING, 'my_logs', ledger, {'variants': {}}))
      self.assertIn('there is no privacy guarantee', said)
      self.assertNotIn('sequence', said)
      self.assertNotIn('phone', said)
    said = ' '.join(advice.list_limits(fakes.CHARACTERS, '', {'local_layers': 'x', 'epsilon': 1.0}, _PARITY))
    self.assertIn('reconstructs the local layers first', said)

  def test_commands(self) -> None:
    train, export, verify = advice.list_commands(_PARITY)
    self.assertEqual(train, 'python -m tff_tasks.train --flagfile=FLAGS --shards_dir=SHARDS --output_dir=RUN')
    self.assertEndsWith(export, ' --variants=float32,dynamic_range,int8_io,step_dynamic_range')
    self.assertEqual(verify, 'python -m export.verify --model_dir=MODEL --run_dir=RUN')
    for kind, flag in (('public', '--public_data'), ('released', '--calibration_shards')):
      self.assertIn(f' {flag}=EXAMPLES', advice.list_commands({**_PARITY, 'calibration': {'kind': kind}})[1])
    own = {'variants': {'mine': _VARIANTS['float32']}}
    self.assertEqual(
      advice.list_commands(own, 'a.b:TASK')[1],
      'python -m export.to_tflite --run_dir=RUN --output_dir=MODEL --task=a.b:TASK',
    )


if __name__ == '__main__':
  absltest.main()
