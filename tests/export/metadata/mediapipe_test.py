"""Tests that the reader of mediapipe 0.10.21, which apps use, finds the metadata of a file."""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any
import unittest

from absl.testing import absltest
from absl.testing import parameterized

from export.metadata import describing
from pipelines.featurizers import characters
from pipelines.featurizers import image
from tests.export.metadata import described
from tests.export.metadata import tiny

# A folder with what mediapipe.txt lists; .ci/run makes one.
_FOLDER = os.environ.get('POCKETFED_MEDIAPIPE', '')
_IMAGE = image.Image('pixels', 'y', ('a', 'b', 'c'), 10, 12)
_CLASSES = ('<pad>', '\n', 'é')


@unittest.skipUnless(_FOLDER, 'POCKETFED_MEDIAPIPE names no folder with the package mediapipe')
class MediapipeTest(parameterized.TestCase):
  def _read(self, content: bytes) -> dict[str, Any]:
    reader = str(pathlib.Path(__file__).with_name('mediapipe_reader.py'))
    result = subprocess.run([sys.executable, reader, _FOLDER], input=content, capture_output=True, check=False)
    self.assertEqual(result.returncode, 0, result.stderr.decode())
    return json.loads(result.stdout)

  @parameterized.parameters({}, {'quantized': True}, {'more': ('train',)})
  def test_reads_images(self, **kind: Any) -> None:
    found = self._read(described.make(_IMAGE, shape=(10, 12), content=tiny.make(**kind)))
    (given,) = found['metadata']['subgraph_metadata'][0]['input_tensor_metadata']
    self.assertEqual(given['content']['content_properties']['default_size'], {'width': 12, 'height': 10})
    self.assertEqual('Then quantize' in given['description'], 'quantized' in kind)

  def test_reads_texts(self) -> None:
    found = self._read(described.make(characters.Characters('text'), classes=_CLASSES, sequence=True))
    self.assertEqual(found['files'], {'labels.txt': describing.write_labels(_CLASSES).decode()})
    self.assertEqual((found['metadata']['name'], found['metadata']['min_parser_version']), ('mine on my_logs', '1.0.1'))
    self.assertEqual(found['parser'], found['metadata']['min_parser_version'])
    (graph,) = found['metadata']['subgraph_metadata']
    (given,), (returned,) = graph['input_tensor_metadata'], graph['output_tensor_metadata']
    self.assertEqual((given['name'], returned['name']), ('features', 'logits'))
    kinds = [each['associated_files'][0]['type'] for each in (given, returned)]
    self.assertEqual(kinds, ['VOCABULARY', 'TENSOR_AXIS_LABELS'])


if __name__ == '__main__':
  absltest.main()
