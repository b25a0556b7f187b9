"""MimeLite (Karimireddy et al. 2020, arXiv 2008.03606, algorithm 2): clients that step with the server's momentum."""

import dataclasses
from typing import Any

from tff_tasks.algorithms import base
from tff_tasks.algorithms import local_algorithm


@dataclasses.dataclass(frozen=True)
class MimeLite(local_algorithm.LocalAlgorithm):
  """FedAvg whose client optimizer has the state of the whole population, which no local step changes.

  The server updates that state with the mean of the clients' gradients at its weights, weighted by their examples. That
  mean has no noise, so this is not for private runs.
  """

  def check(self, config: Any) -> None:
    base.refuse_noise('mime_lite', "clients' gradients", config)
    base.refuse_optimizer('mime_lite', config, 'momentum', 'adam')

  def initial_shared(self, context: base.Context) -> Any:
    import tensorflow as tf

    specs = [tf.TensorSpec(weight.shape, weight.dtype) for weight in context.model.initial_weights]
    return context.training.build_optimizer(context.training.learning_rate).initialize(specs)

  def next_shared(self, context: base.Context, shared: Any, sums: Any) -> Any:
    import tensorflow as tf

    gradients, count = sums
    mean = [tf.math.divide_no_nan(gradient, count) for gradient in gradients]
    optimizer = context.training.build_optimizer(context.training.learning_rate)
    state, _ = optimizer.next(shared, [tf.zeros_like(gradient) for gradient in mean], mean)
    # A round of nobody changes nothing.
    return tf.nest.map_structure(lambda new, old: tf.where(count > 0, new, old), state, shared)

  def optimizer_state(self, client: local_algorithm.Client) -> Any:
    return client.shared

  def finish(self, client: local_algorithm.Client, trained: local_algorithm.Weights) -> local_algorithm.Update:
    import tensorflow as tf

    count = tf.cast(client.dataset.num_examples, tf.float32)
    gradients = tuple(count * gradient for gradient in client.gradient(client.initial))
    return local_algorithm.Update(local_algorithm.subtract(client.initial, trained), (gradients, count))
