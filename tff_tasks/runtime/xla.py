"""What XLA asks of those who trace for it."""

from collections.abc import Iterator
import contextlib

from tensorflow.python.ops import control_flow_ops


@contextlib.contextmanager
def loops() -> Iterator[None]:
  """Makes TensorFlow leave loops as they are, and Keras give its recurrent ones a bound, as XLA wants them.

  Both do so within the control flow of XLA only, which XLA's own functions enter too late for a graph that is traced
  first and compiled afterwards.
  """
  context = control_flow_ops.XLAControlFlowContext()
  context.Enter()
  try:
    yield
  finally:
    context.Exit()
