"""Tests of the program that packs the code for workers."""

import os
import subprocess
import sys
import tempfile
import zipfile

from absl.testing import absltest

from tests import layout


class PackageTest(absltest.TestCase):
  def test_names_the_wheel_that_it_wrote(self) -> None:
    folder = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), 'new')
    command = [sys.executable, '-m', 'pipelines.package', f'--output_dir={folder}']
    result = subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, check=True, timeout=120)
    path = result.stdout.strip()
    self.assertEqual(os.listdir(folder), [os.path.basename(path)])
    with zipfile.ZipFile(path) as wheel:
      self.assertIn('pipelines/transforms.py', wheel.namelist())


if __name__ == '__main__':
  absltest.main()
