"""A compiled TFF computation as a resident function of this process: its TensorFlow graph, imported once.

Values go in and come out as flat lists of tensors, in the order of the flattened TFF type. A sequence is not a dataset
here but the tensors of its only element: the graph's `DatasetToSingleElement` is cut out and fed directly, which spares
a `tf.data` object a client and leaves a graph that XLA can compile. Its element is to be a named tuple: `tf.data` sorts
the keys of a dictionary.
"""

from collections.abc import Callable, Iterator, Sequence
import itertools
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_federated as tff

_SINGLE_ELEMENT_OP = 'DatasetToSingleElement'
_COLOCATION = '_class'
_imports = itertools.count()


class Graph(NamedTuple):
  """A computation's graph, and the names of the tensors of its flattened parameter and result."""

  graph_def: tf.compat.v1.GraphDef
  parameters: list[str]
  results: list[str]


def import_computation(
  computation: tff.framework.ConcreteComputation, for_xla: bool = False, results: Sequence[int] | None = None
) -> Callable[[Sequence[Any]], list[tf.Tensor]]:
  """Returns a function of flat arguments that runs the computation's graph.

  Args:
    computation: A computation that is one TensorFlow graph, as the parts of a `MapReduceForm` are.
    for_xla: Whether XLA will compile it, which wants loops as they are.
    results: Which leaves of the result to compute, by index; by default all. Arguments that these do not depend on are
      not looked at.

  Raises:
    ValueError: If the computation is something else, or reads more than one element of a sequence.
  """
  graph_def, parameters, all_results = graph = read_graph(computation)
  chosen = range(len(all_results)) if results is None else results
  reached = set().union(*(_ancestors(graph, all_results[index]) for index in chosen))
  needed = [index for index, name in enumerate(parameters) if name in reached]
  specs = [_spec(name, graph_def) for name in parameters]
  # What only led to the inputs that are cut off would still want to be fed. TensorFlow's `prune` copies op by op.
  _keep(graph_def, reached, set(parameters))
  _make_function_names_unique(graph_def)
  _remove_dead_nodes(graph_def)
  _lower_loops(graph_def, not for_xla)

  def call(*arguments: tf.Tensor) -> list[tf.Tensor]:
    inputs = {parameters[index]: argument for index, argument in zip(needed, arguments, strict=True)}
    names = [all_results[index] for index in chosen]
    used = {tensor_name(reference) for node in graph_def.node for reference in node.input}
    found = tf.graph_util.import_graph_def(
      graph_def,
      input_map={name: tensor for name, tensor in inputs.items() if name in used},
      return_elements=[name for name in names if name not in inputs],
      name='',
    )
    computed = iter(found)
    return [inputs[name] if name in inputs else next(computed) for name in names]

  function = tf.compat.v1.wrap_function(call, [specs[index] for index in needed])
  return lambda arguments: function(*(arguments[index] for index in needed))


def find_dependencies(graph: Graph) -> list[set[int]]:
  """Returns, for each leaf of a computation's result, the leaves of its parameter that it depends on."""
  indices = {name: index for index, name in enumerate(graph.parameters)}
  return [{indices[name] for name in _ancestors(graph, result) if name in indices} for result in graph.results]


def read_graph(computation: tff.framework.ConcreteComputation) -> Graph:
  """Returns the graph of a computation.

  Raises:
    ValueError: If it is something else than one TensorFlow graph.
  """
  proto = tff.framework.serialize_computation(computation)
  if proto.WhichOneof('computation') != 'tensorflow':
    raise ValueError(f'Expected a TensorFlow computation, found {proto.WhichOneof("computation")}.')
  graph_def = tf.compat.v1.GraphDef()
  proto.tensorflow.graph_def.Unpack(graph_def)
  parameters = _tensor_names(proto.tensorflow.parameter, graph_def)
  return Graph(graph_def, parameters, _tensor_names(proto.tensorflow.result, graph_def))


def _ancestors(graph: Graph, result: str) -> set[str]:
  """Returns the names of the tensors that a result depends on, itself among them; nothing before a parameter is."""
  inputs = {node.name: node.input for node in graph.graph_def.node}
  parameters, pending, seen = set(graph.parameters), [result], {result}
  while pending:
    name = pending.pop()
    if name not in parameters:
      following = {tensor_name(other) for other in inputs[name.split(':')[0]]} - seen
      seen |= following
      pending += following
  return seen


def _keep(graph_def: tf.compat.v1.GraphDef, tensors: set[str], parameters: set[str]) -> None:
  """Removes the nodes that make none of some tensors, and those that make parameters."""
  names = {name.split(':')[0] for name in tensors - parameters}
  for index in reversed(range(len(graph_def.node))):
    node = graph_def.node[index]
    if node.name not in names:
      del graph_def.node[index]
      continue
    # It may name a node that is gone, and there is one device anyway.
    node.attr.pop(_COLOCATION, None)
    # A parameter is there from the beginning: nothing has to wait for it.
    node.input[:] = [other for other in node.input if other[0] != '^' or tensor_name(other) not in parameters]


