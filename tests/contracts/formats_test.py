"""Format numbers: an unnamed format is the first, another one is refused by its number wherever it is read."""

import os
import re
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized

from common import sealed_json
from contracts import formats
from contracts import run_directory

_PARITY = {
  'source': 'a',
  'task': 'next_word',
  'variants': {},
  'failed': {},
  'keras_accuracy': 0.5,
  'examples': 1,
  'positions': 1,
  'seconds': 1.0,
}


class FormatsTest(parameterized.TestCase):
  @parameterized.parameters({}, {formats.KEY: 1})
  def test_the_first_format_need_not_be_named(self, **content: Any) -> None:
    formats.check(content, 1)
    with self.assertRaisesRegex(ValueError, r'^format 1 of another version \(this one reads format 2\)$'):
      formats.check(content, 2)

  @parameterized.parameters(0, 3, True, '2', None, ([2],), 2.0)
  def test_another_format(self, found: Any) -> None:
    with self.assertRaisesRegex(ValueError, rf'^format {re.escape(repr(found))} of another version'):
      formats.check({formats.KEY: found}, 2)

  @parameterized.parameters(run_directory.FIGURES, run_directory.LEDGER)
  def test_files_of_a_run(self, name: str) -> None:
    run_dir = self.create_tempdir().full_path
    run_directory.make(run_dir)
    self._write(run_dir, name, {'rounds': 3})
    self.assertEqual(run_directory.read_json(run_dir, name)['rounds'], 3)
    self._write(run_dir, name, {'format': 9, 'rounds': 3})
    with self.assertRaisesRegex(ValueError, f'^Expected .* in .*{name}, found format 9 of another version'):
      run_directory.read_json(run_dir, name)

  def test_parity(self) -> None:
    model_dir = self.create_tempdir().full_path
    self._write(model_dir, run_directory.PARITY, _PARITY)
    self.assertEqual(run_directory.read_parity(model_dir)['task'], 'next_word')
    # Said before the form is checked, which a later version may have changed.
    self._write(model_dir, run_directory.PARITY, {'format': 9})
    with self.assertRaisesRegex(ValueError, '^Expected the .*parity.json of an export, found format 9 of another'):
      run_directory.read_parity(model_dir)

  def _write(self, folder: str, name: str, content: dict[str, Any]) -> None:
    with open(os.path.join(folder, name), 'w', encoding='utf-8') as file:
      file.write(sealed_json.dumps(content))


if __name__ == '__main__':
  absltest.main()
