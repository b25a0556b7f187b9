"""Our model for the algorithms of `tff.learning.algorithms`: a function of weights, with our loss and accuracy."""

import collections
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from contracts import schema as schema_lib
from models import functional_model
from models import task as task_lib


def build(model: functional_model.FunctionalModel, schema: schema_lib.Schema) -> tff.learning.models.FunctionalModel:
  """Returns the model, of batches `(features, labels)`."""
  feature, label = schema.feature, schema.label

  @tf.function
  def predict(weights: Any, features: tf.Tensor, training: bool = True) -> tf.Tensor:
    return model(list(weights[0]), features, training=training)

  def loss(logits: tf.Tensor, labels: tf.Tensor, sample_weight: Any = None) -> tf.Tensor:
    del sample_weight
    sums = _sums(logits, labels)
    return tf.math.divide_no_nan(sums.loss, sums.count)

  def _sums(logits: tf.Tensor, labels: tf.Tensor) -> task_lib.Sums:
    return task_lib.Sums(*map(tf.reduce_sum, task_lib.sums(labels, logits, schema.first_answer)))

  def no_sums() -> Any:
    return collections.OrderedDict((name, tf.zeros([])) for name in task_lib.Sums._fields)

  def add_sums(totals: Any, labels: tf.Tensor, output: Any, sample_weight: Any = None) -> Any:
    del sample_weight
    sums = _sums(output.predictions, labels)._asdict()
    return collections.OrderedDict((name, total + sums[name]) for name, total in totals.items())

  return tff.learning.models.FunctionalModel(
    initial_weights=(tuple(model.initial_weights), ()),
    predict_on_batch_fn=predict,
    loss_fn=loss,
    metrics_fns=(tf.function(no_sums), tf.function(add_sums), tf.function(lambda totals: totals)),
    input_spec=(
      tf.TensorSpec([None, *feature.shape], feature.dtype),
      tf.TensorSpec([None, *label.shape], tf.int32),
    ),
  )
