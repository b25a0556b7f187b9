"""Compares a file, on the device's runtime, with the Keras model.

Both run on the same examples of held-out users, who took no part in training. Keras runs in the form of training (any
batch size, recurrent layers as loops), so an error of the device's form is found too.
"""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from contracts import client_shards
from contracts import released_model
from contracts import schema as schema_lib
from export import flex
from export import quantization

SPLIT = 'test'
_MAX_EXAMPLES = 2_000
_MAX_LOGITS = 1 << 25  # Values in memory at once: a large vocabulary is checked on fewer examples.
_BATCH_SIZE = 250
_REPEATED = 8


class Examples(NamedTuple):
  """Features `[n, ...]` and labels `[n, ...]` of the schema; labels below 0 do not count."""

  features: np.ndarray
  labels: np.ndarray


# An input or output of a file: (kind, name, dtype, shape).
End = tuple[str, str, str, tuple[int, ...]]


class Answers(NamedTuple):
  """The output of a file.

  Attributes:
    logits: `[n, ..., num_classes]`, as numbers also where the file gives integers for them.
    signature: Its inputs and outputs.
    stored: How many weights and other constants it stores, by dtype: int8 or float16 where they are made smaller, else
      float32.
    quantized: The scale and the zero point of an input or output of integers that stand for numbers, by its kind.
  """

  logits: np.ndarray
  signature: list[End]
  stored: dict[str, int]
  quantized: Mapping[str, quantization.Quantization] = {}


@dataclasses.dataclass(frozen=True)
class Bounds:
  """How far a file may be from the Keras model before it counts as broken.

  Attributes:
    min_agreement: Least share of positions at which both name the same class.
    max_relative_difference: Largest difference between two logits as a share of the largest logit, or `None` for any.
  """

  min_agreement: float
  max_relative_difference: float | None


@dataclasses.dataclass(frozen=True)
class Figures:
  """The comparison over all positions whose label counts, and what always giving their most frequent one reaches."""

  argmax_agreement: float
  max_logit_difference: float
  accuracy: float
  reference_accuracy: float
  majority_accuracy: float
  largest_logit: float
  examples: int
  positions: int


def held_out_examples(shards: client_shards.ClientShards) -> Examples:
  """Reads examples of all held-out users; see `read_evenly`.

  Raises:
    ValueError: If there is no held-out user, or a shard is damaged.
  """
  if not shards.num_examples(SPLIT):
    raise ValueError(
      f'Expected examples of held-out users in {shards.path}, found none: preprocess with a larger '
      'test_users_share, and train on these shards.'
    )
  return read_evenly(shards, SPLIT, _limit_held_out(shards.schema))


def find_owners(shards: client_shards.ClientShards) -> np.ndarray:
  """Returns whose each of the held-out examples is, `[n]`, by the index of the client in its split."""
  return _pick_evenly(shards, SPLIT, _limit_held_out(shards.schema))[0]


