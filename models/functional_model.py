"""A Keras model as a function of its weights, so that no variable is created or assigned in a round."""

from collections.abc import Callable, Collection, Iterable, Sequence
import re
from typing import Any

import numpy as np
import tensorflow as tf

from common import suggestions
from models.layers import gru
from models.layers import max_pool

# Operations that draw; those of a name with Stateless draw the same again from the same seed.
_RANDOM = re.compile('Random|Multinomial|(Parameterized)?TruncatedNormal|Stateful(Uniform|StandardNormal|Truncated)')


class FunctionalModel:
  """`(weights, features) -> logits` for the model that `build_model` returns.

  Attributes:
    initial_weights: What Keras' initializers draw, in the order of `keras.Model.get_weights`.
    layers: Of each layer that has weights, by name, the indices of its weights.

  Args:
    build_model: Builds the same model at every call.
    seed: The seed of the initializers.

  Raises:
    ValueError: If the model has weights that gradients do not train, which rounds would never update, draws random
      numbers as it trains, which a resumed run would not draw again, or shares weights with an earlier one.
  """

  def __init__(self, build_model: Callable[[], tf.keras.Model], seed: int) -> None:
    self._build_model = build_model
    created: list[tf.Variable] = []

    def record(create: Callable[..., tf.Variable], **arguments: Any) -> tf.Variable:
      created.append(create(**arguments))
      return created[-1]

    tf.keras.utils.set_random_seed(seed)
    with tf.variable_creator_scope(record):
      model = build_model()
    _check_trainable(model)
    _check_deterministic(model)
    self.initial_weights: list[np.ndarray] = model.get_weights()
    # Layers are built in another order than Keras lists them as soon as the model branches.
    index = {id(weight): number for number, weight in enumerate(model.weights)}
    self._order_of_creation = [index[id(variable)] for variable in created if id(variable) in index]
    self.layers: dict[str, tuple[int, ...]] = {
      layer.name: tuple(index[id(weight)] for weight in layer.weights) for layer in model.layers if layer.weights
    }
    new = {id(variable) for variable in created}
    _check_new(weight for weight in model.weights if id(weight) not in new)

  def __call__(self, weights: Sequence[tf.Tensor], features: tf.Tensor, *, training: bool = True) -> tf.Tensor:
    """Returns the logits of the model with these weights.

    Only inside a graph: the layers ask for variables while they are built, and are handed tensors.
    """
    tensors = iter([weights[index] for index in self._order_of_creation])
    with tf.variable_creator_scope(lambda _, **unused: next(tensors)):
      model = self._build_model()
    _check_new(weight for weight in model.weights if isinstance(weight, tf.Variable))
    gru.run_layers(model)
    max_pool.run_layers(model)
    return model(tf.cast(features, model.input.dtype), training=training)

  def indices(self, what: str, names: Sequence[str]) -> list[int]:
    """Returns the indices of the weights of layers.

    Args:
      what: What names the layers, for the message.
      names: Of the layers.

    Raises:
      ValueError: If there is no layer of such a name that has weights.
    """
    for name in names:
      if name not in self.layers:
        remedy = suggestions.suggest(name, self.layers, 'choose among these.')
        raise ValueError(
          f'Expected {what} among the layers of the model that have weights ({", ".join(self.layers)}), found '
          f'{name!r}: {remedy}'
        )
    return [index for name in names for index in self.layers[name]]


def _check_trainable(model: tf.keras.Model) -> None:
  if model.non_trainable_weights:
    names = ', '.join(weight.name for weight in model.non_trainable_weights)
    raise ValueError(
      f'Expected a model with trainable weights only, found {names}: use GroupNormalization instead of '
      'BatchNormalization, and leave all layers trainable.'
    )


def _check_new(shared: Iterable[tf.Variable]) -> None:
  names = ', '.join(weight.name for weight in shared)
  if names:
    raise ValueError(
      f'Expected a model whose layers are all made in build_model, found {names} made before: make these layers there.'
    )


def _check_deterministic(model: tf.keras.Model) -> None:
  inputs = tf.TensorSpec(model.input.shape, model.input.dtype)
  trace = tf.function(lambda features: model(features, training=True)).get_concrete_function(inputs)
  graph = trace.graph.as_graph_def()
  nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
  layers = {layer.name for layer in model.submodules if isinstance(layer, tf.keras.layers.Layer)}
  random = sorted({f'{node.op} in {_find_layer(node.name, layers)}' for node in nodes if _RANDOM.match(node.op)})
  if random:
    raise ValueError(
      f'Expected a model that trains the same way twice, found {", ".join(random)}: remove Dropout and noise.'
    )


def _find_layer(node: str, layers: Collection[str]) -> str:
  """Returns the innermost layer that an operation is of, as its name says."""
  return next((part for part in reversed(node.split('/')) if part in layers), node)
