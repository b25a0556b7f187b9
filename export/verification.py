"""Whether the files of a model folder are those that an export wrote, checked, and signed. No TensorFlow."""

from collections.abc import Iterator, Mapping
import os
import re
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519

from common import files
from contracts import released_model
from contracts import run_directory
from export import documents
from export import model_folder
from export import signing

_LINE = re.compile('([0-9a-f]{64})  (.+)')
_REMEDY = 'export again'
_NO_MODEL = f'{model_folder.PARITY} names no model'
# A released model and its ledger.
Released = tuple[released_model.ReleasedModel, Mapping[str, Any]]


def verify(
  model_dir: str, public_key: ed25519.Ed25519PublicKey | None = None, released: Released | None = None
) -> Iterator[tuple[str, list[str]]]:
  """Yields what is true of a folder that can be trusted, each time with the reasons why it is not true of this one.

  Args:
    model_dir: The model folder.
    public_key: Of whoever should have signed the export; None: the signature is not checked.
    released: What the run has released that should have been exported; None: any may have been.
  """
  listing = _read(os.path.join(model_dir, model_folder.CHECKSUMS))
  sums, reasons = _parse(listing)
  yield f'all files are as {model_folder.CHECKSUMS} lists them', reasons + _compare(model_dir, sums)
  yield 'the folder has all files of an export and no other model file, page or code', _find_others(model_dir, sums)
  if public_key:
    signature = _read(os.path.join(model_dir, model_folder.SIGNATURE))
    yield f'the owner of the key signed {model_folder.CHECKSUMS}', _check_signature(listing, signature, public_key)
  record, reasons = _read_parity(model_dir)
  yield f'{model_folder.PARITY} is of these model files', reasons or _check_parity(model_dir, sums, record)
  ledger, reasons = _read_ledger(model_dir)
  yield f'{documents.LEDGER} is of the model that was exported', reasons or _check_model(record, ledger)
  if released:
    yield 'the run has released this model with this ledger', _check_released(record, ledger, released)


def _read(path: str) -> bytes | None:
  try:
    with open(path, 'rb') as file:
      return file.read()
  except OSError:
    return None


def _parse(listing: bytes | None) -> tuple[dict[str, str], list[str]]:
  """Returns the checksums in SHA256SUMS by file name, and what is wrong with it."""
  if listing is None:
    return {}, [f'there is no {model_folder.CHECKSUMS} that can be read, so this is no complete export']
  sums: dict[str, str] = {}
  for number, line in enumerate(listing.decode(errors='replace').removesuffix('\n').split('\n'), 1):
    match = _LINE.fullmatch(line)
    if not match or match[2] in sums or not model_folder.is_inside(match[2]):
      return sums, [f'line {number} of {model_folder.CHECKSUMS} is not a checksum and the name of one more file']
    sums[match[2]] = match[1]
  return sums, []


def _compare(model_dir: str, sums: Mapping[str, str]) -> list[str]:
  reasons = []
  for name, digest in sums.items():
    found = _describe(model_dir, name)
    if not found:
      reasons.append(f'{name} is missing or cannot be read')
    elif found['sha256'] != digest:
      reasons.append(f'{name} was changed')
  return reasons


def _describe(model_dir: str, name: str) -> dict[str, Any]:
  """Returns the size and the hash of a file; nothing if there is none."""
  try:
    return files.describe(os.path.join(model_dir, name))
  except OSError:
    return {}


def _find_others(model_dir: str, sums: Mapping[str, str]) -> list[str]:
  required = documents.DOCUMENTS
  reasons = [f'{model_folder.CHECKSUMS} does not list {name}' for name in required if name not in sums]
  if not _models(sums):
    reasons.append(f'{model_folder.CHECKSUMS} lists no model file')
  staged = f'{model_folder.STAGING}/'  # Of an export that is running or was killed: nobody uses them.
  found = model_folder.find_files(model_dir)
  others = [name for name in found if name not in sums and not name.startswith(staged)]
  # Python imports from beside a program, and a page loads what stands there: each file in these folders may run.
  return reasons + [
    f'{model_folder.CHECKSUMS} does not list {name}, which looks like a part of the export'
    for name in others
    if model_folder.OPTIONAL.fullmatch(name)
  ]


def _models(names: Any) -> list[str]:
  return [name for name in names if name.lower().endswith(model_folder.MODEL)]


def _check_signature(listing: bytes | None, signature: bytes | None, public_key: ed25519.Ed25519PublicKey) -> list[str]:
  if signature is None:
    return [f'there is no {model_folder.SIGNATURE} that can be read']
  if listing is None or not signing.is_signed(listing, signature, public_key):
    return [f'{model_folder.SIGNATURE} is not the signature of this {model_folder.CHECKSUMS} with that key']
  return []


def _read_parity(model_dir: str) -> tuple[dict[str, Any], list[str]]:
  try:
    record = run_directory.read_parity(model_dir)
  except (OSError, ValueError) as error:
    return {}, [str(error)]
  return record, [] if record else [f'there is no {model_folder.PARITY}']


def _check_parity(model_dir: str, sums: Mapping[str, str], record: Mapping[str, Any]) -> list[str]:
  reasons, variants = [], record['variants']
  names = {name: model_folder.file_name(record['task'], name) for name in variants}
  for name, variant in variants.items():
    found = _describe(model_dir, names[name]) if names[name] in sums else {}
    if variant['path'] != names[name] or not found:
      reasons.append(f'its variant {name} has the file {variant["path"]}, which is not one of the export')
    elif found != {key: variant[key] for key in found}:
      reasons.append(f'{names[name]} is not the file that was checked against Keras')
  return reasons + [f'it says nothing of {name}' for name in _models(sums) if name not in names.values()]


def _read_ledger(model_dir: str) -> tuple[dict[str, Any], list[str]]:
  try:
    return released_model.load_ledger(os.path.join(model_dir, documents.LEDGER), _REMEDY)[0], []
  except ValueError as error:
    return {}, [str(error)]


def _check_model(record: Mapping[str, Any], ledger: Mapping[str, Any]) -> list[str]:
  if 'model' not in record:
    return [_NO_MODEL]
  return [] if record['model'] == ledger.get('model') else [f'it is of another model than {model_folder.PARITY}']


def _check_released(record: Mapping[str, Any], ledger: Mapping[str, Any], released: Released) -> list[str]:
  model, of_run = released
  if 'model' not in record:
    return [_NO_MODEL]
  if record['model'] != model.digest:
    return [
      f'the folder has the model of round {ledger.get("round")} of some run, and this run has released another one, of '
      f'round {model.round_number}'
    ]
  return [] if ledger == of_run else [f'{documents.LEDGER} differs from the ledger of the run']