def _limit_held_out(schema: schema_lib.Schema) -> int:
  return max(1, min(_MAX_EXAMPLES, _MAX_LOGITS // (schema.label.size * schema.num_classes)))


def read_evenly(shards: client_shards.ClientShards, split: str, limit: int) -> Examples:
  """Reads examples at even steps through those of all clients of a split, sorted by client; all if they are few.

  Even steps preserve every client's weight, so a mean over them estimates the one over all examples.

  Args:
    shards: The data set.
    split: One with examples.
    limit: How many examples to read at most.

  Raises:
    ValueError: If a shard is damaged.
  """
  clients, rows = _pick_evenly(shards, split, limit)
  chosen = []
  for client in np.unique(clients):
    features, labels = shards.read(split, int(client))
    own = rows[clients == client]
    chosen.append((features[own], labels[own]))
  return Examples(*(np.concatenate(parts) for parts in zip(*chosen, strict=True)))


def _pick_evenly(shards: client_shards.ClientShards, split: str, limit: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns of each example to read its client, and which of the client's examples it is."""
  sizes = np.asarray(shards.clients(split).examples)
  total = int(sizes.sum())
  picked = np.unique(np.linspace(0, total - 1, min(limit, total)).round().astype(np.int64))
  starts = np.cumsum(sizes) - sizes
  clients = np.searchsorted(starts, picked, side='right') - 1
  return clients, picked - starts[clients]


def keras_answers(run_dir: str, schema: schema_lib.Schema, features: np.ndarray, task: str | None = None) -> np.ndarray:
  """Runs the released model of a run on features of that schema; meant for a guarded child process.

  Args:
    run_dir: The run directory.
    schema: What the model has to be trained on.
    features: `[n, ...]`.
    task: The value of `--task`, if it is given.

  Returns:
    The logits, `[n, ..., num_classes]`.

  Raises:
    ValueError: If the model is missing, damaged, of another schema, or has weights that are not finite.
  """
  from models import registry  # Here, with TensorFlow behind it, so that only the child loads that.

  model = released_model.load(run_dir)
  check_schema(model.schema, schema, 'shards', 'pass the --shards_dir of the training run')
  _check_weights(model)
  keras = registry.rebuild(model, name=released_model.check_task(model, task, run_dir))
  return keras.predict(features.astype(keras.input.dtype.as_numpy_dtype), batch_size=_BATCH_SIZE, verbose=0)


def tflite_answers(path: str, features: np.ndarray) -> Answers:
  """Runs a file through its signature, one example a call as on a device; meant for a guarded child process.

  Raises:
    ValueError: If it has several inputs or outputs, gives neither floats nor integers that stand for them, or answers
      the same example differently when it is asked again.
  """
  interpreter = flex.open_interpreter(path)
  run = interpreter.get_signature_runner()
  input_name, given = _only('input', run.get_input_details())
  output_name, returned = _only('output', run.get_output_details())
  ends = (('input', input_name, given), ('output', output_name, returned))
  quantized = {kind: found for kind, _, end in ends if (found := quantization.of(end))}
  if returned['dtype'] != np.float32 and 'output' not in quantized:
    raise ValueError(f'Expected a file that gives float32, found {np.dtype(returned["dtype"])}')
  inputs = quantization.encode(features, given)

  def answer(row: int) -> np.ndarray:
    answers = run(**{input_name: inputs[row : row + 1]})[output_name]
    return quantized['output'].dequantize(answers) if 'output' in quantized else answers

  logits = [answer(row) for row in range(len(inputs))]
  for row in range(min(_REPEATED, len(inputs))):
    if not np.array_equal(answer(row), logits[row], equal_nan=True):
      raise ValueError(
        'Expected the same answer to the same example in every call, found another one: the file keeps a state '
        'between calls, as a fused LSTM does; build the model with unroll=True'
      )
  signature = [*describe_ends('input', {input_name: given}), *describe_ends('output', {output_name: returned})]
  return Answers(np.concatenate(logits), signature, count_stored(path), quantized)


def describe_ends(kind: str, ends: Mapping[str, Any]) -> list[End]:
  """Returns the inputs or outputs of a file, of what LiteRT says of them by name."""
  return [(kind, name, np.dtype(end['dtype']).name, tuple(end['shape'].tolist())) for name, end in ends.items()]


def _only(kind: str, ends: Mapping[str, Any]) -> tuple[str, Any]:
  if len(ends) != 1:
    raise ValueError(f'Expected a file with one {kind}, found {", ".join(ends) or "none"}')
  return next(iter(ends.items()))


def count_stored(path: str) -> dict[str, int]:
  """Returns how many weights and other constants a file stores, by dtype; several tensors may share their values."""
  from ai_edge_litert import schema_py_generated as flatbuffer

  with open(path, 'rb') as file:
    model = flatbuffer.Model.GetRootAs(file.read())
  graphs = [model.Subgraphs(index) for index in range(model.SubgraphsLength())]
  tensors = [graph.Tensors(index) for graph in graphs for index in range(graph.TensorsLength())]
  types = flatbuffer.TensorType
  kinds = {types.FLOAT32: np.float32, types.FLOAT16: np.float16, types.INT8: np.int8}
  dtypes: dict[int, np.dtype[Any]] = {number: np.dtype(kind) for number, kind in kinds.items()}
  counts = {dtype.name: 0 for dtype in dtypes.values()}
  # Whole numbers of other types are shapes and indices. What is computed has an empty buffer.
  for buffer, dtype in {tensor.Buffer(): dtypes.get(tensor.Type()) for tensor in tensors}.items():
    if dtype is not None:
      counts[dtype.name] += model.Buffers(buffer).DataLength() // dtype.itemsize
  return counts


def compare(labels: np.ndarray, logits: np.ndarray, reference: np.ndarray, first_answer: int = 0) -> Figures:
  """Compares the file's logits with the Keras model's, at the positions whose label counts.

  Args:
    labels: Integers `[n, ...]`; those below 0 do not count.
    logits: The file's, `[n, ..., num_classes]`.
    reference: The Keras model's.
    first_answer: `Schema.first_answer`: an answer is the largest logit from this class on.

  Raises:
    ValueError: If no label counts.
  """
  counts = labels >= 0
  if not counts.any():
    raise ValueError('Expected labels that count among the held-out examples, found none.')
  truth, logits, reference = labels[counts], logits[counts], reference[counts]
  answers, expected = (first_answer + scores[:, first_answer:].argmax(-1) for scores in (logits, reference))
  return Figures(
    argmax_agreement=float((answers == expected).mean()),
    max_logit_difference=float(np.abs(logits - reference).max()),
    accuracy=float((answers == truth).mean()),
    reference_accuracy=float((expected == truth).mean()),
    majority_accuracy=float(np.unique(truth, return_counts=True)[1].max() / len(truth)),
    largest_logit=float(np.abs(reference).max()),
    examples=len(labels),
    positions=len(truth),
  )


def disagreement(figures: Figures, bounds: Bounds, reference: str = 'Keras') -> str | None:
  """Returns how the file exceeds its bounds, or `None`; `reference` is what it was compared with, for the message."""
  if figures.argmax_agreement < bounds.min_agreement:
    return (
      f'Expected the same answer as {reference} at {bounds.min_agreement:.1%} of positions, '
      f'found {figures.argmax_agreement:.2%}'
    )
  share = bounds.max_relative_difference
  allowed = math.inf if share is None else share * figures.largest_logit
  # Written so that NaN, which compares false with everything, breaks the bound.
  if not (math.isfinite(figures.max_logit_difference) and figures.max_logit_difference <= allowed):
    return (
      f'Expected logits within {allowed:.2g} of those of {reference}, found {figures.max_logit_difference:.2g} away'
    )
  return None


def check_schema(trained: schema_lib.Schema, given: schema_lib.Schema, what: str, remedy: str) -> None:
  """Refuses examples of another schema than the model's.

  Args:
    trained: What the model was trained on.
    given: That of the examples.
    what: What has the examples, for the message.
    remedy: What to do, for the message.

  Raises:
    ValueError: If they differ.
  """
  names = [field.name for field in dataclasses.fields(trained)]
  differing = [name for name in names if getattr(trained, name) != getattr(given, name)]
  if differing:
    raise ValueError(
      f'Expected {what} of the schema that the model was trained on, found another {" and ".join(differing)}: {remedy}.'
    )


def _check_weights(model: released_model.ReleasedModel) -> None:
  broken = sum(int(np.size(weight) - np.isfinite(weight).sum()) for weight in model.weights)
  if broken:
    raise ValueError(
      f'Expected finite weights in the released model, found {broken} that are NaN or infinite: the training '
      'diverged, train again with a smaller learning rate.'
    )
