"""TensorFlow as training wants it. Nothing heavy is imported before it is asked for."""

import logging
import os
import warnings


def start_tensorflow() -> None:
  """Imports TensorFlow and TFF, which takes seconds and so comes after flags and data were checked."""
  # The notes of its start-up say nothing about the run, and neither does what it imports.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  logging.getLogger('tensorflow').setLevel(logging.ERROR)
  warnings.filterwarnings('ignore', 'pkg_resources is deprecated', UserWarning)
  # Otherwise oneDNN builds what computes the gradients of a convolution anew at each call, which takes as long as those
  # of a small one. Kept, it takes some megabytes a thread.
  os.environ.setdefault('TF_MKL_OPTIMIZE_PRIMITIVE_MEMUSE', 'false')
  import tensorflow as tf

  from tff_tasks.runtime import contexts

  contexts.forget_server()
  # A client trains on one core; threads inside of operations would only get in each other's way.
  tf.config.threading.set_intra_op_parallelism_threads(1)
  # Otherwise the loop of a Keras layer hands out all that it computes, for a gradient that nobody asks for.
  tf.compat.v1.experimental.output_all_intermediates(False)
