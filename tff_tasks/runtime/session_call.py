"""TensorFlow functions that stay: traced once, then called from any thread with NumPy arrays.

A `tf.function` costs half a millisecond a call with twenty arguments, as much as a small client takes to train, and
TensorFlow 2.14 loses some bytes for every eager tensor it makes (its issue 62551). A callable of a session costs some
15 microseconds and loses nothing: it takes aligned arrays without copying them, and runs in the thread that calls it,
so that clients on several threads do not get into each other's way.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

# Memory is taken over without a copy if it begins at a multiple of this.
ALIGNMENT = 64
# TensorFlow's number for "no pool of threads but the caller".
_IN_CALLER = -1

Function = Callable[..., list[np.ndarray]]


def make_resident(function: Callable[..., Sequence[tf.Tensor]], specs: Iterable[tf.TensorSpec]) -> Function:
  """Returns `function` for arrays, flat, of the given shapes and dtypes.

  What it returns must not be written to: an array may be what a tensor is made of.
  """
  graph = tf.Graph()
  with graph.as_default():
    inputs = [tf.compat.v1.placeholder(spec.dtype, spec.shape) for spec in specs]
    # What is fed cannot be fetched under the same name.
    outputs = [tf.identity(output) for output in function(*inputs)]
  # A session refuses to run nothing, as when the server of a process sends nothing.
  if not outputs:
    return lambda *arguments: []
  threads = tf.config.threading.get_intra_op_parallelism_threads()
  session = tf.compat.v1.Session(graph=graph, config=tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads))
  options = config_pb2.CallableOptions(feed=_names(inputs), fetch=_names(outputs))
  options.run_options.inter_op_thread_pool = _IN_CALLER
  # Not public, but what Keras runs graphs by; the public one takes half a millisecond with many arguments.
  return session._make_callable_from_options(options)


def _names(tensors: Sequence[tf.Tensor]) -> list[str]:
  return [tensor.name for tensor in tensors]
