"""What a TFLite file says of its inputs and outputs, without a runtime."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ai_edge_litert import schema_py_generated as schema

from export import parity
from export import quantization
from export.metadata import packing

_DTYPES = {number: name.lower() for name, number in vars(schema.TensorType).items() if not name.startswith('_')}


class Graph(NamedTuple):
  """The inputs and outputs of a file.

  Attributes:
    inputs: Of the first subgraph, which metadata describe, in its order.
    outputs: Likewise.
    signatures: The inputs and outputs of each signature, by its name.
    quantized: How the integers of the input or output read, by its kind, if they stand for numbers.
  """

  inputs: list[parity.End]
  outputs: list[parity.End]
  signatures: Mapping[str, list[parity.End]]
  quantized: Mapping[str, quantization.Quantization]


def read(content: bytes) -> Graph:
  """Returns the inputs and outputs of a file, under the names of a signature where there is one.

  Raises:
    ValueError: If it is no TFLite file.
  """
  model = packing.read_model(content)
  definitions = [model.SignatureDefs(index) for index in range(model.SignatureDefsLength())]
  signatures = {each.SignatureKey().decode(): list(_read_signature(model, each)) for each in definitions}
  names = {
    (kind, index): name
    for definition in definitions
    if not definition.SubgraphIndex()
    for kind, name, index in _list_names(definition)
  }
  main = model.Subgraphs(0)

  def describe(kind: str, index: int) -> parity.End:
    tensor = main.Tensors(index)
    return _describe(kind, names.get((kind, index), tensor.Name().decode()), tensor)

  return Graph(
    [describe('input', main.Inputs(index)) for index in range(main.InputsLength())],
    [describe('output', main.Outputs(index)) for index in range(main.OutputsLength())],
    signatures,
    _read_quantized(main),
  )


def _read_quantized(graph: Any) -> dict[str, quantization.Quantization]:
  """Returns how integers read, of a graph with one input or one output."""
  only = {'input': (graph.InputsLength(), graph.Inputs), 'output': (graph.OutputsLength(), graph.Outputs)}
  tensors = {kind: graph.Tensors(get(0)) for kind, (count, get) in only.items() if count == 1}
  return {kind: found for kind, tensor in tensors.items() if (found := _find_quantization(tensor))}


def _find_quantization(tensor: Any) -> quantization.Quantization | None:
  found = tensor.Quantization()
  steps = (found.Scale(0), found.ZeroPoint(0)) if found and found.ScaleLength() == 1 else (0.0, 0)
  return quantization.of({'dtype': _DTYPES[tensor.Type()], 'quantization': steps})


def _read_signature(model: Any, definition: Any) -> Iterator[parity.End]:
  subgraph = model.Subgraphs(definition.SubgraphIndex())
  for kind, name, index in _list_names(definition):
    yield _describe(kind, name, subgraph.Tensors(index))


def _list_names(definition: Any) -> Iterator[tuple[str, str, int]]:
  """Yields the kind, the name and the index of the tensor of each input and output."""
  for kind, get, length in (
    ('input', definition.Inputs, definition.InputsLength()),
    ('output', definition.Outputs, definition.OutputsLength()),
  ):
    for position in range(length):
      yield kind, get(position).Name().decode(), get(position).TensorIndex()


def _describe(kind: str, name: str, tensor: Any) -> parity.End:
  shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
  return kind, name, _DTYPES[tensor.Type()], tuple(map(int, shape))
