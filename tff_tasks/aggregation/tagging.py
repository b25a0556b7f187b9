"""What travels beside a client's update, read from its data: no part of the update's type."""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.population import client_report

TAG_TYPE = tff.to_type(
  client_report.ClientTag(tff.TensorType(np.int32), tff.TensorType(np.int32), tff.TensorType(np.int32, (2,)))
)


def build_tagging(data_type: tff.SequenceType) -> tff.framework.ConcreteComputation:
  """Returns the computation `a client's data -> its ClientTag`.

  Args:
    data_type: A sequence of one `ClientDataset`.
  """

  @tff.tensorflow.computation(data_type)
  def read_tag(sequence: tf.data.Dataset) -> Any:
    dataset = sequence.get_single_element()
    return client_report.ClientTag(dataset.index, dataset.num_examples, dataset.seeds[1])

  return read_tag
