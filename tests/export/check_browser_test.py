"""Tests of the program in a real browser, on a folder as export.to_tflite writes it, with its page."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest

from common import sealed_json
from export import model_folder
from pipelines.featurizers import characters
from tests import layout
from tests.export import exported
from tests.export import fakes
from tests.export.browser import tools

_CHARACTERS = characters.Characters('text', 12)
_VARIANTS = ('float32', 'dynamic_range', 'step')


def _run(program: str, *flags: str) -> tuple[int, str, str]:
  command = [sys.executable, '-m', f'export.{program}', *flags]
  ran = subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, timeout=180, check=False)
  return ran.returncode, ran.stdout, ran.stderr


class CheckBrowserTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._folder = self.enterContext(tempfile.TemporaryDirectory())
    self._model = os.path.join(self._folder, 'model')
    self._shards = fakes.write_declared_shards(os.path.join(self._folder, 'shards'), _CHARACTERS)
    self._flags = (f'--model_dir={self._model}', f'--shards_dir={self._shards}')

  def test_the_files_of_an_export(self) -> None:
    tools.find_chromium(self)
    run_dir = fakes.write_figures(os.path.join(self._folder, 'run'), self._shards)
    fakes.release(run_dir, _CHARACTERS.schema)
    export = (f'--run_dir={run_dir}', f'--output_dir={self._model}', f'--variants={",".join(_VARIANTS)}')
    code, output, errors = _run('to_tflite', *export, f'--litert_js={tools.LITERT_JS}')
    self.assertEqual((code, errors), (0, ''))
    self.assertIn(f'python -m http.server --bind 127.0.0.1 --directory {self._model}', output)
    names = model_folder.find_files(self._model)
    self.assertContainsSubset(['index.html', 'litert/core/index.js', 'snippets/predict.mjs'], names)
    subprocess.run(['sha256sum', '-c', '--strict', 'SHA256SUMS'], cwd=self._model, check=True, capture_output=True)
    code, output, errors = _run('check_browser', *self._flags)
    self.assertEqual((code, errors), (0, ''))
    accuracy = json.loads(pathlib.Path(self._model, 'parity.json').read_text())['variants']['float32']['accuracy']
    for variant in _VARIANTS:
      self.assertRegex(output, rf'next_character.{variant}.tflite +100.00% +[\de.-]+ +{accuracy:.2%} +[\d.,]+ us\n')
    other = fakes.write_shards(os.path.join(self._folder, 'other'), num_users=3)
    code, _, errors = _run('check_browser', *self._flags, f'--shards_dir={other}')
    self.assertEqual((code, len(errors.splitlines())), (2, 1), errors)
    self.assertRegex(errors, '^error: Expected 28 examples of held-out users .*, found 6 .*: pass the --shards_dir of')

  def test_refuses_what_is_no_model_folder(self) -> None:
    code, _, errors = _run('check_browser', *self._flags)
    self.assertEqual(code, 2)
    self.assertRegex(errors, r'^error: Expected a model folder at .*, found none: export.to_tflite writes one\.\n$')

  def test_refuses_what_no_browser_runs(self) -> None:
    run_dir = os.path.join(self._folder, 'run')
    exported.write(run_dir, self._model)
    path = pathlib.Path(self._model, 'parity.json')
    record = json.loads(path.read_text())
    for variant in record['variants'].values():
      variant |= {'form': 'whole', 'quantized': {}}
    path.write_text(sealed_json.dumps(record))
    code, _, errors = _run('check_browser', *self._flags, '--chromium=/bin/false')
    self.assertEqual(code, 2)
    self.assertRegex(
      errors,
      r'^error: Expected a file that a browser can run in .*, found none: export float32 as well\.\n$',
    )


if __name__ == '__main__':
  absltest.main()
