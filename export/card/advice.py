"""What the model card says on choosing a file, on limits of the model, and on making it again. In sentences."""

from collections.abc import Mapping, Sequence
import shlex
from typing import Any

from contracts import schema as schema_lib
from export import choice
from export import flex
from export.forms import registry as forms

# As --max_accuracy_loss has it where nobody says another.
_LOSS = 0.005
_ALLOWED = f'{100 * _LOSS:g} percentage points'


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
    others = len(variants) < len(parity['variants'])
    better = ' An app that only asks for answers is better off with another file.' if others else ''
    return f'To train on the device: {paths}.{better}'
  call = forms.FORMS[form].call if form in forms.FORMS else form
  # An app has to be written for integers at the input or output, and for the kernels of TensorFlow.
  plain = {name: each for name, each in variants.items() if 'quantized' not in each}
  alone = {name: each for name, each in plain.items() if not flex.is_needed(each['summary'])}
  integers = {name: each for name, each in variants.items() if 'quantized' in each}
  for some, remark in (
    (alone, ''),
    (plain, '; LiteRT alone cannot run it'),
    (integers, '; it gives or takes integers'),
  ):
    best, _ = choice.Choice(_LOSS).choose(some, parity['keras_accuracy'])
    if best:
      path = variants[best]['path']
      return f'For {call}: `{path}`, the smallest whose accuracy is at most {_ALLOWED} below that of Keras{remark}.'
  return f'For {call}: every file here loses more than {_ALLOWED} of accuracy; take the one whose loss you can accept.'


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
    'Whether it does better for some groups of people than for others was not measured.',
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


def list_commands(export_flags: Sequence[str]) -> list[str]:
  """Returns the commands that make the model and its files again, for a shell.

  Args:
    export_flags: Those of the export, without its folders.
  """
  return [
    'python -m tff_tasks.train --flagfile=FLAGS --shards_dir=SHARDS --output_dir=RUN',
    shlex.join(['python', '-m', 'export.to_tflite', '--run_dir=RUN', '--output_dir=MODEL', *export_flags]),
    'python -m export.verify --model_dir=MODEL --run_dir=RUN',
  ]
