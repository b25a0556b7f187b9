"""Adding up what blocks of clients send."""

from collections.abc import Iterable, Sequence
import functools
import itertools

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.runtime import accumulators
from tff_tasks.runtime import graph_import
from tff_tasks.runtime import session_call
from tff_tasks.runtime import tff_structures

# The most sums that a call adds, and how many bytes of them may wait for that.
_MAX_SUMS = 10
_MAX_BYTES = 1 << 23


class Merge:
  """Adds sums up in their order, several a call: one by one, the calls would take longer than the additions.

  Rows that are only appended wait until the end, and are joined once.

  Attributes:
    at_once: The most that a call adds, and that are in memory.

  Args:
    form: The compiled learning process.
    leaves: Those of its accumulator.
  """

  def __init__(self, form: tff.backends.mapreduce.MapReduceForm, leaves: accumulators.Accumulators) -> None:
    self._appended = leaves.appended
    specs = tff_structures.specs(form.report.type_signature.parameter)
    self._added = [leaf for leaf in range(len(specs)) if leaf not in self._appended]
    added = [specs[leaf] for leaf in self._added]
    # What is gathered has no size of its own, and is not counted.
    num_bytes = sum((spec.shape.num_elements() or 0) * spec.dtype.size for spec in added)
    self.at_once = max(1, min(_MAX_SUMS, _MAX_BYTES // max(1, num_bytes)))
    zero = graph_import.import_computation(form.zero)
    self._zero = session_call.make_resident(lambda: zero([]), [])()
    merge = graph_import.import_computation(form.merge, results=self._added)

    def merge_two(total: Sequence[tf.Tensor], part: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
      arguments: list[tf.Tensor | None] = [None] * (2 * len(specs))
      for leaf, one, other in zip(self._added, total, part, strict=True):
        arguments[leaf], arguments[len(specs) + leaf] = one, other
      return merge(arguments)

    def merge_all(*leaves: tf.Tensor) -> Sequence[tf.Tensor]:
      if not added:
        return []
      parts = [leaves[start : start + len(added)] for start in range(0, len(leaves), len(added))]
      return functools.reduce(merge_two, parts)

    self._call = session_call.make_resident(merge_all, added * (1 + self.at_once))

  def __call__(self, sums: Iterable[list[np.ndarray]]) -> list[np.ndarray]:
    """Returns the flat total of flat sums, which are taken as they come."""
    zero = [self._zero[leaf] for leaf in self._added]
    rows: dict[int, list[np.ndarray]] = {leaf: [self._zero[leaf]] for leaf in self._appended}
    total, remaining = zero, iter(sums)
    while some := list(itertools.islice(remaining, self.at_once)):
      for leaf, parts in rows.items():
        parts += [one[leaf] for one in some]
      added = ([one[leaf] for leaf in self._added] for one in some)
      total = self._call(*total, *itertools.chain(*added, *[zero] * (self.at_once - len(some))))
    found = dict(zip(self._added, total, strict=True)) | {leaf: np.concatenate(parts) for leaf, parts in rows.items()}
    return [found[leaf] for leaf in range(len(found))]
