"""Exports the released model of a run as TFLite files, each checked on the device's runtime.

python -m export.to_tflite --run_dir=runs/quickstart/run --output_dir=runs/quickstart/model

SHA256SUMS is written last: a folder that has it, and in which `sha256sum -c SHA256SUMS` succeeds, is complete.
"""

from collections.abc import Mapping
import os
import sys
from typing import Any

from absl import flags

from common import cli
from common import flag_checks
from common import printable
from contracts import held_out_figures
from contracts import released_model
from contracts import run_directory
from export import calibration
from export import choice as choice_lib
from export import exporter
from export import guard
from export import model_folder
from export import request
from export import signing
from export import source
from export import timing
from export.browser import litert_js
from export.browser import page
from export.metadata import facts as facts_lib
from export.variants import registry
from reporting import report

_RUN_DIR = flags.DEFINE_string('run_dir', None, 'Run directory of tff_tasks.train.', required=True)
_OUTPUT_DIR = flags.DEFINE_string('output_dir', None, 'Model folder to write.', required=True)
_SHARDS_DIR = flags.DEFINE_string(
  'shards_dir', None, 'Data set with the held-out users to check on; by default the one that the run was trained on.'
)
_VARIANTS = flags.DEFINE_list(
  'variants',
  None,
  f'Which files to write: {", ".join(registry.VARIANTS)}, or some of your own as package.module:attribute '
  f'(docs/extend.md). By default {",".join(registry.DEFAULT)}; for next_character, next_word, next_item and tasks of '
  f'your own whose model is recurrent also {",".join(registry.DEFAULT_OF_SEQUENCES)}; with examples to learn from also '
  f'{",".join(registry.LEARNING)}, of which those that do not support the model are skipped.',
)
_PUBLIC_DATA = flags.DEFINE_string(
  'public_data',
  None,
  f'Data set (shards folder), made as that of the run, for {", ".join(registry.LEARNING)}, which learn from its train '
  'split. '
  'By giving it you declare that its examples are public; the model card says so.',
)
_CALIBRATION_SHARDS = flags.DEFINE_string(
  'calibration_shards',
  None,
  "As --public_data, but clients' data: a release that the epsilon of the run does not cover.",
)
_ACCEPT = flags.DEFINE_bool(
  'accept_unaccounted_calibration',
  False,
  'Accept that files learn from --calibration_shards without any guarantee; the model card says so.',
)
_CHOOSE_BEST = flags.DEFINE_bool(
  'choose_best',
  False,
  'Write only the smallest file whose accuracy on held-out users is at most --max_accuracy_loss below that of Keras; '
  'if there are step files, also the smallest of them.',
)
_MAX_ACCURACY_LOSS = flags.DEFINE_float(
  'max_accuracy_loss', 0.005, 'With --choose_best: how much accuracy the file may lose.', lower_bound=0, upper_bound=1
)
_MAX_KB = flags.DEFINE_float(
  'max_kb', None, 'With --choose_best: how large the file may be, in kB (1,000 bytes).', lower_bound=0
)
flag_checks.must_be_finite('max_accuracy_loss', 'max_kb')
_ALLOW_FLEX = flags.DEFINE_bool(
  'allow_flex',
  False,
  "Write files that need TensorFlow's own kernels (Flex) too: LiteRT alone cannot run them. They are checked with "
  'TensorFlow.',
)
_TASK = flags.DEFINE_string(
  'task', None, 'Task of your own as package.module:attribute, if the run was trained with one: its code is run.'
)
_AUTHOR = flags.DEFINE_string('model_author', '', 'Who answers for the model: stands in each file and in the card.')
_LICENSE = flags.DEFINE_string('model_license', '', 'Licence of the model: stands in each file and in the card.')
_ACCEPT_FIGURES = flags.DEFINE_bool(
  'accept_unaccounted_figures',
  False,
  "Accept exact figures of clients' data in the model card, which no epsilon covers: the numbers of clients and "
  'examples, accuracy by held-out user, and which answers are taken for which. Without it the manifest of the data set '
  'has the numbers, and the report of the run the others.',
)
_SIGNING_KEY = flags.DEFINE_string(
  'signing_key',
  None,
  f'Ed25519 private key (PEM, not encrypted) to sign {model_folder.CHECKSUMS} with; writes {model_folder.SIGNATURE}.',
)
_LITERT_JS = flags.DEFINE_string(
  'litert_js',
  None,
  f'Folder of the npm package {litert_js.PACKAGE} ({litert_js.INSTALL}): writes {model_folder.PAGE}, on '
  'which a browser runs the model, and the files of the package that it needs.',
)
_MEMORY_MB = flags.DEFINE_integer(
  'conversion_memory_mb', 4096, 'Memory limit of the conversion of one file, in MB.', lower_bound=1024
)
_SECONDS = flags.DEFINE_float(
  'conversion_seconds', 300, 'Time limit of the conversion of one file, in seconds.', lower_bound=1
)


