"""Which parts of an aggregation have a fixed size, as sums do, and which grow with each client, as what is gathered.

Rows that are appended one after the other are the usual way to gather. They are recognized in the graphs: then nothing
has to be called for each row, and no row is copied more than once a round.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
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
  specs, sent = (tff_structures.specs(one) for one in form.accumulate.type_signature.parameter)
  accumulate, merge = _Part.of(form.accumulate), _Part.of(form.merge)
  dependencies = accumulate.dependencies
  appended = dict(_find_appended(accumulate, merge, specs, sent))
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


@dataclasses.dataclass(frozen=True)
class _Part:
  """`accumulate` or `merge`, as a graph.

  Attributes:
    graph: The graph.
    nodes: Its nodes by name.
    dependencies: For each leaf of the result, the leaves of the parameter that it depends on.
  """

  graph: graph_import.Graph
  nodes: Mapping[str, Any]
  dependencies: Sequence[set[int]]

  @classmethod
  def of(cls, computation: tff.framework.ConcreteComputation) -> '_Part':
    graph = graph_import.read_graph(computation)
    nodes = {node.name: node for node in graph.graph_def.node}
    return cls(graph, nodes, graph_import.find_dependencies(graph))

  def find_concat(self, leaf: int) -> tuple[str, str]:
    """Returns the names of the two tensors whose rows, one after the other, are a leaf of the result; or empty ones."""
    node = self._node(self._origin(self.graph.results[leaf]))
    if node.op != 'ConcatV2' or len(node.input) != 3 or self._constant(node.input[2]) != 0:
      return '', ''
    first, second = map(self._origin, node.input[:2])
    return first, second

  def find_row(self, name: str) -> int | None:
    """Returns the leaf of the parameter that a tensor is, with one more axis in front."""
    if not name:
      return None
    node = self._node(name)
    is_row = node.op in _MAKE_A_ROW and (node.op != 'Pack' or len(node.input) == 1)
    if node.op == 'StridedSlice':  # One index, which is a new axis.
      attributes, strides = node.attr, self._node(node.input[3])
      is_row = attributes['new_axis_mask'].i == 1 and not attributes['ellipsis_mask'].i
      is_row = is_row and strides.attr['value'].tensor.tensor_shape.dim[0].size == 1
    if not is_row:
      return None
    origin, parameters = self._origin(node.input[0]), self.graph.parameters
    return parameters.index(origin) if origin in parameters else None

  def is_used(self, leaf: int, parameters: set[int]) -> bool:
    """Returns whether another leaf of the result than this one is computed from one of the parameters."""
    return any(index != leaf and needed & parameters for index, needed in enumerate(self.dependencies))

  def _node(self, reference: str) -> Any:
    return self.nodes[reference.split(':')[0]]

  def _origin(self, reference: str) -> str:
    """Returns the name of the tensor that a reference is to, past nodes that change nothing."""
    name = graph_import.tensor_name(reference)
    node = self._node(name)
    # An identity that waits for something else may be there for that: an assertion.
    return self._origin(node.input[0]) if node.op == 'Identity' and len(node.input) == 1 else name

  def _constant(self, reference: str) -> Any:
    node = self._node(self._origin(reference))
    return tf.make_ndarray(node.attr['value'].tensor).tolist() if node.op == 'Const' else None


def _find_appended(
  accumulate: _Part, merge: _Part, totals: Sequence[tf.TensorSpec], sent: Sequence[tf.TensorSpec]
) -> Iterator[tuple[int, int]]:
  """Yields the leaves of an accumulator to which `accumulate` appends a row, and the leaf that the row is."""
  num_leaves = len(totals)
  for leaf in range(num_leaves):
    # The rows of the total come first, in both.
    total, one_row = accumulate.find_concat(leaf)
    row = accumulate.find_row(one_row)
    if total != accumulate.graph.parameters[leaf] or row is None or row < num_leaves:
      continue
    # A reshaped tensor is one row as it is only if it had the shape of a row before.
    if totals[leaf].shape.rank is None or totals[leaf].shape[1:].as_list() != sent[row - num_leaves].shape.as_list():
      continue
    other = leaf + num_leaves
    is_joined = merge.find_concat(leaf) == (merge.graph.parameters[leaf], merge.graph.parameters[other])
    is_used = accumulate.is_used(leaf, {leaf}) or merge.is_used(leaf, {leaf, other})
    if is_joined and not is_used:
      yield leaf, row - num_leaves
