"""Tests of what is served to a browser, and of pages that end in each way. Slow: they start Chromium."""

import pathlib
import queue
import re
import sys
import tempfile
from unittest import mock
import urllib.error
import urllib.request

from absl.testing import absltest
from absl.testing import parameterized

from export.browser import chromium
from tests.export.browser import tools


def _page(*posts: tuple[str, str]) -> bytes:
  calls = ' '.join(f"await fetch('{path}', {{method: 'POST', body: {body}}});" for path, body in posts)
  return f'<!doctype html><script type="module">{calls}</script>'.encode()


class ServeTest(absltest.TestCase):
  def test_serves_contents_and_folders(self) -> None:
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    (folder / 'inner').mkdir()
    (folder / 'inner/a b.mjs').write_text('let a;')
    (folder / 'secret').write_text('mine')
    posted: queue.Queue[tuple[str, bytes]] = queue.Queue()
    site: dict[str, str | bytes] = {'/page.html': b'<p>', '/files/': str(folder / 'inner'), '/a.wasm': b'\0asm'}
    with chromium.serve(site, posted) as address:
      for path, content, kind in (
        ('/page.html', b'<p>', 'text/html'),
        ('/files/a%20b.mjs?query', b'let a;', 'text/javascript'),
        ('/a.wasm', b'\0asm', 'application/wasm'),
      ):
        with urllib.request.urlopen(address + path) as response:
          self.assertEqual((response.read(), response.headers['Content-Type']), (content, kind))
      for path in ('/files/../secret', '/files/%2e%2e/secret', f'/files/{folder}/secret', '/files/', '/other'):
        with self.subTest(path), self.assertRaisesRegex(urllib.error.HTTPError, '404'):
          urllib.request.urlopen(address + path)
      urllib.request.urlopen(address + '/some/path', b'content').close()
    self.assertEqual(posted.get(timeout=1), ('/some/path', b'content'))
    self.assertRegex(address, r'^http://127\.0\.0\.1:\d+$')


class RunTest(parameterized.TestCase):
  def test_returns_what_a_page_posts(self) -> None:
    site = {'/a.html': _page(('/one', "'1'"), ('/two', 'new Float32Array([0.5])'), ('/done', "''"))}
    found = chromium.run(tools.find_chromium(self), site, '/a.html', 60)
    self.assertEqual(found, {'/one': b'1', '/two': b'\0\0\0\x3f'})

  @parameterized.parameters(
    (('/error', "'it cannot'"), 60, '^it cannot$'), (('/one', "'1'"), 3, '^took longer than its limit of 3 s$')
  )
  def test_a_page_that_fails(self, post: tuple[str, str], seconds: float, expected: str) -> None:
    with self.assertRaisesRegex(chromium.Failed, expected):
      chromium.run(tools.find_chromium(self), {'/a.html': _page(post)}, '/a.html', seconds)

  def test_a_browser_that_does_not_start(self) -> None:
    script = pathlib.Path(self.create_tempdir().full_path, 'browser')
    script.write_text(f'#!{sys.executable}\nimport sys\nsys.exit("no  display")\n')
    script.chmod(0o755)
    with self.assertRaisesRegex(chromium.Failed, '^Chromium ended with exit code 1: no display$'):
      chromium.run(str(script), {}, '/a.html', 60)

  def test_looks_for_the_browser(self) -> None:
    self.assertEqual(chromium.find(sys.executable), sys.executable)
    with self.assertRaisesRegex(
      ValueError, r'^Expected Chromium at /nowhere, found none: install it .* by --chromium\.$'
    ):
      chromium.find('/nowhere')
    with (
      mock.patch.dict('os.environ', {'PATH': ''}),
      self.assertRaisesRegex(ValueError, re.escape('one of chromium, ')),
    ):
      chromium.find(None)


if __name__ == '__main__':
  absltest.main()