def main() -> None:
  """Exports, prints the figures, and ends with exit code 1 if a variant failed or none is good enough."""
  choice = _read_choice()
  sign = signing.read_private_key(_SIGNING_KEY.value).sign if _SIGNING_KEY.value is not None else None
  shards = source.open_shards(_RUN_DIR.value, _SHARDS_DIR.value)
  data = calibration.open_data(_PUBLIC_DATA.value, _CALIBRATION_SHARDS.value, _ACCEPT.value, shards)
  stated = facts_lib.Credits(*(printable.require(each.name, each.value) for each in (_AUTHOR, _LICENSE)))
  runtime = litert_js.read(_LITERT_JS.value) if _LITERT_JS.value is not None else {}
  settings = _ALLOW_FLEX.value, stated, _ACCEPT_FIGURES.value, runtime
  wanted = request.make(_VARIANTS.value, _TASK.value, shards.schema, data, choice, *settings)
  limits = guard.Limits(_MEMORY_MB.value << 20, _SECONDS.value)
  with model_folder.stage(_OUTPUT_DIR.value) as staging:
    model = released_model.load(_RUN_DIR.value)
    released_model.check_task(model, _TASK.value, _RUN_DIR.value)
    is_current = model_folder.is_current(_OUTPUT_DIR.value, wanted.hash(_RUN_DIR.value, shards), sign)
    if is_current and not _lacks_figures(model.digest):
      print(f'Nothing to do: {_OUTPUT_DIR.value} has the export of this run.')
      _update_report()
      return
    _check_output(model.task.name)
    names = [*exporter.file_names(model.task.name, wanted.variants), *page.file_names(runtime)]
    model_folder.refuse_foreign(_OUTPUT_DIR.value, names)
    print('Converting, and checking on held-out users ...', flush=True)
    try:
      record, figures = exporter.export(_RUN_DIR.value, shards, staging, limits, wanted)
    except guard.Failed as error:
      sys.exit(f'error: the Keras model could not be run: {error}')
    if record['variants']:
      _write_figures(figures)
      model_folder.publish(staging, _OUTPUT_DIR.value, sign)
  if record['variants']:
    _update_report()
    local_layers = run_directory.read_json(_RUN_DIR.value, run_directory.LEDGER).get('local_layers', '')
    summary = summarize(record, _OUTPUT_DIR.value, local_layers)
    print('\n'.join(filter(None, [summary, wanted.skipped(), page.describe(_OUTPUT_DIR.value, runtime)])))
  errors = [f'{name} failed: {reason}' for name, reason in record['failed'].items()]
  if choice and not record['variants'] and record['dropped']:
    why = '; '.join(f'{name}: {reason}' for name, reason in record['dropped'].items())
    errors.append(f'Expected a variant with {choice.describe()}, found none ({why}): nothing was written.')
  for line in errors:
    print(f'error: {line}', file=sys.stderr)
  if errors:
    sys.exit(1)


