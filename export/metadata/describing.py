"""The metadata of a TFLite file: what it says of itself to the readers that there are, and to programs as JSON.

The standard entry has name, version, author and licence of the model, and of each input and output the name, how
numbers are scaled, and the labels, an associated file. The entry `POCKETFED` has, as JSON, what the standard has no
field for: task, round, hashes of model and data, the privacy statement, and of preprocessing.json what is about the
file.
"""

from collections.abc import Mapping
import json
import re
from typing import Any

from contracts import formats
from contracts import personalization
from contracts import released_model
from contracts import schema as schema_lib
from export import flex
from export import model_folder
from export import parity
from export import preprocessing
from export import privacy_statement
from export import quantization
from export import step_usage
from export import usage
from export.metadata import facts as facts_lib
from export.metadata import graph as graph_lib
from export.metadata import metadata_schema_py_generated as standard
from export.metadata import packing
from export.snippets import facts as snippet_facts
from export.variants import base

# The entry with JSON.
ENTRY = 'POCKETFED'
LABELS = 'labels.txt'
# Characters that break a line or steer a terminal are written so, and a backslash is written twice.
_LABELS_ARE = 'A class a line, in order. A backslash begins an escape as in JSON.'
_ESCAPED = re.compile('[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')
# The versions of the standard that readers have to know for what is written here.
_PARSER, _PARSER_OF_VOCABULARIES = '1.0.0', '1.0.1'
# What an input description calls the files of the model folder.
_INSIDE = {'`preprocessing.json`': f'`preprocessing` of the entry {ENTRY}', '`classes.json`': f'`{LABELS}`'}
_NO_LICENSE = 'none stated by whoever exported the file'
_STATE, _NEXT_STATE = re.compile('state_[0-9]+'), re.compile('next_state_[0-9]+')
# What a file that a device trains with calls a batch, and its answers.
_BATCH, _LOGITS = 'x', 'logits'
# What an input or output of integers that stand for numbers says in the end.
_INTEGERS = {
  'input': 'Then quantize: number / {scale} + {zero_point}, rounded, and cut to the range of {dtype}.',
  'output': 'An integer stands for (integer - {zero_point}) * {scale}.',
}
_OF_LEDGER = ('epsilon', 'delta', 'unit', 'adjacency', 'trust_model', 'not_covered')
_ON_DEVICE = ' Local layers were never sent by a client: a device reconstructs them before use, as on_device says.'
_FLEX = " LiteRT alone cannot run this file: it needs TensorFlow's own kernels (Flex)."
_LEARNED = {
  'public': ' This file learned {} from examples that the exporter declared public.',
  'released': " This file learned {} from clients' data, without noise: no epsilon covers that.",
}


def add(
  content: bytes,
  variant: base.Variant,
  model: released_model.ReleasedModel,
  ledger: Mapping[str, Any],
  facts: facts_lib.Facts,
  tuning: personalization.FineTuning | None = None,
) -> bytes:
  """Returns a file with its metadata in it.

  Args:
    content: The file, as the variant made it.
    variant: Its variant.
    model: The released model.
    ledger: The privacy ledger of the model.
    facts: What else it says.
    tuning: How a device trains with the file, if it is one for that.

  Raises:
    ValueError: If it is no TFLite file, or its inputs and outputs are not those of its form.
  """
  graph = graph_lib.read(content)
  ends = _list_ends(graph, has_several=tuning is not None)
  quantized = {model_folder.file_name(model.task.name, variant.name): quantization.describe(graph.quantized)}
  steps = {
    **preprocessing.describe(facts.manifest, {variant.form: ends}, quantized if graph.quantized else None, tuning),
    'classes': LABELS,
  }
  promise, learned = privacy_statement.describe(ledger), _describe_learned(variant, facts)
  needs = _FLEX if flex.find_in(content) else ''
  metadata = _describe_model(variant, model, facts, f'{promise.promise}: see the entry {ENTRY}.{learned}{needs}')
  metadata.subgraphMetadata = [_describe_graph(graph, variant, model.schema, steps)]
  entry = {
    formats.KEY: formats.METADATA,
    'task': model.task.name,
    'variant': variant.name,
    'form': variant.form,
    'round': model.round_number,
    'model': model.digest,
    'data': {'name': facts.data_set, 'sha256': facts.fingerprint},
    'privacy': {
      'statement': f'{promise}{learned}{_ON_DEVICE if "local_layers" in ledger else ""}',
      **{key: ledger.get(key) for key in _OF_LEDGER},
    },
    # What a device does before it uses a model with layers that never left the clients.
    **({'on_device': ledger[personalization.ON_DEVICE]} if personalization.ON_DEVICE in ledger else {}),
    'preprocessing': steps,
    # Otherwise `preprocessing` has them.
    **({'signatures': graph.signatures} if len(graph.signatures) > 1 and not tuning else {}),
  }
  text = json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(',', ':'))
  entries = {packing.STANDARD: packing.serialize(metadata), ENTRY: text.encode()}
  return packing.pack(content, entries, {LABELS: write_labels(model.schema.classes)})


