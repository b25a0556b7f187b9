"""Model folders as an export leaves them, of a run that released a model, all made up; and keys."""

import json
import os
import pathlib
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
import numpy as np

from common import files
from contracts import released_model
from export import model_folder
from export import signing
from export import verification
from tests.export import fakes

CONTENTS = (
  'MODEL_CARD.html',
  'MODEL_CARD.md',
  'classes.json',
  'parity.json',
  'preprocessing.json',
  'privacy.json',
  'snippets/Predictor.kt',
  'snippets/Predictor.swift',
  'snippets/predict.mjs',
  'snippets/predict.py',
)
MODELS = ('next_character.dynamic_range.tflite', 'next_character.float32.tflite')


def write_keys(folder: str, name: str = 'key') -> tuple[str, str]:
  """Writes a pair of keys; returns the path of the private and that of the public key."""
  key = ed25519.Ed25519PrivateKey.generate()
  pem = serialization.Encoding.PEM
  private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
  public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
  paths = (os.path.join(folder, f'{name}.pem'), os.path.join(folder, f'{name}.pub.pem'))
  for path, content in zip(paths, (private, public), strict=True):
    pathlib.Path(path).write_bytes(content)
  return paths


def release(run_dir: str, round_number: int = 140) -> released_model.ReleasedModel:
  """Releases a model of one tensor, another one in each round."""
  model = released_model.ReleasedModel(fakes.CHARACTERS, 8, round_number, [np.full(3, round_number, np.float32)])
  released_model.save(model, fakes.privacy(), run_dir)
  return model


def write(run_dir: str, model_dir: str, sign: model_folder.Sign | None = None) -> None:
  """Releases a model and writes the folder of its export, whose model files hold a few letters."""
  model = release(run_dir)
  with model_folder.stage(model_dir) as staging:
    os.mkdir(os.path.join(staging, model_folder.SNIPPETS))
    for name in {*CONTENTS, *MODELS} - {'parity.json', 'privacy.json'}:
      pathlib.Path(staging, name).write_text(json.dumps(name))
    pathlib.Path(staging, 'privacy.json').write_bytes(pathlib.Path(run_dir, 'public', 'privacy.json').read_bytes())
    listed = {name.split('.')[1]: {'path': name, **files.describe(os.path.join(staging, name))} for name in MODELS}
    fakes.write_parity(staging, {'model': model.digest, 'variants': listed})
    model_folder.publish(staging, model_dir, sign)


def read(model_dir: str) -> dict[str, Any]:
  """Returns what each export of a run has, by file: nothing that was measured, and no card, which has that too."""
  others = ('MODEL_CARD', 'SHA256SUMS')
  contents: dict[str, Any] = {
    name: content for name, content in read_all(model_dir).items() if not name.startswith(others)
  }
  record = json.loads(contents['parity.json'])
  for measured in (record, *record['variants'].values()):
    for key in ('seconds', 'checksum', 'latency_us', 'peak_memory_mb'):
      measured.pop(key, None)
  return contents | {'parity.json': record}


def read_all(model_dir: str) -> dict[str, bytes]:
  """Returns the content of each file."""
  return {name: pathlib.Path(model_dir, name).read_bytes() for name in model_folder.find_files(model_dir)}


def stat_all(model_dir: str) -> dict[str, int]:
  """Returns when each file was written, in nanoseconds."""
  return {name: os.stat(os.path.join(model_dir, name)).st_mtime_ns for name in model_folder.find_files(model_dir)}


def find_faults(model_dir: str, public_key: str, run_dir: str) -> list[tuple[str, list[str]]]:
  """Returns what verification finds wrong."""
  released = released_model.load_with_ledger(run_dir)
  return [found for found in verification.verify(model_dir, signing.read_public_key(public_key), released) if found[1]]


def write_sums(model_dir: str) -> None:
  """Makes SHA256SUMS anew, as anybody can who changed files."""
  names = [name for name in model_folder.find_files(model_dir) if not name.startswith('SHA256SUMS')]
  lines = [f'{files.describe(os.path.join(model_dir, name))["sha256"]}  {name}\n' for name in names]
  pathlib.Path(model_dir, 'SHA256SUMS').write_text(''.join(lines))
