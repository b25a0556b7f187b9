"""What the model card says on choosing a file, on limits of the model, and on making it again. In sentences."""

from collections.abc import Mapping
from typing import Any

from contracts import schema as schema_lib
from export import choice
from export.forms import registry as forms
from export.variants import registry

# As --max_accuracy_loss has it where nobody says another.
_LOSS = 0.005


def choose(parity: Mapping[str, Any]) -> list[str]:
  """Returns which file to take, a sentence for each form.

  Args:
    parity: What parity.json says.
  """
  return [
    _choose({name: each for name, each in parity['variants'].items() if each['form'] == form}, form, parity)
    for form in dict.fromkeys(each['form'] for each in parity['variants'].values())
  ]


def _choose(variants: Mapping[str, Mapping[str, Any]], form: str, parity: Mapping[str, Any]) -> str:
  if form == 'train':
    paths = ' or '.join(f'`{each["path"]}`' for each in variants.values())
    return f'To train on the device: {paths}. An app that only asks for answers is better off with another file.'
  call = forms.FORMS[form].call if form in forms.FORMS else form
  # An app has to be written for integers at the input or output.
  floats = {name: each for name, each in variants.items() if 'quantized' not in each}
  best, _ = choice.Choice(_LOSS).choose(floats, parity['keras_accuracy'])
  if best is None:
    return f'For {call}: no file here loses at most {_LOSS:.1%} of accuracy; take the one whose loss you can accept.'
  return (
    f'For {call}: `{variants[best]["path"]}`, the smallest whose accuracy is at most {_LOSS:.1%} below that of Keras.'
  )


def list_limits(
  schema: schema_lib.Schema, data_set: str, ledger: Mapping[str, Any], parity: Mapping[str, Any]
) -> list[str]:
  """Returns what the model does not do, and what nobody measured.

  Args:
    schema: What it was trained on.
    data_set: The name of the data.
    ledger: Its privacy ledger; empty if the run left none.
    parity: What parity.json says.
  """
  limits = [
    f'It was trained and measured on users of {data_set}. How it does for other people, languages or devices was not '
    'measured.',
    'Whether it does better for some groups of people than for others was not measured: the data set names no groups.',
    f'It can give the {schema.num_classes - schema.first_answer:,} answers that classes.json lists, and no others. '
    'It always gives one: its scores are logits, and are not calibrated to be probabilities.',
  ]
  if schema.is_sequence:
    limits.append(f'It has seen no sequence of more than {schema.feature.shape[0]} elements.')
  if ledger.get('local_layers'):
    limits.append('As it is in the files it is not ready for use: a device reconstructs the local layers first.')
  if ledger.get('epsilon') is None:
    limits.append('It may give away what is in the data of single users: there is no privacy guarantee.')
  if any('latency_us' in each for each in parity['variants'].values()):
    limits.append('Times and memory were measured on the machine that exported, and on no phone.')
  return limits


def list_commands(parity: Mapping[str, Any], task: str | None = None) -> list[str]:
  """Returns the commands that make the model and its files again.

  Args:
    parity: What parity.json says.
    task: The value of `--task` in training, if it was given.
  """
  own_task = f' --task={task}' if task and ':' in task else ''
  built_in = [name for name in parity['variants'] if name in registry.VARIANTS]
  export = ['python -m export.to_tflite --run_dir=RUN --output_dir=MODEL']
  if built_in:
    export.append(f'--variants={",".join(built_in)}')
  data = parity.get('calibration', {}).get('kind')
  if data and any(name in registry.LEARNING for name in built_in):
    released = '--calibration_shards=EXAMPLES --accept_unaccounted_calibration'
    export.append('--public_data=EXAMPLES' if data == 'public' else released)
  return [
    'python -m tff_tasks.train --flagfile=FLAGS --shards_dir=SHARDS --output_dir=RUN',
    f'{" ".join(export)}{own_task}',
    'python -m export.verify --model_dir=MODEL --run_dir=RUN',
  ]
