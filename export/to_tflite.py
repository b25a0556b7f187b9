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
from contracts import client_shards
from contracts import released_model
from contracts import run_directory
from export import exporter
from export import guard
from export import model_folder
from export import source
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
  f'Which files to write, each with what it is checked by: {", ".join(registry.VARIANTS)}, or some of your own as '
  f'package.module:attribute (docs/extend.md). By default {",".join(registry.DEFAULT)}, and for next_character, '
  f'next_word, next_item and tasks of your own whose model is recurrent {",".join(registry.DEFAULT_OF_SEQUENCES)} as '
  'well.',
)
_TASK = flags.DEFINE_string(
  'task', None, 'Task of your own as package.module:attribute, if the run was trained with one: its code is run.'
)
_MEMORY_MB = flags.DEFINE_integer(
  'conversion_memory_mb', 4096, 'Memory limit of the conversion of one file, in MB.', lower_bound=1024
)
_SECONDS = flags.DEFINE_float(
  'conversion_seconds', 300, 'Time limit of the conversion of one file, in seconds.', lower_bound=1
)


def main() -> None:
  """Exports, prints the figures, and ends with exit code 1 if a variant failed."""
  given = None if _VARIANTS.value is None else registry.find_all(_VARIANTS.value)
  shards = _open_shards()
  variants = given or registry.find_all(registry.choose_default(shards.schema))
  limits = guard.Limits(_MEMORY_MB.value << 20, _SECONDS.value)
  with model_folder.stage(_OUTPUT_DIR.value) as staging:
    model = released_model.load(_RUN_DIR.value)
    released_model.check_task(model, _TASK.value, _RUN_DIR.value)
    hash_now = source.hash_of(_RUN_DIR.value, shards, variants, _TASK.value, given is None)
    if model_folder.is_current(_OUTPUT_DIR.value, hash_now):
      print(f'Nothing to do: {_OUTPUT_DIR.value} has the export of this run.')
      _update_report()
      return
    _check_output(model.task.name)
    model_folder.refuse_foreign(_OUTPUT_DIR.value, exporter.file_names(model.task.name, variants))
    print('Converting, and checking on held-out users ...', flush=True)
    try:
      record = exporter.export(_RUN_DIR.value, shards, staging, limits, variants, _TASK.value, given is None)
    except guard.Failed as error:
      sys.exit(f'error: the Keras model could not be run: {error}')
    if record['variants']:
      model_folder.publish(staging, _OUTPUT_DIR.value)
  if record['variants']:
    _update_report()
    local_layers = run_directory.read_json(_RUN_DIR.value, run_directory.LEDGER).get('local_layers', '')
    print(summarize(record, _OUTPUT_DIR.value, local_layers))
  for name, reason in record['failed'].items():
    print(f'error: {name} failed: {reason}', file=sys.stderr)
  if record['failed']:
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
    f'{"file":<40}{"size":>10}{"agreement":>11}{"difference":>12}{"accuracy":>10}',
  ]
  for variant in record['variants'].values():
    lines.append(
      f'{variant["path"]:<40}{variant["bytes"] / 1000:>7,.0f} kB{variant["argmax_agreement"]:>11.2%}'
      f'{variant["max_logit_difference"]:>12.2g}{variant["accuracy"]:>10.2%}'
    )
  lines += [f'{variant["path"]}: {variant["summary"]}' for variant in record['variants'].values()]
  if local_layers:
    lines.append(f'These accuracies are before reconstruction. Local layers: {local_layers}.')
  return '\n'.join(lines)


def _open_shards() -> client_shards.ClientShards:
  if not os.path.isdir(_RUN_DIR.value):
    raise ValueError(f'Expected a run directory at {_RUN_DIR.value}, found none: train the run first.')
  shards_dir = _SHARDS_DIR.value or run_directory.read_flag(_RUN_DIR.value, 'shards_dir')
  if not shards_dir:
    raise ValueError(f'Expected --shards_dir in {_RUN_DIR.value}/config.flags, found none: pass --shards_dir.')
  shards = client_shards.ClientShards(shards_dir)
  if shards.fingerprint != run_directory.read_data(_RUN_DIR.value):
    raise ValueError(
      f'Expected the data that {_RUN_DIR.value} was trained on, found other shards in {shards_dir}, whose '
      'held-out users may be training users of the model: pass the --shards_dir of the run.'
    )
  return shards


def _check_output(task: str) -> None:
  found = run_directory.read_parity(_OUTPUT_DIR.value).get('task', task)
  if found != task:
    raise ValueError(
      f'Expected an empty folder or an earlier export of {task} at {_OUTPUT_DIR.value}, found one of {found}: choose '
      'another --output_dir.'
    )


def _update_report() -> None:
  try:
    report.write_report(_RUN_DIR.value, _OUTPUT_DIR.value)
  except OSError as error:  # The run directory may be read-only; the model folder is complete.
    print(f'warning: the report in {_RUN_DIR.value} was not updated: {error}', file=sys.stderr)


if __name__ == '__main__':
  cli.run(main)
