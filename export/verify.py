"""Checks that the files of a model folder are those that an export wrote, checked, and signed.

python -m export.verify --model_dir=runs/quickstart/model

Without --public_key it finds files that were damaged or mixed up, yet not those of somebody who made all of them anew.
"""

import os
import sys

from absl import flags

from common import cli
from common import printable
from contracts import released_model
from export import signing
from export import verification

_MODEL_DIR = flags.DEFINE_string('model_dir', None, 'Model folder of export.to_tflite.', required=True)
_PUBLIC_KEY = flags.DEFINE_string(
  'public_key', None, 'Ed25519 public key (PEM) of whoever exported with --signing_key; checks the signature.'
)
_RUN_DIR = flags.DEFINE_string(
  'run_dir', None, 'Run directory whose released model was exported; checks that it was this one.'
)


def main() -> None:
  """Prints one line a check, and ends with exit code 1 if one failed."""
  if not os.path.isdir(_MODEL_DIR.value):
    raise ValueError(f'Expected a model folder at {_MODEL_DIR.value}, found none: export.to_tflite writes one.')
  key = signing.read_public_key(_PUBLIC_KEY.value) if _PUBLIC_KEY.value is not None else None
  released = released_model.load_with_ledger(_RUN_DIR.value) if _RUN_DIR.value is not None else None
  is_good = True
  for claim, reasons in verification.verify(_MODEL_DIR.value, key, released):
    if not reasons:
      print(f'ok: {claim}', flush=True)
      continue
    is_good = False
    line = ' '.join('; '.join(reasons).split())
    print(f'error: Expected that {claim}, found otherwise: {printable.show(line)}', file=sys.stderr)
  if not key:
    print(f'not checked: who exported the files, for want of --{_PUBLIC_KEY.name}')
  if not is_good:
    sys.exit(1)


if __name__ == '__main__':
  cli.run(main)
