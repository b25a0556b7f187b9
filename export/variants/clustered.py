"""clustered: dynamic_range after each large tensor was brought to few distinct values, so that the file compresses."""

from typing import TYPE_CHECKING

from export import parity
from export.variants import base
from export.variants import fine_tuning

if TYPE_CHECKING:
  import tensorflow as tf

# Distinct values of a tensor.
_CLUSTERS = 16


class Clustered(fine_tuning.FineTuned):
  """As large as dynamic_range; what is downloaded, in an app's compressed package, is about half of it."""

  name = 'clustered'
  summary = f'small when it is compressed for the download: large tensors have {_CLUSTERS} distinct values'
  technique = 'weight clustering'
  learning_rate = 1e-4

  def supports(self, layer: 'tf.keras.layers.Layer') -> bool:
    from tensorflow_model_optimization.python.core.clustering.keras import clusterable_layer
    from tensorflow_model_optimization.python.core.clustering.keras import clustering_registry

    is_own = isinstance(layer, clusterable_layer.ClusterableLayer)
    return is_own or clustering_registry.ClusteringRegistry.supports(layer)

  def wrap(self, model: 'tf.keras.Model', examples: parity.Examples) -> 'tf.keras.Model':
    import tensorflow_model_optimization as tfmot

    clustering = tfmot.clustering.keras
    initial = clustering.CentroidInitialization.KMEANS_PLUS_PLUS
    return fine_tuning.wrap_large(model, lambda layer: clustering.cluster_weights(layer, _CLUSTERS, initial))

  def finish(self, model: 'tf.keras.Model') -> 'tf.lite.TFLiteConverter':
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot

    stripped = tfmot.clustering.keras.strip_clustering(model)
    converter = base.build_converter(fine_tuning.rebuild(stripped, 1))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter
