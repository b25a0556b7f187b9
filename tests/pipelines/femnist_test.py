"""Tests of the handwriting source, on a small file of the real form and on the real file where it is there."""

import os
import pathlib
import pickle
import tempfile
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import apache_beam as beam
from apache_beam.testing import test_pipeline
import numpy as np

from pipelines import femnist
from pipelines import reports

_REAL = pathlib.Path(os.environ.get('POCKETFED_DATA_DIR', '../shared/data'), 'femnist', femnist.FILE_NAME)


def _keep(value: Any, path: str) -> None:
  pathlib.Path(path).write_bytes(pickle.dumps(value))


def _arrays() -> dict[str, np.ndarray]:
  """Two complete writers and an extra one, in the file's form; an image is filled with its number."""
  arrays = {'writer_names': np.array(['w1', 'w0']), 'extra_writer_names': np.array(['w2'])}
  for part, first, writers in (('train', 0, [0, 0, 1]), ('test', 3, [1]), ('extra', 4, [0, 0])):
    numbers = np.arange(first, first + len(writers), dtype=np.uint8)
    arrays[f'{part}_images'] = np.broadcast_to(numbers[:, None, None], (len(writers), 28, 28))
    arrays[f'{part}_labels'] = numbers + 10
    arrays[f'{part}_writer'] = np.array(writers, np.uint16)
  return arrays


class FemnistTest(parameterized.TestCase):

  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def _read(self, path: pathlib.Path) -> tuple[list[dict[str, Any]], reports.Report]:
    with test_pipeline.TestPipeline(runner='FnApiRunner') as pipeline:
      read = pipeline | femnist.ReadFemnist(str(path))
      _ = read.rows | 'Rows' >> beam.combiners.ToList() | 'KeepRows' >> beam.Map(_keep, str(self.folder / 'rows'))
      report = read.reports | 'Report' >> beam.CombineGlobally(reports.MergeReports())
      _ = report | 'KeepReport' >> beam.Map(_keep, str(self.folder / 'report'))
    tables, merged = (pickle.loads((self.folder / name).read_bytes()) for name in ('rows', 'report'))
    return [row for table in tables for row in table.to_pylist()], merged

  def _read_arrays(self, **changed: np.ndarray) -> tuple[list[dict[str, Any]], reports.Report]:
    path = self.folder / femnist.FILE_NAME
    np.savez(path, **(_arrays() | changed))
    return self._read(path)

  def test_every_image_arrives_with_its_writer_in_the_files_order(self) -> None:
    rows, report = self._read_arrays()
    rows.sort(key=lambda row: row['order'])
    self.assertEqual([row['client_id'] for row in rows], ['w1', 'w1', 'w0', 'w0', 'w2', 'w2'])
    self.assertEqual([row['image'] for row in rows], [bytes([number]) * 784 for number in range(6)])
    self.assertEqual([row['character'] for row in rows], [10, 11, 12, 13, 14, 15])
    self.assertEqual((report.total(reports.READ), report.problems), (6, []))

  @parameterized.named_parameters(
      ('other_size', {'test_images': np.zeros((1, 14, 14), np.uint8)}),
      ('other_type', {'test_images': np.zeros((1, 28, 28), np.float32)}),
      ('label_beyond_the_classes', {'extra_labels': np.array([0, 62], np.uint8)}),
      ('negative_label', {'extra_labels': np.array([0, -1])}),
      ('writer_beyond_the_names', {'train_writer': np.array([0, 0, 2], np.uint16)}),
      ('label_missing', {'train_labels': np.zeros(2, np.uint8)}),
  )
  def test_arrays_of_another_form_are_a_problem(self, changed: dict[str, np.ndarray]) -> None:
    _, report = self._read_arrays(**changed)
    self.assertRegex(report.problems[0], '^Expected the arrays of LEAF FEMNIST, found .* damaged')

  @parameterized.parameters(b'', b'no arrays', b'PK\x03\x04')
  def test_a_file_without_arrays_is_a_problem(self, content: bytes) -> None:
    path = self.folder / femnist.FILE_NAME
    path.write_bytes(content)
    self.assertLen(self._read(path)[1].problems, 1)

  @absltest.skipUnless(_REAL.exists(), f'{_REAL} is not here: set POCKETFED_DATA_DIR')
  def test_the_real_file(self) -> None:
    rows, report = self._read(_REAL)
    self.assertEqual((report.total(reports.READ), report.problems), (36_396, []))
    self.assertLen({row['client_id'] for row in rows}, 377)
    self.assertLen({row['order'] for row in rows}, 36_396)


if __name__ == '__main__':
  absltest.main()