def tensor_name(reference: str) -> str:
  """Returns the full name of a tensor that a node refers to: its first output has a short one."""
  reference = reference.lstrip('^')
  return reference if ':' in reference else f'{reference}:0'


def _tensor_names(binding: Any, graph_def: tf.compat.v1.GraphDef) -> list[str]:
  """Returns the graph's names of the tensors of a parameter or result, in the order of the flattened type."""
  match binding.WhichOneof('binding'):
    case None:
      return []
    case 'tensor':
      return [binding.tensor.tensor_name]
    case 'struct':
      return [name for element in binding.struct.element for name in _tensor_names(element, graph_def)]
    case 'sequence':
      return _single_element_names(binding.sequence.variant_tensor_name, graph_def)
    case other:
      raise ValueError(f'Expected tensors, structures and sequences, found {other}.')


def _single_element_names(variant_name: str, graph_def: tf.compat.v1.GraphDef) -> list[str]:
  """Returns the names of the tensors of the one element that the graph reads from a sequence."""
  first, *others = _find_readers(variant_name, graph_def)
  names = [f'{first.name}:{index}' for index in range(len(first.attr['output_types'].list.type))]
  # Whoever reads the same element again reads the same tensors.
  same = {f'{other.name}:{index}': name for other in others for index, name in enumerate(names)}
  for node in graph_def.node:
    for number, reference in enumerate(node.input):
      node.input[number] = same.get(tensor_name(reference), reference)
  return names


def _find_readers(variant_name: str, graph_def: tf.compat.v1.GraphDef) -> list[Any]:
  """Returns the nodes that read the one element of a sequence, if nothing else looks at it."""
  readers = []
  for node in graph_def.node:
    if variant_name.split(':')[0] in (reference.split(':')[0] for reference in node.input):
      readers += _find_readers(node.name, graph_def) if node.op == 'Identity' else [node]
  if not readers or any(node.op != _SINGLE_ELEMENT_OP for node in readers):
    operations = [node.op for node in readers]
    raise ValueError(f'Expected a graph that reads one element of its sequence, found {operations}.')
  return readers


def _spec(tensor_name: str, graph_def: tf.compat.v1.GraphDef) -> tf.TensorSpec:
  """Returns the shape and dtype of a placeholder, or of one output of what reads a sequence."""
  name, index = tensor_name.split(':')
  node = next(node for node in graph_def.node if node.name == name)
  if node.op == _SINGLE_ELEMENT_OP:
    attributes = node.attr['output_shapes'].list.shape[int(index)], node.attr['output_types'].list.type[int(index)]
  else:
    attributes = node.attr['shape'].shape, node.attr['dtype'].type
  return tf.TensorSpec(tf.TensorShape(attributes[0]), tf.dtypes.as_dtype(attributes[1]))


def _remove_dead_nodes(graph_def: tf.compat.v1.GraphDef) -> None:
  """Removes from the bodies of functions what no result needs.

  Building a Keras model in a loop leaves its symbolic inputs behind: placeholders, which XLA refuses even when unused.
  """
  for function in graph_def.library.function:
    nodes = {node.name: node for node in function.node_def}
    pending = [*function.ret.values(), *function.control_ret.values()]
    alive: set[str] = set()
    while pending:
      name = pending.pop().lstrip('^').split(':')[0]
      if name in nodes and name not in alive:
        alive.add(name)
        pending.extend(nodes[name].input)
    for index in reversed(range(len(function.node_def))):
      if function.node_def[index].name not in alive:
        del function.node_def[index]


def _lower_loops(graph_def: tf.compat.v1.GraphDef, is_wanted: bool) -> None:
  """Says whether TensorFlow runs loops and conditions inline, which XLA does not understand."""
  for node in itertools.chain(graph_def.node, *(function.node_def for function in graph_def.library.function)):
    if node.op in ('While', 'StatelessWhile', 'If', 'StatelessIf', 'Case', 'StatelessCase'):
      node.attr['_lower_using_switch_merge'].b = is_wanted


def _make_function_names_unique(graph_def: tf.compat.v1.GraphDef) -> None:
  """Renames the graph's functions: names are global to a process, and TFF uses the same ones in every graph."""
  prefix = f'imported_{next(_imports)}_'
  names = {function.signature.name for function in graph_def.library.function}
  for function in graph_def.library.function:
    function.signature.name = prefix + function.signature.name
  for reference in _function_references(graph_def):
    if reference.name in names:
      reference.name = prefix + reference.name


def _function_references(graph_def: tf.compat.v1.GraphDef) -> Iterator[Any]:
  nodes = itertools.chain(graph_def.node, *(function.node_def for function in graph_def.library.function))
  for attribute in (attribute for node in nodes for attribute in node.attr.values()):
    if attribute.HasField('func'):
      yield attribute.func
    yield from attribute.list.func
