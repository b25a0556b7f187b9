"""Which parts of an aggregation have a fixed size, as sums do, and which grow with each client, as what is gathered.

Rows that are appended one after the other are the usual way to gather. They are recognized in the graphs: then nothing
has to be called for each row, and no row is copied more than once a round.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.runtime import graph_import
from tff_tasks.runtime import tff_structures

# Operations that give a tensor one more axis in front, besides a slice `[tf.newaxis]`: the result of each is one row
# of the accumulator's type, whose numbers are those of the tensor in their order.
_MAKE_A_ROW = ('ExpandDims', 'Reshape', 'Pack')


class Accumulators(NamedTuple):
  """The leaves of an accumulator, by index.

  Attributes:
    fixed: Those of a fixed size: one of them is enough for any number of clients, and XLA can compile the addition.
    appended: Those that are rows of what clients send, and the leaf of it that they are rows of. Nothing else is
      computed from them.
    growing: The others, with those that belong to them.
    gathered: Leaves of what a client sends that the appended and the growing ones are made of.
  """

  fixed: list[int]
  appended: dict[int, int]
  growing: list[int]
  gathered: list[int]


def split(form: tff.backends.mapreduce.MapReduceForm) -> Accumulators:
  """Returns the leaves of the accumulator of a compiled process: `accumulate` and `merge` of its form are looked at."""
  accumulator_type, _ = form.accumulate.type_signature.parameter
  specs = tff_structures.specs(accumulator_type)
  dependencies = graph_import.find_dependencies(form.accumulate)
  appended = dict(_find_appended(form, len(specs)))
  growing = {index for index, spec in enumerate(specs) if index not in appended and not spec.shape.is_fully_defined()}
  while True:
    # What is computed from a growing leaf, or is needed for one, cannot be computed without it.
    joined = {index for index, needed in enumerate(dependencies) if needed & growing}
    joined |= {leaf for index in growing for leaf in dependencies[index] if leaf < len(specs)}
    if joined <= growing:
      break
    growing |= joined
  gathered = {leaf - len(specs) for index in growing for leaf in dependencies[index] if leaf >= len(specs)}
  gathered |= set(appended.values())
  fixed = [index for index in range(len(specs)) if index not in growing and index not in appended]
  return Accumulators(fixed, appended, sorted(growing), sorted(gathered))


def _find_appended(form: tff.backends.mapreduce.MapReduceForm, num_leaves: int) -> Iterator[tuple[int, int]]:
  """Yields the leaves of an accumulator to which `accumulate` appends a row, and the leaf that the row is."""
  accumulate, merge = (graph_import.read_graph(part) for part in (form.accumulate, form.merge))
  for leaf in range(num_leaves):
    # The rows of the total come first, in both.
    total, one_row = _find_concat(accumulate, leaf)
    joined = _find_concat(merge, leaf)
    row = _find_row(accumulate, one_row)
    if total != accumulate.parameters[leaf] or row is None or row < num_leaves:
      continue
    other = leaf + num_leaves
    is_used = _is_used(form.accumulate, leaf, {leaf}) or _is_used(form.merge, leaf, {leaf, other})
    if joined == (merge.parameters[leaf], merge.parameters[other]) and not is_used:
      yield leaf, row - num_leaves


def _is_used(part: tff.framework.ConcreteComputation, leaf: int, parameters: set[int]) -> bool:
  """Returns whether another leaf of the result than this one is computed from one of the parameters."""
  dependencies = graph_import.find_dependencies(part)
  return any(index != leaf and needed & parameters for index, needed in enumerate(dependencies))


def _find_concat(graph: graph_import.Graph, leaf: int) -> tuple[str, str]:
  """Returns the names of the two tensors whose rows, one after the other, are a leaf of a result; empty if none are."""
  nodes = {node.name: node for node in graph.graph_def.node}
  node = nodes[_origin(nodes, graph.results[leaf]).split(':')[0]]
  if node.op != 'ConcatV2' or len(node.input) != 3 or _constant(nodes, node.input[2]) != 0:
    return '', ''
  first, second = (_origin(nodes, name) for name in node.input[:2])
  return first, second


def _find_row(graph: graph_import.Graph, name: str) -> int | None:
  """Returns the leaf of the parameter that a tensor is, with one more axis in front."""
  if not name:
    return None
  nodes = {node.name: node for node in graph.graph_def.node}
  node = nodes[name.split(':')[0]]
  is_row = node.op in _MAKE_A_ROW and (node.op != 'Pack' or len(node.input) == 1)
  if node.op == 'StridedSlice':  # One index, which is a new axis.
    attributes = node.attr
    is_row = attributes['new_axis_mask'].i == 1 and not attributes['ellipsis_mask'].i
    is_row = is_row and nodes[node.input[3].split(':')[0]].attr['value'].tensor.tensor_shape.dim[0].size == 1
  if not is_row:
    return None
  origin = _origin(nodes, node.input[0])
  return graph.parameters.index(origin) if origin in graph.parameters else None


def _origin(nodes: Mapping[str, Any], reference: str) -> str:
  """Returns the name of the tensor that a reference is to, past nodes that change nothing."""
  name = graph_import.tensor_name(reference)
  node = nodes[name.split(':')[0]]
  return _origin(nodes, node.input[0]) if node.op == 'Identity' else name


def _constant(nodes: Mapping[str, Any], reference: str) -> Any:
  node = nodes[_origin(nodes, reference).split(':')[0]]
  return tf.make_ndarray(node.attr['value'].tensor).tolist() if node.op == 'Const' else None
