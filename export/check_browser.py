"""Checks that the files of a model folder answer in a browser as on LiteRT, on held-out users.

python -m export.check_browser --model_dir=runs/quickstart/model --shards_dir=runs/quickstart/shards \
  --litert_js=node_modules/@litertjs/core

It needs Chromium, and LiteRT.js as `npm install @litertjs/core@2.5.3` installs it; a model folder with a page has that.
"""

import json
import os
import sys

from absl import flags

from common import cli
from contracts import client_shards
from contracts import run_directory
from export import guard
from export import model_folder
from export import parity
from export import preprocessing
from export.browser import chromium as chromium_lib
from export.browser import comparison
from export.browser import litert_js

_MODEL_DIR = flags.DEFINE_string('model_dir', None, 'Model folder of export.to_tflite.', required=True)
_SHARDS_DIR = flags.DEFINE_string(
  'shards_dir', None, 'Data set with the held-out users: the one that the run was trained on.', required=True
)
_LITERT_JS = flags.DEFINE_string(
  'litert_js', None, f'Folder of the npm package {litert_js.PACKAGE}; by default that of the page of the model folder.'
)
_CHROMIUM = flags.DEFINE_string('chromium', None, 'Path of Chromium; by default it is looked for.')
_SECONDS = flags.DEFINE_float('seconds', 600, 'Time limit of the browser, in seconds.', lower_bound=1)


def main() -> None:
  """Prints one line a file, and ends with exit code 1 if one answers otherwise."""
  record = run_directory.read_parity(_MODEL_DIR.value)
  if not record:
    raise ValueError(f'Expected a model folder at {_MODEL_DIR.value}, found none: export.to_tflite writes one.')
  chosen, refused = comparison.choose(record['variants'])
  for path, reason in refused.items():
    print(f'Skipped {path}: {reason}.')
  if not chosen:
    raise ValueError(
      f'Expected a file that a browser can run in {_MODEL_DIR.value}, found none: export float32 as well.'
    )
  runtime = _read_runtime()
  chromium = chromium_lib.find(_CHROMIUM.value)
  shards = client_shards.ClientShards(_SHARDS_DIR.value)
  examples = parity.held_out_examples(shards)
  if (shards.schema.task, len(examples.labels)) != (record['task'], record['examples']):
    raise ValueError(
      f'Expected {record["examples"]} examples of held-out users for {record["task"]} in {shards.path}, found '
      f'{len(examples.labels)} for {shards.schema.task}: pass the --shards_dir of the run that was exported.'
    )
  with open(os.path.join(_MODEL_DIR.value, preprocessing.FILE_NAME), encoding='utf-8') as file:
    steps = json.load(file)
  is_good = True
  print(f'{"file":<40}{"agreement":>11}{"difference":>12}{"accuracy":>10}{"a call":>13}', flush=True)
  try:
    outcomes = comparison.compare(
      _MODEL_DIR.value, chosen, steps, examples, shards.schema, runtime, chromium, guard.Limits(seconds=_SECONDS.value)
    )
    for outcome in outcomes:
      print(_describe(outcome), flush=True)
      if outcome.fault:
        is_good = False
        print(f'error: {outcome.path} in the browser: {outcome.fault}', file=sys.stderr)
  except (chromium_lib.Failed, guard.Failed) as error:
    sys.exit(f'error: the files could not be run: {error}')
  if not is_good:
    sys.exit(1)


def _describe(outcome: comparison.Outcome) -> str:
  figures = outcome.figures
  if not figures:
    return f'{outcome.path:<40}  not run'
  return (
    f'{outcome.path:<40}{figures.argmax_agreement:>11.2%}{figures.max_logit_difference:>12.2g}'
    f'{figures.accuracy:>10.2%}{outcome.microseconds:>10,.1f} us'
  )


def _read_runtime() -> dict[str, bytes]:
  if _LITERT_JS.value is not None:
    return litert_js.read(_LITERT_JS.value)
  return litert_js.read_published(os.path.join(_MODEL_DIR.value, model_folder.LITERT_JS))


if __name__ == '__main__':
  cli.run(main)
