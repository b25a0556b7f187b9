"""step, step_dynamic_range: one element of a sequence a call, for keyboards and whoever else answers at each element.

No recurrent layer is unrolled, so their size is that of the weights, whatever the length of the sequences.
"""

from export import parity
from export.variants import dynamic_range
from export.variants import float32


class Step(float32.Float32):
  """The same numbers as in training; its bounds are those of float32, for the same reasons."""

  name = 'step'
  form = 'step'
  summary = 'one element of a sequence a call, full precision'


class StepDynamicRange(dynamic_range.DynamicRange):
  """As dynamic_range, whose answers it gave bit by bit on a character model.

  There, rounding left 99% of the answers the same, and a state that is dropped 75%: the bound lies between.
  """

  name = 'step_dynamic_range'
  form = 'step'
  summary = 'one element of a sequence a call, small, for keyboards'
  bounds = parity.Bounds(0.9, None)
