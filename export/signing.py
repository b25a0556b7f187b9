"""Ed25519 keys: whoever has the public key sees that the owner of the private key signed an export."""

from collections.abc import Callable
from typing import Any

from cryptography import exceptions
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

_REMEDY = 'make a pair of keys as docs/export.md says'


def read_private_key(path: str) -> ed25519.Ed25519PrivateKey:
  """Reads a private key (PEM, PKCS8, not encrypted).

  Raises:
    ValueError: If there is no such key in the file.
  """
  try:
    key = _read(path, 'private', lambda text: serialization.load_pem_private_key(text, None))
  except TypeError as error:
    raise ValueError(
      f'Expected an Ed25519 private key at {path}, found an encrypted one: decrypt it with '
      f'openssl pkey -in {path} -out OTHER_FILE and give that file.'
    ) from error
  if not isinstance(key, ed25519.Ed25519PrivateKey):
    raise _wrong(path, 'private', 'a key of another kind')
  return key


def read_public_key(path: str) -> ed25519.Ed25519PublicKey:
  """Reads a public key (PEM).

  Raises:
    ValueError: If there is no such key in the file.
  """
  key = _read(path, 'public', serialization.load_pem_public_key)
  if not isinstance(key, ed25519.Ed25519PublicKey):
    raise _wrong(path, 'public', 'a key of another kind')
  return key


def is_signed(content: bytes, signature: bytes, key: ed25519.Ed25519PublicKey) -> bool:
  """Returns whether the owner of a key signed a content."""
  try:
    key.verify(signature, content)
  except exceptions.InvalidSignature:
    return False
  return True


def _read(path: str, kind: str, load: Callable[[bytes], Any]) -> Any:
  try:
    with open(path, 'rb') as file:
      return load(file.read())
  except OSError as error:
    raise _wrong(path, kind, error.strerror) from error
  except exceptions.UnsupportedAlgorithm as error:
    raise _wrong(path, kind, 'a key of another kind') from error
  except ValueError as error:
    raise _wrong(path, kind, 'another content') from error


def _wrong(path: str, kind: str, found: str | None) -> ValueError:
  return ValueError(f'Expected an Ed25519 {kind} key in PEM at {path}, found {found}: {_REMEDY}.')
