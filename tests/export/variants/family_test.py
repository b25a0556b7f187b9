"""Tests all variants of a trained CNN, exported as a user does it, with public examples of other writers."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from contracts import client_shards
from contracts import released_model
from contracts import run_directory
from export import calibration
from export import guard
from export import tflite
from export.metadata import facts as facts_lib
from export.variants import registry
from models import registry as models
from pipelines.shards import shard_writing
from tests import layout
from tests.export import fakes

_TASK = 'handwriting'
_SIZE = 32
_FINE_TUNED = ('qat', 'clustered', 'pruned')


def _write_shards(path: str, seed: int, train: int, test: int) -> client_shards.ClientShards:
  """Writes writers with 20 noisy, shifted drawings of ten made-up characters each, black on white."""
  generator = np.random.default_rng(seed)
  characters = np.random.default_rng(0).integers(0, 2, (10, 6, 6)).repeat(4, 1).repeat(4, 2)
  writers = []
  for writer in range(train + test):
    labels = generator.integers(0, 10, 20)
    images = np.full((20, 28, 28), 255, np.uint8)
    for image, label in zip(images, labels, strict=True):
      row, column = generator.integers(0, 5, 2)
      image[row : row + 24, column : column + 24] -= (200 * characters[label]).astype(np.uint8)
    images = np.clip(images + generator.normal(0, 40, images.shape), 0, 255).astype(np.uint8)
    split = 'train' if writer < train else 'test'
    writers.append(shard_writing.ClientExamples(f'{seed:04d}-{writer:011d}'.encode(), split, images, labels))
  os.makedirs(path)
  shard_writing.write_data_set(path, fakes.HANDWRITING, [shard_writing.pack(writers)])
  return client_shards.ClientShards(path)


def _train(run_dir: str, shards: client_shards.ClientShards) -> None:
  """Writes a run directory with a model that knows the characters."""
  tf.keras.utils.set_random_seed(1)
  model = models.get_task(_TASK).build(fakes.HANDWRITING, _SIZE)
  images, labels, _ = shards.read_all('train')
  loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  model.compile(tf.keras.optimizers.Adam(3e-3), loss)
  model.fit(images.astype(np.float32), labels, epochs=6, verbose=0)
  fakes.write_figures(run_dir, shards.path)
  released = released_model.ReleasedModel(fakes.HANDWRITING, _SIZE, 140, model.get_weights())
  released_model.save(released, fakes.privacy(), run_dir)


def _export(run_dir: str, output_dir: str, *flags: str) -> subprocess.CompletedProcess[str]:
  command = [sys.executable, '-m', 'export.to_tflite', f'--run_dir={run_dir}', f'--output_dir={output_dir}', *flags]
  return subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, timeout=300, check=False)


class FamilyTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls) -> None:
    super().setUpClass()
    cls._folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
    cls._public = _write_shards(str(cls._folder / 'public'), 1, train=20, test=2)
    cls._shards = _write_shards(str(cls._folder / 'shards'), 2, train=30, test=15)
    cls._run_dir, cls._model = str(cls._folder / 'run'), cls._folder / 'model'
    _train(cls._run_dir, cls._shards)
    cls._result = _export(cls._run_dir, str(cls._model), f'--public_data={cls._public.path}')
    cls._record = run_directory.read_parity(str(cls._model))

  def test_all_are_made_and_agree(self) -> None:
    self.assertEqual((self._result.returncode, self._result.stderr), (0, ''))
    variants = self._record['variants']
    self.assertEqual(list(variants), [*registry.DEFAULT, *registry.LEARNING])
    self.assertEqual((self._record['failed'], self._record['skipped']), ({}, {}))
    self.assertGreater(self._record['keras_accuracy'], 0.9)
    for name, least in {'dynamic_range': 0.99, 'int8': 0.98, 'int8_io': 0.98}.items():
      self.assertGreaterEqual(variants[name]['argmax_agreement'], least, name)
    for name, each in variants.items():
      self.assertGreater(each['accuracy'], self._record['keras_accuracy'] - 0.03, name)

  def test_sizes(self) -> None:
    variants = self._record['variants']
    whole = variants['float32']['bytes']
    # Metadata, which all have, weighs more in so small a model than at the default size.
    for name, share in {'dynamic_range': 0.31, 'int8': 0.31, 'int8_io': 0.31, 'qat': 0.32, 'pruned': 0.4}.items():
      self.assertLess(variants[name]['bytes'], share * whole, name)
    self.assertLess(variants['clustered']['compressed_bytes'], 0.8 * variants['dynamic_range']['compressed_bytes'])

  def test_says_what_they_learned_from(self) -> None:
    said = self._record['calibration']
    self.assertEqual((said['kind'], said['fingerprint']), ('public', self._public.fingerprint))
    self.assertEqual(said['examples'], dict.fromkeys(registry.LEARNING, 400))
    card = (self._model / 'MODEL_CARD.md').read_text()
    for text in (self._result.stdout, card.replace('\\', '')):
      self.assertIn('(400 examples of 20 users), which the exporter declared public (int8: the ranges', text)

  def test_says_how_integers_read(self) -> None:
    steps = json.loads((self._model / 'preprocessing.json').read_text())
    ends = self._record['variants']['int8_io']['quantized']
    self.assertEqual(steps['quantized']['files'], {'handwriting.int8_io.tflite': ends})
    self.assertEqual(ends['input']['zero_point'], -128)
    self.assertAlmostEqual(ends['input']['scale'], 1.0, places=3)
    self.assertEqual(steps['input']['dtype'], 'float32')

  @parameterized.parameters(*_FINE_TUNED)
  def test_a_fresh_process_makes_the_same_bytes(self, name: str) -> None:
    data = calibration.Calibration('public', self._public)
    examples = data.read(registry.VARIANTS[name].max_examples)
    facts = facts_lib.collect(self._shards, learned_from='public')
    content = guard.call(guard.Limits(), tflite.convert, self._run_dir, name, None, examples, False, facts)
    self.assertEqual((self._model / f'handwriting.{name}.tflite').read_bytes(), content)

  def test_the_best_of_a_few_on_data_of_clients(self) -> None:
    flags = ('--variants=float16,int8', '--choose_best', f'--calibration_shards={self._shards.path}')
    refused = _export(self._run_dir, str(self._folder / 'best'), *flags)
    self.assertEqual(refused.returncode, 2)
    self.assertRegex(refused.stderr, "^error: Expected public examples .* clients' data in --calibration_shards.*\n$")
    result = _export(self._run_dir, str(self._folder / 'best'), *flags, '--accept_unaccounted_calibration')
    self.assertEqual((result.returncode, result.stderr), (0, ''))
    self.assertIn('Dropped float16: its file of ', result.stdout)
    record = run_directory.read_parity(str(self._folder / 'best'))
    self.assertEqual((list(record['variants']), list(record['dropped'])), (['int8'], ['float16']))
    self.assertEqual(record['calibration']['kind'], 'released')
    self.assertIn('handwriting.int8.tflite', os.listdir(self._folder / 'best'))
    self.assertNotIn('handwriting.float16.tflite', os.listdir(self._folder / 'best'))
    card = (self._folder / 'best/MODEL_CARD.md').read_text().split('## Privacy')[1]
    self.assertIn('the epsilon of the run does not cover what these files say about those clients', card)

  def test_none_is_good_enough(self) -> None:
    output = self._folder / 'none'
    result = _export(self._run_dir, str(output), '--variants=float32', '--choose_best', '--max_kb=5')
    self.assertEqual(result.returncode, 1)
    self.assertRegex(
      result.stderr,
      r'^error: Expected a variant with an accuracy at most 0.005 below that of Keras and a file of at most 5 kB, '
      r'found none \(float32: its file has [\d,.]+ kB\): nothing was written.\n$',
    )
    self.assertEmpty(os.listdir(output))


if __name__ == '__main__':
  absltest.main()
