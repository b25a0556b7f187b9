"""Tests that a kind of example from outside of the product works in preprocessing as a built-in one does."""

import json
import math
import pathlib
import subprocess
import sys

from absl.testing import absltest
import numpy as np

from contracts import client_shards
from tests import layout

_DECLARATION = """
[client]
id = "who"
order = "when"

[examples]
kind = "examples.extensions.time_of_day:TimeOfDay"
hour = "hour"
label = "activity"
classes = ["sitting", "walking"]
"""


class TimeOfDayTest(absltest.TestCase):
  def test_preprocessing_makes_its_examples(self) -> None:
    folder = pathlib.Path(self.create_tempdir().full_path)
    rows = [
      {'who': f'u{user}', 'when': hour, 'hour': hour, 'activity': 'walking' if hour > 11 else 'sitting'}
      for user in range(30)
      for hour in (0, 6, 12)
    ]
    (folder / 'log.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    (folder / 'own.toml').write_text(_DECLARATION)
    (folder / 'key').write_text('a key of more than sixteen bytes')
    flags = [
      f'--dataset={folder / "own.toml"}',
      f'--input={folder / "log.jsonl"}',
      f'--output_dir={folder / "shards"}',
      f'--client_id_key_file={folder / "key"}',
    ]
    command = [sys.executable, '-m', 'pipelines.preprocess', *flags]
    done = subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, check=False)
    self.assertEqual((done.returncode, done.stderr), (0, ''))
    shards = client_shards.ClientShards(str(folder / 'shards'))
    features, labels, _ = shards.read_all('test')
    angles = [0, math.pi / 2, math.pi]
    expected = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    self.assertNotEmpty(features)
    np.testing.assert_allclose(features, np.tile(expected, (len(features) // 3, 1)), atol=1e-6)
    np.testing.assert_array_equal(labels, np.tile([0, 0, 1], len(labels) // 3))


if __name__ == '__main__':
  absltest.main()
