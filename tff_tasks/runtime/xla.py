"""What XLA asks of those who trace for it, and what it is slow for."""

from collections.abc import Iterator
import contextlib
import re

import tensorflow as tf
from tensorflow.python.ops import control_flow_ops

# On a processor XLA computes these number by number: training a small network of them took eight times as long.
_CONVOLUTION = re.compile('(DepthwiseConv|Conv)[23][dD]')


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


def find_slow(graph_def: tf.compat.v1.GraphDef) -> str:
  """Returns the kind of operation in a graph and its functions that XLA takes several times as long for, or ''."""
  nodes = [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]
  return min((node.op for node in nodes if _CONVOLUTION.match(node.op)), default='')
