"""Tests that a step of the module is a step of a client's work in a round."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
from tensorflow.lite.python import convert_phase

from contracts import personalization
from contracts import released_model
from contracts import schema as schema_lib
from export import flex
from export.on_device import training_module
from export.variants import train
from models import functional_model
from models import registry
from models import task as task_lib
from models import unsupported
from tests.export import fakes
from tff_tasks.algorithms import local_sgd
from tff_tasks.population import client_data

_BATCH, _COUNT, _RATE = 4, 7, 0.5
_TUNING = personalization.FineTuning(1, _RATE, _BATCH)
_TABLE = schema_lib.Schema(
  'classification',
  schema_lib.Feature('numbers', 'float32', (5,)),
  schema_lib.Feature('class', 'int32', ()),
  tuple('abc'),
)
_SCHEMAS = {
  'next_character': fakes.CHARACTERS,
  'handwriting': dataclasses.replace(fakes.HANDWRITING, feature=schema_lib.Feature('image', 'uint8', (13, 12))),
  'table': _TABLE,
  'windows': dataclasses.replace(_TABLE, feature=schema_lib.Feature('numbers', 'float32', (9, 3))),
}


def _build_without_gradient(schema: schema_lib.Schema, *_: Any) -> tf.keras.Model:
  def strange(values: tf.Tensor) -> tf.Tensor:
    images = values[:, tf.newaxis, tf.newaxis]
    ones = [1, 1, 1, 1]
    arguments = {'filter': tf.zeros([1, 1, 3]), 'strides': ones, 'rates': ones, 'padding': 'SAME'}
    return tf.raw_ops.Dilation2DBackpropInput(input=images, out_backprop=images, **arguments)[:, 0, 0]

  inputs = tf.keras.Input(schema.feature.shape, name=schema.feature.name)
  hidden = tf.keras.layers.Dense(schema.num_classes)(inputs)
  return tf.keras.Model(inputs, tf.keras.layers.Lambda(strange, name='strange')(hidden))


WITHOUT_GRADIENT = task_lib.Task('strange', _build_without_gradient, default_size=1)


def _model(schema: schema_lib.Schema) -> functional_model.FunctionalModel:
  return functional_model.FunctionalModel(functools.partial(registry.get_task(schema.task).build, schema, 6), seed=3)


def _module(schema: schema_lib.Schema, tuning: personalization.FineTuning = _TUNING) -> training_module.TrainingModule:
  weights = _model(schema).initial_weights
  return training_module.TrainingModule(released_model.ReleasedModel(schema, 6, 1, weights), schema.task, tuning)


def _examples(schema: schema_lib.Schema) -> tuple[np.ndarray, np.ndarray]:
  stream = np.random.default_rng(4)
  if schema.feature.dtype == 'float32':
    features = stream.normal(size=(_COUNT, *schema.feature.shape)).astype(np.float32)
  else:
    features = stream.integers(0, schema.num_classes, (_COUNT, *schema.feature.shape)).astype(schema.feature.dtype)
  labels = stream.integers(schema.first_answer, schema.num_classes, (_COUNT, *schema.label.shape)).astype(np.int32)
  labels.reshape(-1)[[2, -1]] = schema_lib.IGNORED_LABEL, schema_lib.UNKNOWN_LABEL
  return features, labels


def _train_as_a_client(
  schema: schema_lib.Schema, features: np.ndarray, labels: np.ndarray, indices: list[int] | None = None
) -> tuple[list[np.ndarray], list[int]]:
  """Returns the weights after the local steps of a round, and the order of the examples in it."""
  model = _model(schema)
  capacity = -(-_COUNT // _BATCH) * _BATCH
  padded = np.resize(labels, (capacity, *labels.shape[1:]))
  seeds = np.array([[1, 2], [3, 4]], np.int32)
  numbers = (np.int32(0), np.int32(0), padded, np.zeros(0, np.float32), np.int32(_COUNT), seeds, np.zeros(2, np.int32))
  dataset = client_data.ClientDataset(np.resize(features, (capacity, *features.shape[1:])), *numbers)
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    as_tensors = client_data.ClientDataset(*map(tf.constant, dataset))
    sgd = local_sgd.LocalSgd(model, local_sgd.LocalTraining(_RATE, _BATCH, 1), as_tensors, schema.first_answer)
    trained, _ = sgd.run(list(map(tf.constant, model.initial_weights)), indices)
    weights, order = session.run([trained, sgd._order(tf.constant(0))])
  return weights, order[:_COUNT].tolist()


def _train(module: training_module.TrainingModule, features: np.ndarray, labels: np.ndarray, order: list[int]) -> None:
  dtype = tf.float32 if features.dtype in (np.float32, np.uint8) else tf.int32
  for start in range(0, _COUNT, _BATCH):
    rows = order[start : start + _BATCH]
    missing = _BATCH - len(rows)
    # What fills a batch up is another example: its weight is 0.
    filled = rows + [0] * missing
    module.functions['train'](
      x=tf.cast(features[filled], dtype),
      y=tf.constant(labels[filled]),
      weight=tf.constant([1.0] * len(rows) + [0.0] * missing),
      lr=tf.constant(_RATE),
    )


class TrainingModuleTest(parameterized.TestCase):
  @parameterized.named_parameters(_SCHEMAS.items())
  def test_steps_are_those_of_a_round(self, schema: schema_lib.Schema) -> None:
    features, labels = _examples(schema)
    expected, order = _train_as_a_client(schema, features, labels)
    module = _module(schema)
    initial = [weight.numpy() for weight in module.weights]
    _train(module, features, labels, order)
    for found, other, before in zip(module.weights, expected, initial, strict=True):
      np.testing.assert_allclose(found.numpy(), other, rtol=0, atol=1e-6)
      self.assertFalse(np.array_equal(other, before))
    module.functions['reset']()
    for found, before in zip(module.weights, initial, strict=True):
      np.testing.assert_array_equal(found.numpy(), before)

  def test_local_layers_alone_are_trained(self) -> None:
    schema = _TABLE
    features, labels = _examples(schema)
    indices = _model(schema).indices('', ['logits'])
    expected, order = _train_as_a_client(schema, features, labels, indices)
    module = _module(schema, _TUNING._replace(local_layers=('logits',)))
    _train(module, features, labels, order)
    for found, other in zip(module.weights, expected, strict=True):
      np.testing.assert_allclose(found.numpy(), other, rtol=0, atol=1e-6)

  def test_loss_and_gradient_are_those_of_the_task(self) -> None:
    schema = fakes.CHARACTERS
    _, labels = _examples(schema)
    logits = np.random.default_rng(5).normal(size=(*labels.shape, schema.num_classes), scale=20).astype(np.float32)
    sums, expected = task_lib.sums_and_gradient(tf.constant(labels), tf.constant(logits))
    loss, found = training_module.measure(tf.constant(labels), tf.ones(_COUNT), tf.constant(logits))
    np.testing.assert_allclose(loss, sums.loss / sums.count, rtol=1e-6)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)

  def test_what_does_not_count_may_be_nan(self) -> None:
    logits = np.random.default_rng(5).normal(size=(3, 4)).astype(np.float32)
    expected = training_module.measure(tf.constant([1]), tf.ones(1), tf.constant(logits[:1]))
    logits[1:] = np.nan
    loss, found = training_module.measure(tf.constant([1, -1, 2]), tf.constant([1.0, 1.0, 0.0]), tf.constant(logits))
    np.testing.assert_allclose(loss, expected[0], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found, np.pad(expected[1], [(0, 2), (0, 0)]), rtol=1e-6, atol=1e-7)

  def test_a_batch_without_labels_moves_nothing(self) -> None:
    loss, found = training_module.measure(tf.constant([-1, -2]), tf.ones(2), tf.ones([2, 3]))
    self.assertEqual((float(loss), float(tf.reduce_sum(tf.abs(found)))), (0.0, 0.0))

  def test_a_layer_without_a_gradient_is_named(self) -> None:
    names = training_module.describe({'Foo': ['m/dense/Foo', 'gradients/m/pool/Foo_grad/Foo']}, ['dense', 'pool'])
    self.assertRegex(names, r'^Expected layers whose gradients .*, found others for Foo \(layer dense, pool\): ')
    released = released_model.ReleasedModel(_TABLE, 1, 1, [np.zeros((5, 3), np.float32), np.zeros(3, np.float32)])
    expected = r'found others for Dilation2DBackpropInput \(layer strange\): '
    with self.assertRaisesRegex(unsupported.Unsupported, expected):
      training_module.TrainingModule(released, f'{__name__}:WITHOUT_GRADIENT', _TUNING)

  @parameterized.named_parameters(
    # Its convolution is in a function of its own.
    ('kernel', lambda: tf.keras.layers.Conv2D(2, 3, groups=2, name='odd'), 'Conv2DBackpropFilter', (6, 6, 2)),
    ('loop', lambda: tf.keras.layers.SimpleRNN(2, name='odd'), 'While', (6, 2)),
  )
  def test_a_layer_that_no_device_can_train_is_named(
    self, build: Callable[[], tf.keras.layers.Layer], kind: str, shape: tuple[int, ...]
  ) -> None:
    def build_model(schema: schema_lib.Schema, size: int, unroll: bool, batch_size: int | None) -> tf.keras.Model:
      del size, unroll
      inputs = tf.keras.Input(schema.feature.shape, batch_size)
      return tf.keras.Model(inputs, tf.keras.layers.Dense(3, name='logits')(tf.keras.layers.Flatten()(build()(inputs))))

    schema = dataclasses.replace(_TABLE, feature=schema_lib.Feature('numbers', 'float32', shape))
    own = task_lib.Task('mine', build_model, 1)
    released = released_model.ReleasedModel(schema, 1, 1, build_model(schema, 1, False, None).get_weights())
    with (
      flex.allowing(True),  # Not in a training file.
      mock.patch.object(registry, 'find', return_value=own),
      self.assertRaisesRegex(unsupported.Unsupported, rf'found others for (Stateless)?{kind} \(layer odd\): list no'),
    ):
      train.Train().convert(training_module.TrainingModule(released, 'mine:TASK', _TUNING), None)

  def test_an_operation_that_the_converter_made_is_named_without_a_layer(self) -> None:
    converter = mock.Mock()
    converter.convert.side_effect = convert_phase.ConverterError('failed\nTF Select ops: Made, MatMul\nDetails:')
    with (
      mock.patch.object(tf.lite.TFLiteConverter, 'from_saved_model', return_value=converter),
      self.assertRaisesRegex(
        unsupported.Unsupported, r'found others for Made, MatMul \(layer dense, logits\): list no'
      ),
    ):
      train.Train().convert(_module(_TABLE), None)


if __name__ == '__main__':
  absltest.main()
