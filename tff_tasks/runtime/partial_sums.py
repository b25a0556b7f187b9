"""Adding up what blocks of clients send."""

from collections.abc import Iterable, Sequence
import functools
import itertools

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.runtime import graph_import
from tff_tasks.runtime import session_call
from tff_tasks.runtime import tff_structures

# The most sums that a call adds, and how many bytes of them may wait for that.
_MAX_SUMS = 10
_MAX_BYTES = 1 << 23


class Merge:
  """Adds sums up in their order, several a call: one by one, the calls would take longer than the additions.

  Attributes:
    at_once: The most that a call adds, and that are held.

  Args:
    form: The compiled learning process.
  """

  def __init__(self, form: tff.backends.mapreduce.MapReduceForm) -> None:
    specs = tff_structures.specs(form.report.type_signature.parameter)
    # What is gathered has no size of its own, and is not counted.
    num_bytes = sum((spec.shape.num_elements() or 0) * spec.dtype.size for spec in specs)
    self.at_once = max(1, min(_MAX_SUMS, _MAX_BYTES // max(1, num_bytes)))
    zero, merge = (graph_import.import_computation(part) for part in (form.zero, form.merge))
    self._zero = session_call.make_resident(lambda: zero([]), [])()

    def merge_all(*leaves: tf.Tensor) -> Sequence[tf.Tensor]:
      parts = [leaves[start : start + len(specs)] for start in range(0, len(leaves), len(specs))]
      return functools.reduce(lambda total, part: merge([*total, *part]), parts)

    self._call = session_call.make_resident(merge_all, specs * (1 + self.at_once))

  def __call__(self, sums: Iterable[list[np.ndarray]]) -> list[np.ndarray]:
    """Returns the flat total of flat sums, which are taken as they come."""
    total, remaining = self._zero, iter(sums)
    while some := list(itertools.islice(remaining, self.at_once)):
      missing = [self._zero] * (self.at_once - len(some))
      total = self._call(*total, *itertools.chain(*some, *missing))
    return total
