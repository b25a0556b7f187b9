"""Tests of what a running job shows."""

import io
import os
import pathlib
import threading
import time
from unittest import mock

from absl.testing import absltest

from pipelines.execution import job_progress


class _Terminal(io.StringIO):
  def isatty(self) -> bool:
    return True


class JobProgressTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.spill = self.folder / 'spill'
    self.spill.mkdir()
    self.enterContext(mock.patch.dict(os.environ, TERM='xterm', COLUMNS='80'))
    for name in ('_REDRAW_SECONDS', '_LINE_SECONDS'):
      self.enterContext(mock.patch.object(job_progress, name, 0.01))

  def _describe(self) -> str:
    return job_progress.describe(str(self.folder), str(self.spill), 12, 1_000)

  def test_rows_then_shards(self) -> None:
    self.assertEqual(self._describe(), '')
    for name in ('000000-000000000000000-000000.arrow', '000002-000000000000000-000001.arrow', 'total.arrow'):
      (self.spill / name).write_bytes(bytes(1_500_000))
    self.assertEqual(self._describe(), 'reading: file 3 of 12, 3 MB of rows')
    (self.folder / 'shard-00000-of-01000.arrow.7.part').touch()
    self.assertStartsWith(self._describe(), 'reading')
    (self.folder / 'shard-00000-of-01000.arrow').touch()
    self.assertEqual(self._describe(), 'writing: 1 of 1,000 shards')

  def test_a_folder_that_is_gone_is_nothing_to_see(self) -> None:
    self.spill.rmdir()
    self.assertEqual(self._describe(), '')

  def _shown(self, stream: io.StringIO, output_dir: str | None = None, has_shards: bool = True) -> str:
    if has_shards:
      (self.folder / 'shard-00000-of-00002.arrow').touch()
    with job_progress.shown(output_dir or str(self.folder), str(self.spill), 1, 2, stream):
      deadline = time.monotonic() + (5 if has_shards and not output_dir else 0.1)
      while stream.getvalue().count('writing') < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    self.assertEqual([thread for thread in threading.enumerate() if thread.daemon and 'show' in thread.name], [])
    return stream.getvalue()

  def test_a_terminal_has_one_line_that_goes_in_the_end(self) -> None:
    shown = self._shown(_Terminal())
    self.assertStartsWith(shown, '\r\033[Kwriting: 1 of 2 shards\r\033[K')
    self.assertEndsWith(shown, '\r\033[K')
    self.assertNotIn('\n', shown)

  def test_a_file_and_a_dumb_terminal_have_lines(self) -> None:
    self.assertStartsWith(self._shown(io.StringIO()), 'writing: 1 of 2 shards\nwriting')
    with mock.patch.dict(os.environ, TERM='dumb'):
      self.assertStartsWith(self._shown(_Terminal()), 'writing: 1 of 2 shards\nwriting')

  def test_nothing_is_shown_of_what_cannot_be_seen(self) -> None:
    self.assertEqual(self._shown(_Terminal(), has_shards=False), '')
    self.assertEqual(self._shown(_Terminal(), output_dir='gs://bucket/shards'), '')

  def test_a_reader_that_is_gone_does_not_end_the_job(self) -> None:
    stream = mock.Mock(isatty=lambda: False, write=mock.Mock(side_effect=BrokenPipeError))
    (self.folder / 'shard-00000-of-00002.arrow').touch()
    with job_progress.shown(str(self.folder), str(self.spill), 1, 2, stream):
      deadline = time.monotonic() + 5
      while not stream.write.called and time.monotonic() < deadline:
        time.sleep(0.01)
      time.sleep(0.05)  # For a second call, which there should not be.
    stream.write.assert_called_once()


if __name__ == '__main__':
  absltest.main()
