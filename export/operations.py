"""Which operations a model or a file has, and which layers of the model they are of."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
  import tensorflow as tf

# They stand where floats become integers and back, so they have both.
_BETWEEN = ('QUANTIZE', 'DEQUANTIZE')


class Operation(NamedTuple):
  """An operation of a file.

  Attributes:
    name: What LiteRT calls it, such as `RSQRT`.
    outputs: The names of its outputs, which begin with those of the model and the layer; empty in a published file.
    has_floats: Whether an input or output is of floats.
  """

  name: str
  outputs: Sequence[str]
  has_floats: bool


def read(content: bytes) -> list[Operation]:
  """Returns the operations of a file.

  Args:
    content: The file.
  """
  from ai_edge_litert import schema_py_generated as flatbuffer  # Here, so that only children load the runtime.

  names = {code: name for name, code in vars(flatbuffer.BuiltinOperator).items() if not name.startswith('_')}
  model = flatbuffer.Model.GetRootAs(content)
  codes = [names.get(model.OperatorCodes(each).BuiltinCode(), 'CUSTOM') for each in range(model.OperatorCodesLength())]
  found = []
  for graph in (model.Subgraphs(each) for each in range(model.SubgraphsLength())):
    for operator in (graph.Operators(each) for each in range(graph.OperatorsLength())):
      outputs = [graph.Tensors(each) for each in operator.OutputsAsNumpy()]
      ends = [*outputs, *(graph.Tensors(each) for each in operator.InputsAsNumpy() if each >= 0)]
      has_floats = any(each.Type() == flatbuffer.TensorType.FLOAT32 for each in ends)
      found.append(
        Operation(codes[operator.OpcodeIndex()], [(each.Name() or b'').decode() for each in outputs], has_floats)
      )
  return found


def find_floats(operations: Iterable[Operation]) -> list[Operation]:
  """Returns those that compute with floats."""
  return [each for each in operations if each.has_floats and each.name not in _BETWEEN]


def is_of(operation: Operation, layers: Collection[str]) -> bool:
  """Returns whether an operation is of one of some layers."""
  return bool(find_layers(operation.outputs, layers))


def name_with_layers(operations: Iterable[Operation], model: 'tf.keras.Model') -> str:
  """Returns the names of operations, each with the layers that it is of, for messages.

  Args:
    operations: Of a file of the model.
    model: The Keras model.
  """
  outputs: dict[str, list[str]] = {}
  for each in operations:
    outputs.setdefault(each.name, []).extend(each.outputs)
  layers = {layer.name for layer in model.layers}
  return ', '.join(sorted(describe(name, find_layers(names, layers)) for name, names in outputs.items()))


def find_uses(model: 'tf.keras.Model') -> dict[str, list[str]]:
  """Returns the layers that have operations of each kind of TensorFlow, as `{'MatrixInverse': ['inverse']}`.

  Args:
    model: The Keras model; it is traced.
  """
  import tensorflow as tf

  @tf.function(autograph=False)
  def answer(inputs: Any) -> Any:
    return model(inputs, training=False)

  graph = answer.get_concrete_function([tf.TensorSpec(each.shape, each.dtype) for each in model.inputs]).graph
  names: dict[str, list[str]] = {}
  for name, kind in walk_graph(graph.as_graph_def()):
    names.setdefault(kind, []).append(name)
  layers = {layer.name for layer in model.layers}
  return {kind: find_layers(found, layers) for kind, found in names.items()}


def walk_graph(graph: Any) -> Iterator[tuple[str, str]]:
  """Yields the name and the kind of each operation, also of those in the body of a loop, with the name of the loop."""
  bodies = {each.signature.name: each.node_def for each in graph.library.function}

  def walk(nodes: Iterable[Any], scope: str) -> Iterator[tuple[str, str]]:
    for node in nodes:
      yield scope + node.name, node.op
      for value in node.attr.values():
        yield from walk(bodies.get(value.func.name, ()), f'{scope}{node.name}/')

  return walk(graph.node, '')


def find_layers(names: Iterable[str], layers: Collection[str]) -> list[str]:
  """Returns the layers whose names are a part of the names, in the order of the latter."""
  # The converter joins the names of what it fuses by semicolons.
  parts = (part for name in names for each in name.split(';') for part in each.split('/'))
  return list(dict.fromkeys(part for part in parts if part in layers))


def describe(name: str, layers: Sequence[str]) -> str:
  """Returns the name of an operation and the layers that it is of."""
  return f'{name} (layer {", ".join(layers)})' if layers else name


def describe_all(names: str, uses: Mapping[str, Sequence[str]]) -> str:
  """Returns a list of names, each with its layers.

  Args:
    names: Separated by a comma and a space.
    uses: What `find_uses` returned.
  """
  return ', '.join(describe(name, uses.get(name, [])) for name in names.split(', '))
