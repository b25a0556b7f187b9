"""What a device does to its data to get the model's input: what was done to those of the data set."""

from collections.abc import Mapping, Sequence
from typing import Any

from contracts import formats
from contracts import personalization
from contracts import schema as schema_lib
from export import parity
from export.forms import step as step_lib

FILE_NAME = 'preprocessing.json'
CLASSES = 'classes.json'

_NUMBERS_ARE = (
  'a column that is named alone, or with what replaces a missing number and the length of its list; true is 1, false 0'
)
# In this order; pipelines/rows/normal_form.py says it in full.
_NORMAL_FORM = [
  'without characters that have no glyph, such as zero-width spaces',
  'Unicode form NFKC',
  'without white space and control characters at both ends',
  'a whole number as its digits: 17.0 and 1.7E1 as 17',
  'a UUID in lower case',
]
_SEQUENCE = dict(zip(('padding', 'unknown'), schema_lib.SPECIAL_CLASSES, strict=True))
_TEXT = {'unicode_normalization': 'NFC', **_SEQUENCE}
# The rules that no declaration can change, by kind of example; the tests hold them to what `pipelines` does.
_RULES: dict[str, dict[str, Any]] = {
  'characters': {**_TEXT, 'character': 'a Unicode code point'},
  'words': {
    **_TEXT,
    'tokenization': {
      'lower_case': 'each character by itself, by the simple case mapping of Unicode',
      # As ICU, Java, Swift and RE2 read it.
      'token_of_its_own': r"[^\s\p{L}\p{M}\p{N}'’]",
      'split_at': 'white space',
    },
  },
  'table': {
    # Those of a category are 1 at the index of its value and 0 elsewhere.
    'features': (
      'the numbers in their order, then the indices of each category: one for each value, one for any other '
      'value if other is true, one for none if missing is true'
    ),
    'numbers_are': _NUMBERS_ARE,
  },
  'windows': {'numbers_are': _NUMBERS_ARE},
  'items': {
    **_SEQUENCE,
    'item': 'a text or a whole number, one a row',
    'normal_form': _NORMAL_FORM,
  },
}
_CATEGORIES = {
  'values_are': (
    'text: a whole number as its digits, a boolean as true or false; one that is not listed is compared again in '
    'normal_form, with True as true and FALSE as false'
  ),
  'normal_form': _NORMAL_FORM,
}
# How a step file is driven.
_STEPS = {
  'feed': 'the elements of a sequence in their order, one a call, without padding',
  'state': 'what a call returns is fed to the next call; the start, in each of its values, to the first call',
  'after_the_longest': 'begin again from the start with the end of the sequence, which may be shorter',
}
# How a training file is driven; `weight` and labels of `ignored_label` are what batches are filled up with.
_TRAINING = {
  'batch': 'x and y are a batch, and weight is 1 for each example; where there are too few, one of them is repeated '
  'with a weight of 0 (not zeros: some layers make NaN of them)',
  'step': 'a call of train is one step of SGD with the learning rate lr; the weights are in the runtime from then on',
  'loss': 'the mean cross entropy of the batch before the step, over the labels that count',
  'save': 'keep what get_weights returns, and give it to set_weights when the file is loaded again; reset takes all '
  'training back',
}
# What follows each text, unless the declaration says end_token = false.
_AFTER_EACH_TEXT = {'characters': '\n', 'words': '<end>'}
_QUANTIZED = {
  'number': '(integer - zero_point) * scale',
  'integer': 'number / scale + zero_point, rounded, and cut to the range of dtype',
}
_SCALED = ('table', 'windows')
# The key of the declaration whose content is in classes.json, by kind of example.
_IN_CLASSES = {
  'characters': 'alphabet',
  'words': 'vocabulary',
  'items': 'vocabulary',
  'table': 'classes',
  'windows': 'classes',
  'image': 'classes',
}


