"""Tests that the reader of mediapipe 0.10.21, which apps use, finds the metadata of a file."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

from absl.testing import absltest

from export.metadata import describing
from pipelines.featurizers import characters
from tests.export.metadata import described

# A folder with what mediapipe.txt lists; .ci/run makes one.
_FOLDER = os.environ.get('POCKETFED_MEDIAPIPE', '')
_CLASSES = ('<pad>', '\n', 'é')


@unittest.skipUnless(_FOLDER, 'POCKETFED_MEDIAPIPE names no folder with the package mediapipe')
class MediapipeTest(absltest.TestCase):
  def test_reads_the_metadata(self) -> None:
    content = described.make(characters.Characters('text'), classes=_CLASSES, sequence=True)
    reader = str(pathlib.Path(__file__).with_name('mediapipe_reader.py'))
    result = subprocess.run([sys.executable, reader, _FOLDER], input=content, capture_output=True, check=False)
    self.assertEqual(result.returncode, 0, result.stderr.decode())
    found = json.loads(result.stdout)
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
