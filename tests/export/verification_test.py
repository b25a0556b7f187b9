"""Tests that a changed, mixed-up or forged model folder is found out, and why."""

import json
import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from common import sealed_json
from contracts import released_model
from export import signing
from export import verification
from tests.export import exported

_FILES = (*exported.CONTENTS, *exported.MODELS)
_SUMS = 'all files are as SHA256SUMS lists them'
_WHOLE = 'the folder has all files of an export and no other model file, page or code'
_SIGNED = 'the owner of the key signed SHA256SUMS'
_CHECKED = 'parity.json is of these model files'
_PRIVACY = 'privacy.json is of the model that was exported'
_RELEASED = 'the run has released this model with this ledger'


class VerificationTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self._run_dir, self._model = os.path.join(folder, 'run'), os.path.join(folder, 'model')
    self._private, public = exported.write_keys(folder)
    self._key = signing.read_public_key(public)
    self._other = signing.read_public_key(exported.write_keys(folder, 'other')[1])
    exported.write(self._run_dir, self._model, signing.read_private_key(self._private).sign)

  def _path(self, name: str) -> pathlib.Path:
    return pathlib.Path(self._model, name)

  def _verify(self) -> dict[str, list[str]]:
    """Returns what is not true of the folder, and why."""
    released = released_model.load_with_ledger(self._run_dir)
    found = dict(verification.verify(self._model, self._key, released))
    self.assertSequenceEqual([*found], [_SUMS, _WHOLE, _SIGNED, _CHECKED, _PRIVACY, _RELEASED])
    return {claim: reasons for claim, reasons in found.items() if reasons}

  def _seal_parity(self, **changes: object) -> None:
    path = self._path('parity.json')
    path.write_text(sealed_json.dumps(json.loads(path.read_text()) | changes))

  def test_a_folder_as_it_was_exported(self) -> None:
    self.assertEqual(self._verify(), {})
    self.assertLen([*verification.verify(self._model)], 4)
    os.makedirs(self._path('.staging'))
    self._path('.staging/next_character.float16.tflite').write_text('of an export that was killed')
    self._path('notes.txt').write_text('mine')
    self.assertEqual(self._verify(), {})

  @parameterized.parameters(*_FILES)
  def test_one_byte_of_a_file(self, name: str) -> None:
    content = bytearray(self._path(name).read_bytes())
    for place in {0, len(content) // 2, len(content) - 1}:
      changed = bytes([*content[:place], content[place] ^ 1, *content[place + 1 :]])
      self._path(name).write_bytes(changed)
      self.assertEqual(self._verify()[_SUMS], [f'{name} was changed'])
      # With checksums that fit, the signature does not.
      exported.write_sums(self._model)
      found = self._verify()
      self.assertNotIn(_SUMS, found)
      self.assertIn('not the signature of this SHA256SUMS with that key', found[_SIGNED][0])
      if name in exported.MODELS:
        self.assertEqual(found[_CHECKED], [f'{name} is not the file that was checked against Keras'])
      self.assertEqual(name == 'parity.json', 'an export, found' in ''.join(found.get(_CHECKED, [])), found)
      self.assertEqual(name == 'privacy.json', 'a privacy ledger at' in ''.join(found.get(_PRIVACY, [])), found)
      self.assertEqual(name == 'parity.json', found.get(_PRIVACY) == ['parity.json names no model'])
      self._path(name).write_bytes(content)
      exported.write_sums(self._model)
      self.assertEqual(self._verify(), {})

  @parameterized.parameters(0, 70, -1)
  def test_one_byte_of_the_checksums(self, place: int) -> None:
    content = bytearray(self._path('SHA256SUMS').read_bytes())
    content[place] ^= 1
    self._path('SHA256SUMS').write_bytes(content)
    found = self._verify()
    self.assertContainsSubset({_SIGNED: found[_SIGNED], _SUMS: found[_SUMS]}, found)

  @parameterized.parameters(*_FILES)
  def test_a_missing_file(self, name: str) -> None:
    os.remove(self._path(name))
    self.assertEqual(self._verify()[_SUMS], [f'{name} is missing or cannot be read'])
    exported.write_sums(self._model)
    found = self._verify()
    if name in exported.MODELS:
      self.assertIn('which is not one of the export', found[_CHECKED][0])
    else:
      self.assertEqual(found[_WHOLE], [f'SHA256SUMS does not list {name}'])

  def test_no_checksums(self) -> None:
    os.remove(self._path('SHA256SUMS'))
    found = self._verify()
    self.assertEqual(found[_SUMS], ['there is no SHA256SUMS that can be read, so this is no complete export'])
    self.assertContainsSubset([_WHOLE, _SIGNED, _CHECKED], found)
    self.assertIn('SHA256SUMS lists no model file', found[_WHOLE])

  def test_files_in_folders(self) -> None:
    for name in ('snippets/a.py', 'litert/wasm/a.wasm'):
      self._path(name).parent.mkdir(parents=True, exist_ok=True)
      self._path(name).write_text('first')
    exported.write_sums(self._model)
    self.assertCountEqual(self._verify(), [_SIGNED])
    self._path('litert/wasm/a.wasm').write_text('other')
    self.assertEqual(self._verify()[_SUMS], ['litert/wasm/a.wasm was changed'])

  @parameterized.parameters(
    '',
    'x',
    '{0}',
    '{0}{0}',
    '{0}no checksum\n',
    '../{0}',
    '{1}  ../run/config.flags\n',
    '{1}  snippets/../../run/config.flags\n',
    '{1}  /etc/hostname\n',
    '{1}  a\0b\n',
  )
  def test_checksums_of_another_form(self, text: str) -> None:
    line = self._path('SHA256SUMS').read_text().splitlines(keepends=True)[0]
    self._path('SHA256SUMS').write_text(text.format(line, 'a' * 64))
    found = self._verify()
    self.assertEqual(text == '{0}', _SUMS not in found)
    self.assertContainsSubset([_WHOLE, _SIGNED], found)

  @parameterized.parameters(
    'next_character.float16.tflite',
    'more/next_character.step.tflite',
    'B.TFLITE',
    'index.html',
    'snippets/numpy.py',
    'Snippets/numpy/__init__.py',
    'snippets/__pycache__/predict.cpython-312.pyc',
    'litert/core/more.js',
  )
  def test_a_part_of_the_export_that_is_not_listed(self, name: str) -> None:
    self._path(name).parent.mkdir(parents=True, exist_ok=True)
    self._path(name).write_text('evil')
    reason = f'SHA256SUMS does not list {name}, which looks like a part of the export'
    self.assertEqual(self._verify(), {_WHOLE: [reason]})

  def test_a_link_to_code(self) -> None:
    self._path('snippets').mkdir(exist_ok=True)
    for name in ('snippets/numpy', 'litert'):
      os.symlink(self._run_dir, self._path(name))
      reason = f'SHA256SUMS does not list {name}, which looks like a part of the export'
      self.assertEqual(self._verify(), {_WHOLE: [reason]})
      os.remove(self._path(name))

  def test_a_model_file_that_nobody_checked(self) -> None:
    self._path('next_character.float16.tflite').write_text('evil')
    exported.write_sums(self._model)
    found = self._verify()
    self.assertEqual(found[_CHECKED], ['it says nothing of next_character.float16.tflite'])
    self.assertIn(_SIGNED, found)

  def test_swapped_variants(self) -> None:
    one, other = map(self._path, exported.MODELS)
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1])
    other.write_bytes(contents[0])
    exported.write_sums(self._model)
    self.assertCountEqual(self._verify(), [_SIGNED, _CHECKED])
    # Swapped in the record as well.
    variants = json.loads(self._path('parity.json').read_text())['variants']
    one.write_bytes(contents[0])
    other.write_bytes(contents[1])
    self._seal_parity(variants=dict(zip(variants, reversed(variants.values()), strict=True)))
    exported.write_sums(self._model)
    found = self._verify()
    self.assertCountEqual(found, [_SIGNED, _CHECKED])
    self.assertLen(found[_CHECKED], 2)
    self.assertIn('has the file next_character.float32.tflite, which is not one of', found[_CHECKED][0])

  def test_other_figures_under_the_old_signature(self) -> None:
    self._seal_parity(keras_accuracy=0.99)
    self.assertEqual(self._verify(), {_SUMS: ['parity.json was changed']})
    exported.write_sums(self._model)
    self.assertCountEqual(self._verify(), [_SIGNED])

  @parameterized.parameters(0, 1, 63, 65)
  def test_a_signature_of_another_length(self, length: int) -> None:
    signature = self._path('SHA256SUMS.sig').read_bytes()
    self.assertLen(signature, 64)
    self._path('SHA256SUMS.sig').write_bytes((signature + b'0')[:length])
    self.assertCountEqual(self._verify(), [_SIGNED])

  def test_another_key_and_no_signature(self) -> None:
    self._key = self._other
    self.assertIn('not the signature of this SHA256SUMS with that key', self._verify()[_SIGNED][0])
    os.remove(self._path('SHA256SUMS.sig'))
    self.assertEqual(self._verify(), {_SIGNED: ['there is no SHA256SUMS.sig that can be read']})

  def test_the_ledger_of_another_model(self) -> None:
    exported.release(self._run_dir, 139)
    os.replace(os.path.join(self._run_dir, 'public', 'privacy.json'), self._path('privacy.json'))
    exported.release(self._run_dir)
    exported.write_sums(self._model)
    found = self._verify()
    self.assertEqual(found[_PRIVACY], ['it is of another model than parity.json'])
    self.assertEqual(found[_RELEASED], ['privacy.json differs from the ledger of the run'])

  def test_another_promise_of_the_same_model(self) -> None:
    path = self._path('privacy.json')
    path.write_text(sealed_json.dumps(json.loads(path.read_text()) | {'epsilon': 0.1}))
    exported.write_sums(self._model)
    self.assertCountEqual(self._verify(), [_SIGNED, _RELEASED])

  def test_a_run_that_went_on(self) -> None:
    exported.release(self._run_dir, 150)
    reason = 'the folder has the model of round 140 of some run, and this run has released another one, of round 150'
    self.assertEqual(self._verify(), {_RELEASED: [reason]})


if __name__ == '__main__':
  absltest.main()
