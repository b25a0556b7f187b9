"""pruned: small weights of large tensors become zero, and the file stores the others with their positions."""

from collections.abc import Mapping
import math
from typing import TYPE_CHECKING, Any

from export import parity
from export.variants import base
from export.variants import fine_tuning

if TYPE_CHECKING:
  import tensorflow as tf

_SPARSITY = 0.8
_FIRST_SPARSITY = 0.3


class Pruned(fine_tuning.FineTuned):
  """Float32 of a fifth of the weights. The device computes with all of them: nothing becomes faster."""

  name = 'pruned'
  summary = f'{_SPARSITY:.0%} of the weights of large tensors are zero, and not stored'
  technique = 'magnitude pruning'
  learning_rate = 1e-3

  def supports(self, layer: 'tf.keras.layers.Layer') -> bool:
    from tensorflow_model_optimization.python.core.sparsity.keras import prunable_layer
    from tensorflow_model_optimization.python.core.sparsity.keras import prune_registry

    return isinstance(layer, prunable_layer.PrunableLayer) or prune_registry.PruneRegistry.supports(layer)

  def wrap(self, model: 'tf.keras.Model', examples: parity.Examples) -> 'tf.keras.Model':
    import tensorflow_model_optimization as tfmot

    steps = fine_tuning.EPOCHS * math.ceil(len(examples.labels) / fine_tuning.BATCH_SIZE)
    # The last epoch is for the weights that are left to adapt.
    end = max(1, steps * (fine_tuning.EPOCHS - 1) // fine_tuning.EPOCHS)
    schedule = tfmot.sparsity.keras.PolynomialDecay(_FIRST_SPARSITY, _SPARSITY, 0, end, frequency=max(1, end // 20))
    return fine_tuning.wrap_large(model, lambda layer: tfmot.sparsity.keras.prune_low_magnitude(layer, schedule))

  def callbacks(self) -> list[Any]:
    import tensorflow_model_optimization as tfmot

    return [tfmot.sparsity.keras.UpdatePruningStep()]

  def finish(self, model: 'tf.keras.Model') -> 'tf.lite.TFLiteConverter':
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot

    stripped = tfmot.sparsity.keras.strip_pruning(model)
    converter = base.build_converter(fine_tuning.rebuild(stripped, 1))
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    return converter

  def describe(self, stored: Mapping[str, int]) -> str:
    return f'{self.summary}: {base.describe_float32(stored)}'
