"""Tests of the files of a model folder that are no model. No TensorFlow."""

import json
import os
import tempfile
from unittest import mock

from absl.testing import absltest

from contracts import client_shards
from contracts import released_model
from export import documents
from export import source
from tests.export import fakes

_END = ('input', 'characters', 'int32', (1, 12))
_PARITY = {
  'task': 'next_character',
  'variants': {},
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
    fakes.release(self._run_dir)

  def _exported(self, run: source.Snapshot) -> documents.Exported:
    signatures = {'whole': [_END, ('output', 'logits', 'float32', (1, 12, 20))]}
    return documents.Exported(run, 'mine/run', self._shards, signatures, _PARITY)

  def test_each_document(self) -> None:
    with source.snapshot(self._run_dir) as run:
      exported = self._exported(run)
      written = documents.write(exported)
    self.assertEqual(json.loads(written['classes.json']), list(self._shards.schema.classes))
    self.assertEqual(json.loads(written['preprocessing.json']), json.loads(json.dumps(exported.steps)))
    ledger, _ = released_model.load_ledger(os.path.join(self._run_dir, 'public/privacy.json'))
    self.assertEqual({**json.loads(written['privacy.json']), **ledger}, json.loads(written['privacy.json']))
    self.assertEqual({**json.loads(written['parity.json']), **_PARITY}, json.loads(written['parity.json']))
    self.assertContainsInOrder(['mine/run', f'{run.model.num_weights:,}'], written['MODEL_CARD.md'])

  def test_one_more_is_one_line(self) -> None:
    more = {**documents.DOCUMENTS, 'labels.txt': lambda exported: '\n'.join(exported.shards.schema.classes)}
    with mock.patch.object(documents, 'DOCUMENTS', more), source.snapshot(self._run_dir) as run:
      self.assertEqual(documents.write(self._exported(run))['labels.txt'], '\n'.join(self._shards.schema.classes))


if __name__ == '__main__':
  absltest.main()