def summarize(record: Mapping[str, Any], output_dir: str, local_layers: str = '') -> str:
  """Returns the figures of an export as a plain table.

  Args:
    record: What parity.json holds.
    output_dir: Where the export is.
    local_layers: What the ledger says of them; empty if the model has none.
  """
  positions = '' if record['positions'] == record['examples'] else f' ({record["positions"]:,} positions)'
  lines = [
    f'Exported {record["task"]} to {output_dir} in {record["seconds"]:.0f} s.',
    f'Checked on {record["examples"]:,} examples{positions} of held-out users, '
    f'where Keras has an accuracy of {record["keras_accuracy"]:.2%}, always giving the most frequent answer one of '
    f'{record["majority_accuracy"]:.2%}.',
    f'{"file":<40}{"size":>10}{"compressed":>13}{"agreement":>11}{"difference":>12}{"accuracy":>10}',
  ]
  for variant in record['variants'].values():
    size, compressed = (variant[key] / 1000 for key in ('bytes', 'compressed_bytes'))
    lines.append(
      f'{variant["path"]:<40}{size:>7,.0f} kB{compressed:>10,.0f} kB{variant["argmax_agreement"]:>11.2%}'
      f'{variant["max_logit_difference"]:>12.2g}{variant["accuracy"]:>10.2%}'
    )
  lines += timing.summarize(record['variants'].values())
  lines += [f'{variant["path"]}: {variant["summary"]}' for variant in record['variants'].values()]
  lines += [f'Skipped {name}: {printable.close(reason)}' for name, reason in record.get('skipped', {}).items()]
  lines += [f'Dropped {name}: {printable.close(reason)}' for name, reason in record.get('dropped', {}).items()]
  if 'calibration' in record:
    lines.append(record['calibration']['statement'])
  if 'published_figures' in record:
    lines.append(record['published_figures'])
  if local_layers:
    lines.append(f'These accuracies are before reconstruction. Local layers: {local_layers}.')
  return '\n'.join(lines)


def _read_choice() -> choice_lib.Choice | None:
  if _CHOOSE_BEST.value:
    return choice_lib.Choice(_MAX_ACCURACY_LOSS.value, _MAX_KB.value)
  for flag in (_MAX_ACCURACY_LOSS, _MAX_KB):
    if flag.present:
      raise ValueError(f'Expected --choose_best with --{flag.name}, found none: add it, or remove --{flag.name}.')
  return None


def _check_output(task: str) -> None:
  found = run_directory.read_parity(_OUTPUT_DIR.value).get('task', task)
  if found != task:
    raise ValueError(
      f'Expected an empty folder or an earlier export of {task} at {_OUTPUT_DIR.value}, found one of {found}: choose '
      'another --output_dir.'
    )


def _lacks_figures(model: str) -> bool:
  """Returns whether there are no figures of held-out users in a run directory that can be written."""
  is_writable = os.access(os.path.join(_RUN_DIR.value, run_directory.OPERATOR), os.W_OK)
  return is_writable and held_out_figures.read(_RUN_DIR.value, model) is None


def _write_figures(figures: held_out_figures.Figures) -> None:
  try:
    held_out_figures.write(_RUN_DIR.value, figures)
  except OSError as error:  # The run directory may be read-only.
    print(f'warning: the report in {_RUN_DIR.value} lacks figures of held-out users: {error}', file=sys.stderr)


def _update_report() -> None:
  try:
    report.write_report(_RUN_DIR.value, _OUTPUT_DIR.value)
  except OSError as error:  # The run directory may be read-only; the model folder is complete.
    print(f'warning: the report in {_RUN_DIR.value} was not updated: {error}', file=sys.stderr)


if __name__ == '__main__':
  cli.run(main)
