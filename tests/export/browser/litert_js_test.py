"""Tests of which files of LiteRT.js a page gets, of packages that are made up."""

import json
import os
import pathlib
import re
import tempfile

from absl.testing import absltest

from export.browser import litert_js
from tests import layout


class LitertJsTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._modules = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), 'node_modules')
    self._core = self._modules / '@litertjs/core'
    self._package: dict[str, object] = {
      'version': '2.9.0',
      'main': './dist/index.js',
      'dependencies': {'@litertjs/wasm-utils': '^2'},
    }
    self._write('@litertjs/core', self._package)
    self._write('@litertjs/wasm-utils', {'main': 'dist/index.js'})
    (self._core / 'wasm').mkdir()
    for build in ('', '_compat', '_threaded'):
      for suffix in ('js', 'wasm'):
        (self._core / f'wasm/litert_wasm{build}_internal.{suffix}').write_text(f'{build}.{suffix}')

  def _write(self, name: str, package: dict[str, object]) -> None:
    folder = self._modules / name / 'dist'
    folder.mkdir(parents=True)
    (folder.parent / 'package.json').write_text(json.dumps({'name': name, **package}))
    for path in ('index.js', 'chunk.js', 'index.js.map', 'index.d.ts'):
      (folder / path).write_text(f'{name}/{path}')

  def test_takes_what_a_page_needs(self) -> None:
    found = litert_js.read(os.fspath(self._core))
    names = ('chunk.js', 'index.js', 'package.json')
    modules = [f'{package}/{name}' for package in ('core', 'wasm-utils') for name in names]
    builds = [f'wasm/litert_wasm{build}_internal.{suffix}' for build in ('', '_compat') for suffix in ('js', 'wasm')]
    self.assertCountEqual(found, [*modules, *builds])
    self.assertEqual(found['wasm-utils/index.js'], b'@litertjs/wasm-utils/index.js')
    self.assertEqual(
      litert_js.imports(found, './litert'),
      {
        'imports': {
          '@litertjs/core': './litert/core/index.js',
          '@litertjs/wasm-utils': './litert/wasm-utils/index.js',
        }
      },
    )

  def test_finds_a_dependency_inside(self) -> None:
    inner = self._core / 'node_modules/@litertjs'
    inner.mkdir(parents=True)
    os.rename(self._modules / '@litertjs/wasm-utils', inner / 'wasm-utils')
    self.assertIn('wasm-utils/index.js', litert_js.read(os.fspath(self._core)))

  def test_says_what_is_missing(self) -> None:
    remedy = 'found .*: type npm install @litertjs/core@2.5.3, and give node_modules/@litertjs/core.$'
    for path in ('missing', '@litertjs/wasm-utils', '@litertjs'):
      with self.assertRaisesRegex(ValueError, f'^Expected the npm package @litertjs/core at .*{path}.*, {remedy}'):
        litert_js.read(os.fspath(self._modules / path))
    for path in ('dist/index.js', 'wasm/litert_wasm_compat_internal.wasm', '../wasm-utils', 'package.json'):
      moved = self._core / path
      moved.rename(self._modules / 'moved')
      with self.subTest(path), self.assertRaisesRegex(ValueError, remedy):
        litert_js.read(os.fspath(self._core))
      (self._modules / 'moved').rename(moved)
    (self._core / 'package.json').write_text('[]')
    with self.assertRaisesRegex(ValueError, 'found no npm package'):
      litert_js.read(os.fspath(self._core))

  def test_another_major_version(self) -> None:
    for version in ('1.9.9', '3.0.0', '25.0.0', None):
      package = {**self._package, 'name': '@litertjs/core', 'version': version}
      (self._core / 'package.json').write_text(json.dumps(package))
      with self.assertRaisesRegex(ValueError, f'found version {version}: type npm install @litertjs/core@2.5.3, and'):
        litert_js.read(os.fspath(self._core))

  def test_one_version_everywhere(self) -> None:
    places = ('docs/export.md', '.ci/run', 'export/check_browser.py', 'export/snippets/predict.mjs.j2')
    for path in (*places, 'tests/export/browser/tools.py'):
      found = re.findall('@litertjs/core@([0-9.]*[0-9])', pathlib.Path(layout.ROOT, path).read_text())
      self.assertEqual({*found}, {litert_js.VERSION}, path)

  def test_reads_what_an_export_has_copied(self) -> None:
    found = litert_js.read(os.fspath(self._core))
    copied = self._modules / 'litert'
    for name, content in found.items():
      (copied / name).parent.mkdir(parents=True, exist_ok=True)
      (copied / name).write_bytes(content)
    self.assertEqual(litert_js.read_published(os.fspath(copied)), found)
    with self.assertRaisesRegex(ValueError, 'found none: type npm install .*, and give .* by --litert_js'):
      litert_js.read_published(os.fspath(self._modules / 'missing'))


if __name__ == '__main__':
  absltest.main()