def describe(
  manifest: Mapping[str, Any],
  signatures: Mapping[str, Sequence[parity.End]],
  quantized: Mapping[str, Mapping[str, Any]] | None = None,
  tuning: personalization.FineTuning | None = None,
) -> dict[str, Any]:
  """Returns what preprocessing.json holds: the declared examples with what was learned for them, and fixed rules.

  Of a data set that was made without a declaration, it says no more than the inputs and the classes.

  Args:
    manifest: Of the data set.
    signatures: Of the model's files, by form.
    quantized: By file, what its input and output of integers are; see `quantization.describe`.
    tuning: How a device trains the model, if there is a training file.
  """
  schema = schema_lib.Schema.from_json(manifest['schema'])
  examples = dict(manifest.get('declaration', {}).get('examples', {}))
  kind = examples.get('kind', '')
  examples.pop(_IN_CLASSES.get(kind, ''), None)
  if kind in _AFTER_EACH_TEXT:
    examples['after_each_text'] = _AFTER_EACH_TEXT[kind] if examples.pop('end_token') else ''
  if kind in _SCALED:
    examples['scaling'] = _applied(examples['scaling'], manifest['learned'], _width(examples['numbers']))
  if examples.get('categories') and kind == 'table':
    examples |= _CATEGORIES
  return {
    formats.KEY: formats.PREPROCESSING,
    'task': schema.task,
    **_describe_inputs(signatures, schema),
    'classes': CLASSES,
    # The answer is the largest output from this class on.
    'first_answer': schema.first_answer,
    'examples': {**examples, **_RULES.get(kind, {})},
    **({'quantized': {**_QUANTIZED, 'files': quantized}} if quantized else {}),
    **({'training': _describe_training(signatures['train'], tuning)} if tuning and 'train' in signatures else {}),
  }


def _describe_inputs(signatures: Mapping[str, Sequence[parity.End]], schema: schema_lib.Schema) -> dict[str, Any]:
  inputs: dict[str, Any] = {}
  if 'whole' in signatures:
    for kind in ('input', 'output'):
      inputs[kind] = next(_describe_end(end) for end in signatures['whole'] if end[0] == kind)
  if 'step' in signatures:
    ends = step_lib.find_ends(signatures['step'])
    inputs['step'] = {
      'input': _describe_end(ends.input),
      'output': _describe_end(ends.output),
      'states': [
        {'input': before[1], 'output': after[1], 'dtype': before[2], 'shape': before[3], 'start': 0.0}
        for before, after in ends.states
      ],
      **_STEPS,
      'longest': schema.feature.shape[0],
    }
  return inputs


def _describe_training(ends: Sequence[parity.End], tuning: personalization.FineTuning) -> dict[str, Any]:
  """Returns how to train with a file whose ends are named after signature and end: `train.x`."""
  signatures: dict[str, dict[str, list[Any]]] = {}
  for kind, name, dtype, shape in ends:
    signature, end = name.split('.')
    described = signatures.setdefault(signature, {'inputs': [], 'outputs': []})
    described[f'{kind}s'].append({'name': end, 'dtype': dtype, 'shape': shape})
  return {
    **personalization.to_json(tuning),
    'ignored_label': schema_lib.IGNORED_LABEL,
    'signatures': signatures,
    **_TRAINING,
  }


def _describe_end(end: parity.End) -> dict[str, Any]:
  return dict(zip(('name', 'dtype', 'shape'), end[1:], strict=True))


def _width(numbers: Sequence[Any]) -> int:
  """Returns how many numbers the declared columns have."""
  return sum((column['length'] or 1) if isinstance(column, Mapping) else 1 for column in numbers)


def _applied(scaling: Mapping[str, Any], learned: Sequence[Mapping[str, Any]], numbers: int) -> dict[str, Any]:
  """Returns the mean that is taken from each number and the standard deviation that it is then divided by."""
  source = scaling['source']
  if source == 'none':  # Written out, so that a device needs no case of its own for it.
    return {'source': source, 'mean': [0.0] * numbers, 'stddev': [1.0] * numbers}
  figures = next(entry for entry in learned if 'stddev' in entry)
  return {'source': source, 'mean': figures['mean'], 'stddev': figures['stddev']}
