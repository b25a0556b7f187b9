"""Tests of the files of a model folder that are no model. No TensorFlow."""

import dataclasses
import json
import os
import tempfile
from unittest import mock

from absl.testing import absltest

from contracts import client_shards
from contracts import held_out_figures
from contracts import released_model
from export import documents
from export import source
from export.card import plots
from pipelines.featurizers import characters
from tests.export import exported
from tests.export import fakes

_END = ('input', 'characters', 'int32', (1, 12))
_VARIANT = {
  'path': 'next_character.float32.tflite',
  'form': 'whole',
  'bytes': 5,
  'compressed_bytes': 5,
  'summary': 'full precision',
  'argmax_agreement': 1.0,
  'max_logit_difference': 0.0,
  'accuracy': 0.5,
  'latency_us': {'median': 1.0, 'p95': 2.0, 'calls': 200},
  'peak_memory_mb': 1.0,
}
_PARITY = {
  'task': 'next_character',
  'variants': {'float32': _VARIANT},
  'failed': {},
  'skipped': {},
  'dropped': {},
  'keras_accuracy': 0.5,
  'majority_accuracy': 0.25,
  'examples': 28,
  'positions': 300,
}


class DocumentsTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self._shards = client_shards.ClientShards(fakes.write_shards(os.path.join(folder, 'shards')))
    self._run_dir = os.path.join(folder, 'run')
    exported.release(self._run_dir)
    with open(os.path.join(self._run_dir, 'config.flags'), 'w') as file:
      file.write('\n'.join(fakes.TRAINING_FLAGS) + '\n')
    # Drawing takes long.
    self.enterContext(mock.patch.object(plots, 'draw', return_value=dict.fromkeys(('sizes', 'latencies'), ('', ''))))

  def _exported(self, run: source.Snapshot) -> documents.Exported:
    signatures = {'whole': [_END, ('output', 'logits', 'float32', (1, 12, 20))]}
    return documents.Exported(run, 'mine/run', self._shards, signatures, _PARITY)

  def test_each_document(self) -> None:
    with source.snapshot(self._run_dir) as run:
      made = self._exported(run)
      written = documents.write(made)
    self.assertEqual(json.loads(written['classes.json']), list(self._shards.schema.classes))
    self.assertEqual(json.loads(written['preprocessing.json']), json.loads(json.dumps(made.steps)))
    ledger, _ = released_model.load_ledger(os.path.join(self._run_dir, 'public/privacy.json'))
    self.assertEqual({**json.loads(written['privacy.json']), **ledger}, json.loads(written['privacy.json']))
    self.assertEqual({**json.loads(written['parity.json']), **_PARITY}, json.loads(written['parity.json']))
    self.assertNotIn('<!--', written['MODEL_CARD.md'])
    # One source: the page says what the Markdown says.
    self.assertContainsInOrder(
      ['<h1>next_character on', 'run mine/run</h1>', '<h2>Privacy</h2>'], written['MODEL_CARD.html']
    )
    self.assertIn(f'{run.model.num_weights:,} weights', written['MODEL_CARD.html'])
    for name in ('predict.py', 'predict.mjs', 'Predictor.kt', 'Predictor.swift'):
      self.assertIn('next_character.float32.tflite', written[f'snippets/{name}'])
    self.assertContainsInOrder(['mine/run', f'{run.model.num_weights:,}'], written['MODEL_CARD.md'])

  def test_training(self) -> None:
    ends = [
      ('input', 'train.x', 'int32', (20, 12)),
      ('input', 'train.y', 'int32', (20, 12)),
      *(('input', f'train.{name}', 'float32', shape) for name, shape in (('weight', (20,)), ('lr', ()))),
      ('output', 'train.loss', 'float32', ()),
      ('input', 'infer.x', 'int32', (1, 12)),
      ('output', 'infer.logits', 'float32', (1, 12, 20)),
      *(('output', f'get_weights.w{index}', 'float32', (2, 3)) for index in range(5)),
    ]
    figures = {'steps': 3, 'relative_weight_difference': 1e-7}
    entry = {
      **{'path': 'next_character.train.tflite', 'form': 'train', 'summary': 'trains', 'training': figures},
      **{'bytes': 5, 'compressed_bytes': 5, 'argmax_agreement': 1.0, 'max_logit_difference': 0.0, 'accuracy': 0.5},
      **{'latency_us': {'median': 1.0, 'p95': 2.0, 'calls': 9}, 'peak_memory_mb': 1.0},
    }
    no_plots = dict.fromkeys(('sizes', 'latencies'), ('', ''))
    with source.snapshot(self._run_dir) as run, mock.patch.object(plots, 'draw', return_value=no_plots):
      record = {**_PARITY, 'variants': {'train': entry}}
      written = documents.write(documents.Exported(run, 'mine/run', self._shards, {'train': ends}, record))
    training = json.loads(written['preprocessing.json'])['training']
    self.assertEqual((training['batch_size'], training['learning_rate'], training['local_layers']), (20, 0.1, []))
    self.assertEqual(training['ignored_label'], -1)
    inputs, outputs = (training['signatures']['train'][name] for name in ('inputs', 'outputs'))
    self.assertEqual(inputs[:2], [{'name': name, 'dtype': 'int32', 'shape': [20, 12]} for name in 'xy'])
    self.assertEqual(outputs, [{'name': 'loss', 'dtype': 'float32', 'shape': []}])
    for name in ('train.py', 'train.mjs', 'Trainer.kt', 'Trainer.swift'):
      self.assertIn('next_character.train.tflite', written[f'snippets/{name}'])
    # It is the only file: its answers are those of infer.
    self.assertIn(
      "litert.Interpreter('next_character.train.tflite').get_signature_runner('infer')", written['snippets/predict.py']
    )
    card = written['MODEL_CARD.md']
    self.assertContainsInOrder(
      [
        '## Training on the device',
        '`next_character.train.tflite` trains itself',
        'all layers',
        'After 3 steps on examples',
        'at most 1e-07 of the largest change away from those of Keras.',
        'learning rate of 0.1, 1 epoch a round.',
        '| `train` | `x` int32 [20, 12], `y` int32 [20, 12], `weight` float32 [20], `lr` float32 [] | `loss` float32',
        '| `get_weights` |  | `w0` to `w4`, all weights |',
        '## Privacy',
      ],
      card,
    )
    self.assertNotIn('serving_default', card)

  def test_figures_of_users_only_if_they_are_published(self) -> None:
    figures = held_out_figures.Figures('', 300, [0.5] * 7, [], [], {})
    with (
      source.snapshot(self._run_dir) as run,
      mock.patch.object(plots, 'draw', return_value=dict.fromkeys(('sizes', 'latencies'), ('', ''))) as draw,
    ):
      made = self._exported(run)
      self.assertIn('They are not in this card', str(documents.write(made)['MODEL_CARD.html']).replace('\n', ' '))
      draw.assert_called_with(_PARITY, None)
    card = dataclasses.replace(made, figures=figures).card
    self.assertIn('| split test | 7 clients, 28 examples: exact, **not private** |', card)
    self.assertIn('| 50% to 60% | 7 |', card)
    with mock.patch.object(client_shards.ClientShards, 'num_clients', return_value=4):
      self.assertNotIn('4 clients', dataclasses.replace(made, figures=figures).card)

  def test_a_page_if_there_is_a_runtime(self) -> None:
    runtime = {'core/index.js': b'1', 'wasm/a.wasm': b'2'}
    declared = fakes.write_declared_shards(
      os.path.join(self.create_tempdir().full_path, 'shards'), characters.Characters('text', 12)
    )
    with source.snapshot(self._run_dir) as run:
      whole = self._exported(run)
      # Nobody knows how its examples are made.
      self.assertNotIn('index.html', documents.write(dataclasses.replace(whole, runtime=runtime)))
      whole = dataclasses.replace(whole, shards=client_shards.ClientShards(declared))
      self.assertNotIn('index.html', documents.write(whole))
      written = documents.write(dataclasses.replace(whole, runtime=runtime))
    self.assertEqual((written['litert/core/index.js'], written['litert/wasm/a.wasm']), (b'1', b'2'))
    for text in (
      '<h1>Next character</h1>',
      'The model of round 140 of the run mine/run',
      '(7.62, 0.0001)-differential',
    ):
      self.assertIn(text, written['index.html'])

  def test_one_more_is_one_line(self) -> None:
    more = {**documents.DOCUMENTS, 'labels.txt': lambda exported: '\n'.join(exported.shards.schema.classes)}
    with mock.patch.object(documents, 'DOCUMENTS', more), source.snapshot(self._run_dir) as run:
      self.assertEqual(documents.write(self._exported(run))['labels.txt'], '\n'.join(self._shards.schema.classes))


if __name__ == '__main__':
  absltest.main()