def _list_ends(graph: graph_lib.Graph, has_several: bool) -> list[parity.End]:
  """Returns the inputs and outputs as `preprocessing.describe` wants them: of several signatures with their names."""
  if not has_several:
    return [*graph.inputs, *graph.outputs]
  return [
    (kind, f'{signature}.{name}', dtype, shape)
    for signature, ends in graph.signatures.items()
    for kind, name, dtype, shape in ends
  ]


def write_labels(classes: tuple[str, ...]) -> bytes:
  """Returns the file of labels; see `_LABELS_ARE`."""
  escaped = (_ESCAPED.sub(lambda found: json.dumps(found.group())[1:-1], label) for label in classes)
  return ''.join(f'{label}\n' for label in escaped).encode()


def _describe_learned(variant: base.Variant, facts: facts_lib.Facts) -> str:
  if variant.calibration == 'none':
    return ''
  return _LEARNED.get(facts.learned_from, '').format(variant.learned)


def _describe_model(
  variant: base.Variant, model: released_model.ReleasedModel, facts: facts_lib.Facts, promise: str
) -> standard.ModelMetadataT:
  metadata = standard.ModelMetadataT()
  metadata.name = f'{model.task.name} on {facts.data_set}'
  metadata.description = (
    f'{variant.name}: {variant.summary}. Trained by federated learning on the data set {facts.data_set}. {promise}'
  )
  metadata.version = f'round {model.round_number}, {model.digest[:12]}'
  metadata.author = facts.stated.author
  metadata.license = facts.stated.license or _NO_LICENSE
  metadata.minParserVersion = _PARSER_OF_VOCABULARIES if model.schema.is_sequence else _PARSER
  return metadata


def _describe_graph(
  graph: graph_lib.Graph, variant: base.Variant, schema: schema_lib.Schema, steps: Mapping[str, Any]
) -> standard.SubGraphMetadataT:
  metadata = standard.SubGraphMetadataT()
  metadata.name = variant.form
  main = _find_main(graph, schema)
  metadata.inputTensorMetadata = [_describe_input(end, end == main, schema, steps) for end in graph.inputs]
  metadata.outputTensorMetadata = [_describe_output(end, graph, schema) for end in graph.outputs]
  for kind, tensors in (('input', metadata.inputTensorMetadata), ('output', metadata.outputTensorMetadata)):
    if kind in graph.quantized:
      tensors[
        0
      ].description = f'{tensors[0].description} {_INTEGERS[kind].format(**graph.quantized[kind]._asdict())}'.strip()
  return metadata


def _find_main(graph: graph_lib.Graph, schema: schema_lib.Schema) -> parity.End | None:
  """Returns the input that takes an example, or an element of it; None if there is none, or nobody can say which."""
  inputs = [end for end in graph.inputs if not _STATE.fullmatch(end[1])]
  named = [end for end in inputs if end[1] in (schema.feature.name, _BATCH)]
  found = named or inputs
  return found[0] if len(found) == 1 else None


