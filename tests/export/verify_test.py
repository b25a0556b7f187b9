"""Tests of the program as a user starts it: what it prints, how it ends, what it loads."""

import os
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest

from export import signing
from tests import layout
from tests.export import exported


def _run(*flags: str, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
  command = [sys.executable, *options, '-m', 'export.verify', *flags]
  done = subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, timeout=60, check=False)
  return done.returncode, done.stdout, done.stderr


class VerifyTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._folder = self.enterContext(tempfile.TemporaryDirectory())
    self._run_dir, self._model = (os.path.join(self._folder, name) for name in ('run', 'model'))
    private, self._public = exported.write_keys(self._folder)
    exported.write(self._run_dir, self._model, signing.read_private_key(private).sign)

  def test_what_can_be_trusted_without_tensorflow(self) -> None:
    flags = (f'--model_dir={self._model}', f'--public_key={self._public}', f'--run_dir={self._run_dir}')
    code, output, log = _run(*flags, options=('-X', 'importtime'))
    self.assertEqual((code, output.count('ok: '), len(output.splitlines())), (0, 6, 6), output + log)
    loaded = {line.rpartition('|')[2].strip().partition('.')[0] for line in log.splitlines()}
    self.assertIn('cryptography', loaded)
    self.assertEmpty(loaded & {'tensorflow', 'keras', 'ai_edge_litert', 'apache_beam', 'tensorflow_federated'})

  def test_says_each_reason_and_what_was_not_checked(self) -> None:
    pathlib.Path(self._model, 'classes.json').write_text('[]')
    pathlib.Path(self._model, 'more\x1b.tflite').write_text('evil')
    code, output, errors = _run(f'--model_dir={self._model}')
    self.assertEqual((code, output.count('ok: ')), (1, 2))
    self.assertEndsWith(output, 'not checked: who exported the files, for want of --public_key\n')
    self.assertEqual(
      errors.splitlines(),
      [
        'error: Expected that all files are as SHA256SUMS lists them, found otherwise: classes.json was changed',
        'error: Expected that the folder has all files of an export and no other model file, page or code, found '
        r'otherwise: SHA256SUMS does not list more\x1b.tflite, which looks like a part of the export',
      ],
    )

  def test_what_is_no_folder_key_or_run_is_one_line(self) -> None:
    missing = os.path.join(self._folder, 'missing')
    for flags, message in (
      ((f'--model_dir={missing}',), f'Expected a model folder at {missing}, found none'),
      ((f'--model_dir={self._model}', f'--public_key={missing}'), 'Expected an Ed25519 public key'),
      ((f'--model_dir={self._model}', f'--run_dir={missing}'), 'Expected a released model at'),
    ):
      code, output, errors = _run(*flags)
      self.assertEqual((code, output, len(errors.splitlines())), (2, '', 1), errors)
      self.assertStartsWith(errors, f'error: {message}')


if __name__ == '__main__':
  absltest.main()
