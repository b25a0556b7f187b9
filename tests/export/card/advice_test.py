"""Tests of what the card advises."""

import shlex
from typing import Any

from absl.testing import absltest

from export.card import advice
from tests.export import fakes

_VARIANTS: dict[str, Any] = {
  'float32': {
    'path': 'a.float32.tflite',
    'form': 'whole',
    'summary': '',
    'bytes': 900,
    'accuracy': 0.8,
    'latency_us': {},
  },
  'dynamic_range': {'path': 'a.dynamic_range.tflite', 'form': 'whole', 'summary': '', 'bytes': 300, 'accuracy': 0.797},
  'int8_io': {
    'path': 'a.int8_io.tflite',
    'form': 'whole',
    'summary': '',
    'bytes': 200,
    'accuracy': 0.8,
    'quantized': {},
  },
  'step_dynamic_range': {'path': 'a.step.tflite', 'form': 'step', 'summary': '', 'bytes': 100, 'accuracy': 0.7},
}
_PARITY = {'variants': _VARIANTS, 'keras_accuracy': 0.8}


class AdviceTest(absltest.TestCase):
  def test_the_smallest_that_is_accurate_enough(self) -> None:
    whole, step = advice.choose(_PARITY)
    self.assertEqual(
      whole,
      'For one example a call: `a.dynamic_range.tflite`, the smallest whose accuracy is at most 0.5 percentage points '
      'below that of Keras.',
    )
    self.assertStartsWith(step, 'For one element of a sequence a call: every file here loses more than 0.5 percentage')

  def test_a_file_that_trains(self) -> None:
    train = {'path': 'a.train.tflite', 'form': 'train', 'summary': '', 'bytes': 5, 'accuracy': 0.8}
    alone = advice.choose({**_PARITY, 'variants': {'train': train}})
    self.assertEqual(alone, ['To train on the device: `a.train.tflite`.'])
    both = advice.choose({**_PARITY, 'variants': {'train': train, 'float32': _VARIANTS['float32']}})
    self.assertEndsWith(both[0], 'An app that only asks for answers is better off with another file.')

  def test_a_file_that_litert_runs_alone_comes_first(self) -> None:
    flex = {**_VARIANTS['dynamic_range'], 'summary': 'it needs the kernels of TensorFlow (Flex)'}
    both = {'float32': _VARIANTS['float32'], 'dynamic_range': flex}
    self.assertIn('`a.float32.tflite`', advice.choose({**_PARITY, 'variants': both})[0])
    del both['float32']
    self.assertEndsWith(
      advice.choose({**_PARITY, 'variants': both})[0], 'below that of Keras; LiteRT alone cannot run it.'
    )

  def test_only_a_file_of_integers(self) -> None:
    said = advice.choose({**_PARITY, 'variants': {'int8_io': _VARIANTS['int8_io']}})[0]
    self.assertStartsWith(said, 'For one example a call: `a.int8_io.tflite`, the smallest')
    self.assertEndsWith(said, '; it gives or takes integers.')

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
    said = '--model_author=Ada & "co" $HOME'
    train, export, verify = advice.list_commands(['--variants=float32,int8_io', said])
    self.assertEqual(train, 'python -m tff_tasks.train --flagfile=FLAGS --shards_dir=SHARDS --output_dir=RUN')
    self.assertEqual(
      shlex.split(export),
      ['python', '-m', 'export.to_tflite', '--run_dir=RUN', '--output_dir=MODEL', '--variants=float32,int8_io', said],
    )
    self.assertEqual(verify, 'python -m export.verify --model_dir=MODEL --run_dir=RUN')


if __name__ == '__main__':
  absltest.main()
