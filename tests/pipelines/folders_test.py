"""Tests of data sets whose logs stand in folders that name a column, as in `who=ann/p.parquet`."""

from collections.abc import Sequence
import json
import pathlib
import subprocess
import sys
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import fastavro
import pyarrow as pa
from pyarrow import parquet

from contracts import client_shards
from pipelines import job as job_lib
from pipelines.declarations import declaration as declarations
from pipelines.execution import running
from pipelines.readers import inputs
from pipelines.rows import client_ids
from pipelines.shards import accounting

_ROOT = pathlib.Path(__file__).parents[2]
_DECLARATION = """
[client]
id = "who"
order = "when"

[examples]
kind = "characters"
column = "what"
window_length = 10
"""


def _write(path: pathlib.Path, rows: Sequence[dict[str, Any]]) -> None:
  if path.suffix == '.parquet':
    parquet.write_table(pa.Table.from_pylist(rows), path)
  elif path.suffix == '.avro':
    fields = [{'name': 'when', 'type': 'long'}, {'name': 'what', 'type': 'string'}]
    with path.open('wb') as file:
      fastavro.writer(file, {'type': 'record', 'name': 'row', 'fields': fields}, rows)
  else:
    is_csv = path.suffix == '.csv'
    lines = [f'{row["when"]},"{row["what"]}"' if is_csv else json.dumps(row) for row in rows]
    path.write_text('\n'.join(['when,what', *lines] if is_csv else lines))


class FoldersTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.logs, self.output = self.folder / 'logs', str(self.folder / 'shards')
    self.dataset, self.key = str(self.folder / 'own.toml'), str(self.folder / 'key')
    pathlib.Path(self.dataset).write_text(_DECLARATION)
    pathlib.Path(self.key).write_text('a key of more than sixteen bytes')

  def _write_logs(self, kind: str) -> None:
    rows = [{'when': when, 'what': 'so long, and thanks'} for when in range(9)]
    for user in 'abcdef':
      folder = self.logs / f'who=user-{user}' / 'day=1'
      folder.mkdir(parents=True)
      _write(folder / f'p.{kind}', rows)
      (folder / '_SUCCESS').touch()

  def _run(self) -> job_lib.Outcome:
    paths = inputs.find([str(self.logs)]).paths
    declaration, key = declarations.read(self.dataset, [], paths), client_ids.read_key(self.key, is_public=False)
    job = job_lib.Job(paths, declaration, key, 2, accounting.MaxBadRows('0%'), self.output)
    return job_lib.run(job, running.parse_flags([]))

  def _program(self, *arguments: str) -> subprocess.CompletedProcess[str]:
    flags = (f'--dataset={self.dataset}', f'--output_dir={self.output}', f'--client_id_key_file={self.key}')
    command = [sys.executable, '-m', 'pipelines.preprocess', *flags, f'--input={self.logs}', *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=_ROOT)

  @parameterized.parameters('csv', 'parquet', 'avro', 'jsonl')
  def test_they_say_whose_the_rows_are(self, kind: str) -> None:
    self._write_logs(kind)
    outcome = self._run()
    self.assertEqual((outcome.manifest['rows']['read'], outcome.manifest['rows']['used']), (54, 54))
    data = client_shards.ClientShards(self.output)
    self.assertEqual(data.num_clients('train') + data.num_clients('test'), 6)
    self.assertNotIn('user-', pathlib.Path(self.output, 'manifest.json').read_text())
    self.assertFalse(self._run().is_new)
    (self.logs / 'who=user-f').rename(self.logs / 'who=user-g')
    with self.assertRaisesRegex(ValueError, 'found one made with other input in '):
      self._run()

  def test_nothing_that_is_printed_shows_an_id(self) -> None:
    self._write_logs('jsonl')
    for mode in ([], ['--describe']):
      done = self._program(*mode)
      self.assertEqual((done.returncode, done.stderr), (0, ''))
      self.assertRegex(done.stdout, r'Skipped.*/who=…/day=1/_SUCCESS')
      self.assertNotIn('user-', done.stdout)

  def test_errors_do_not_show_an_id(self) -> None:
    path = self.logs / 'who=user-a' / 'p.parquet'
    path.parent.mkdir(parents=True)
    path.write_bytes(b'PAR1 no more')
    for mode in ([], ['--describe']):
      done = self._program(*mode)
      self.assertEqual(done.returncode, 2)
      self.assertIn('/who=…/p.parquet', done.stderr)
      self.assertNotIn('user-a', done.stdout + done.stderr)


if __name__ == '__main__':
  absltest.main()
