"""Tests keys of other programs, and that each key that is no Ed25519 key is refused with a remedy that works."""

from collections.abc import Callable
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import ed25519

from export import signing
from tests import documented
from tests.export import exported

_PEM, _PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
_SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
_PLAIN = serialization.NoEncryption()


def _other_private() -> bytes:
  return ec.generate_private_key(ec.SECP256R1()).private_bytes(_PEM, _PKCS8, _PLAIN)


def _other_public() -> bytes:
  return ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(_PEM, _SPKI)


def _private() -> bytes:
  return ed25519.Ed25519PrivateKey.generate().private_bytes(_PEM, _PKCS8, _PLAIN)


def _public() -> bytes:
  return ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(_PEM, _SPKI)


def _nothing() -> bytes:
  return b''


def _blocks(beginning: str) -> list[documented.Block]:
  blocks = documented.blocks('docs/export.md', documented.read('docs/export.md'))
  return [block for block in blocks if block.text.startswith(beginning)]


class SigningTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._folder = self.enterContext(tempfile.TemporaryDirectory())
    self._path = os.path.join(self._folder, 'some.pem')

  def _run(self, command: str, folder: str = '.') -> None:
    subprocess.run(command, shell=True, cwd=os.path.join(self._folder, folder), check=True, capture_output=True)

  def test_signs(self) -> None:
    private, public = exported.write_keys(self._folder)
    other = signing.read_public_key(exported.write_keys(self._folder, 'other')[1])
    signature = signing.read_private_key(private).sign(b'sums')
    self.assertTrue(signing.is_signed(b'sums', signature, signing.read_public_key(public)))
    for content, changed, key in ((b'sum', signature, public), (b'sums', signature[:-1], public)):
      self.assertFalse(signing.is_signed(content, changed, signing.read_public_key(key)))
    self.assertFalse(signing.is_signed(b'sums', signature, other))

  @absltest.skipUnless(shutil.which('openssl'), 'needs openssl')
  def test_openssl_as_the_page_has_it(self) -> None:
    make, check = (block.commands for block in _blocks('openssl'))
    for command in make:
      self._run(command)
    private, public = (os.path.join(self._folder, name) for name in ('signing_key.pem', 'public_key.pem'))
    model = os.path.join(self._folder, 'model')
    exported.write(os.path.join(self._folder, 'run'), model, signing.read_private_key(private).sign)
    for command in check:
      self._run(command, 'model')
    sums, signature = (pathlib.Path(model, name) for name in ('SHA256SUMS', 'SHA256SUMS.sig'))
    self.assertTrue(signing.is_signed(sums.read_bytes(), signature.read_bytes(), signing.read_public_key(public)))
    sums.write_text(sums.read_text() + '\n')
    with self.assertRaises(subprocess.CalledProcessError):
      self._run(check[0], 'model')

  def test_python_as_the_page_has_it(self) -> None:
    (block,) = _blocks('from cryptography')
    subprocess.run([sys.executable, '-c', block.text], cwd=self._folder, check=True)
    private, public = (os.path.join(self._folder, name) for name in ('signing_key.pem', 'public_key.pem'))
    signature = signing.read_private_key(private).sign(b'sums')
    self.assertTrue(signing.is_signed(b'sums', signature, signing.read_public_key(public)))

  @absltest.skipUnless(shutil.which('openssl'), 'needs openssl')
  def test_the_remedy_for_an_encrypted_key(self) -> None:
    self._run('openssl genpkey -algorithm ed25519 -aes256 -pass pass:secret -out some.pem')
    with self.assertRaises(ValueError) as caught:
      signing.read_private_key(self._path)
    message = str(caught.exception)
    self.assertStartsWith(message, f'Expected an Ed25519 private key at {self._path}, found an encrypted one: ')
    remedy = message[message.index('openssl') : message.index(' and give')]
    self._run(remedy.replace('OTHER_FILE', 'other.pem') + ' -passin pass:secret')
    signing.read_private_key(os.path.join(self._folder, 'other.pem'))

  @parameterized.product(
    case=(
      (signing.read_private_key, 'private', _other_private, 'a key of another kind'),
      (signing.read_private_key, 'private', _public, 'another content'),
      (signing.read_public_key, 'public', _other_public, 'a key of another kind'),
      (signing.read_public_key, 'public', _private, 'another content'),
      (signing.read_private_key, 'private', _nothing, 'another content'),
      (signing.read_public_key, 'public', _nothing, 'another content'),
    )
  )
  def test_refuses(self, case: tuple[Callable[[str], object], str, Callable[[], bytes], str]) -> None:
    read, kind, make, found = case
    pathlib.Path(self._path).write_bytes(make())
    expected = f'Expected an Ed25519 {kind} key in PEM at {self._path}, found {found}: make a pair of keys as'
    with self.assertRaisesRegex(ValueError, expected):
      read(self._path)

  @parameterized.parameters(signing.read_private_key, signing.read_public_key)
  def test_needs_a_file(self, read: Callable[[str], object]) -> None:
    for path, found in ((self._path, 'No such file'), (self._folder, 'Is a directory'), ('', 'No such file')):
      with self.assertRaisesRegex(ValueError, f'^Expected an Ed25519 .* at {path}, found {found}'):
        read(path)


if __name__ == '__main__':
  absltest.main()