def _describe_input(
  end: parity.End, is_main: bool, schema: schema_lib.Schema, steps: Mapping[str, Any]
) -> standard.TensorMetadataT:
  if not is_main:
    is_state = _STATE.fullmatch(end[1])
    return _describe_tensor(end, f'Zeros in the first call, then next_{end[1]} of the call before.' if is_state else '')
  tensor = _describe_tensor(end, _explain(steps))
  examples = steps['examples']
  if schema.is_sequence:
    tensor.associatedFiles = [_refer_to_labels(standard.AssociatedFileType.VOCABULARY)]
  elif 'scaling' in examples:
    tensor.processUnits = [_normalize(examples['scaling'], end[3][-1])]
  elif examples.get('kind') == 'image':
    tensor.content = _describe_image(*schema.feature.shape[:2])
    tensor.processUnits = [_normalize({'source': 'none'}, 1)]
    tensor.stats = standard.StatsT()
    tensor.stats.max, tensor.stats.min = [255.0], [0.0]
  return tensor


def _describe_output(end: parity.End, graph: graph_lib.Graph, schema: schema_lib.Schema) -> standard.TensorMetadataT:
  """Returns what is said of an output; a state, or a weight of a file with several signatures, is no logits."""
  is_answer = end[1] == _LOGITS if len(graph.signatures) > 1 else not _NEXT_STATE.fullmatch(end[1])
  if not is_answer or end[3][-1:] != (schema.num_classes,):
    return _describe_tensor(end, '')
  tensor = _describe_tensor(end, f'Logits: one for each class; {LABELS} has what they mean, in order.')
  tensor.associatedFiles = [_refer_to_labels(standard.AssociatedFileType.TENSOR_AXIS_LABELS)]
  return tensor


def _describe_tensor(end: parity.End, description: str) -> standard.TensorMetadataT:
  tensor = standard.TensorMetadataT()
  tensor.name, tensor.description = end[1], description
  tensor.content = standard.ContentT()
  tensor.content.contentPropertiesType = standard.ContentProperties.FeatureProperties
  tensor.content.contentProperties = standard.FeaturePropertiesT()
  return tensor


def _explain(steps: Mapping[str, Any]) -> str:
  """Returns how to fill the input, in words; empty for a kind of example that is not built in."""
  if 'step' in steps:
    text = step_usage.explain(snippet_facts.Facts(steps, '', is_step=True))
  else:
    found = usage.describe(steps['examples'])
    text = f'{found.text} {found.notes}'.strip() if found else ''
  for outside, inside in _INSIDE.items():
    text = text.replace(outside, inside)
  return text


def _describe_image(height: int, width: int) -> standard.ContentT:
  content = standard.ContentT()
  content.contentPropertiesType = standard.ContentProperties.ImageProperties
  content.contentProperties = standard.ImagePropertiesT()
  content.contentProperties.colorSpace = standard.ColorSpaceType.GRAYSCALE
  content.contentProperties.defaultSize = standard.ImageSizeT()
  content.contentProperties.defaultSize.width, content.contentProperties.defaultSize.height = width, height
  return content


def _normalize(scaling: Mapping[str, Any], width: int) -> standard.ProcessUnitT:
  """Returns how an input of so many columns is scaled; the columns of a category, which are last, are not."""
  unit = standard.ProcessUnitT()
  unit.optionsType = standard.ProcessUnitOptions.NormalizationOptions
  unit.options = standard.NormalizationOptionsT()
  if scaling['source'] == 'none':
    unit.options.mean, unit.options.std = [0.0], [1.0]
  else:
    rest = width - len(scaling['mean'])
    unit.options.mean = [*scaling['mean'], *[0.0] * rest]
    unit.options.std = [*scaling['stddev'], *[1.0] * rest]
  return unit


def _refer_to_labels(kind: int) -> standard.AssociatedFileT:
  file = standard.AssociatedFileT()
  file.name, file.description, file.type = LABELS, _LABELS_ARE, kind
  return file
