"""Which parts of an aggregation have a fixed size, as sums do, and which grow with each client, as what is gathered."""

from typing import NamedTuple

import tensorflow_federated as tff

from tff_tasks.runtime import graph_import
from tff_tasks.runtime import tff_structures


class Accumulators(NamedTuple):
  """The leaves of an accumulator, by index.

  Attributes:
    fixed: Those of a fixed size: one of them is enough for any number of clients, and XLA can compile the addition.
    growing: The others, with those that belong to them.
    gathered: Leaves of what a client sends that the growing ones are made of.
  """

  fixed: list[int]
  growing: list[int]
  gathered: list[int]


def split(form: tff.backends.mapreduce.MapReduceForm) -> Accumulators:
  """Returns the leaves of the accumulator of a compiled process."""
  accumulator_type, _ = form.accumulate.type_signature.parameter
  specs = tff_structures.specs(accumulator_type)
  dependencies = graph_import.find_dependencies(form.accumulate)
  growing = {index for index, spec in enumerate(specs) if not spec.shape.is_fully_defined()}
  while True:
    # What is computed from a growing leaf, or is needed for one, cannot be computed without it.
    joined = {index for index, needed in enumerate(dependencies) if needed & growing}
    joined |= {leaf for index in growing for leaf in dependencies[index] if leaf < len(specs)}
    if joined <= growing:
      break
    growing |= joined
  gathered = {leaf - len(specs) for index in growing for leaf in dependencies[index] if leaf >= len(specs)}
  return Accumulators([index for index in range(len(specs)) if index not in growing], sorted(growing), sorted(gathered))
