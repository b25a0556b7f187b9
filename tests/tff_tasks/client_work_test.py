import functools
import os

from absl.testing import absltest
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from models import handwriting
from models import next_character
from models import task as task_lib
from pipelines import schema as schema_lib
from tests.tff_tasks import fakes
from tff_tasks import client_data
from tff_tasks import client_work
from tff_tasks import functional
from tff_tasks import seeds

_IMAGE, _CHARACTER = schema_lib.Feature('image', 'uint8', (28, 28)), schema_lib.Feature('character', 'int8', ())
_IMAGES = schema_lib.Schema('handwriting', _IMAGE, _CHARACTER, tuple('01'))
_CASES = {
    'text': (functools.partial(next_character.build_model, fakes.SCHEMA, 5), fakes.SCHEMA),
    'images': (functools.partial(handwriting.build_model, _IMAGES, 6), _IMAGES),
}
_RATE = 0.1


def _batches(schema: schema_lib.Schema, steps: int, ignored: int = 2) -> client_data.ClientBatches:
  stream = np.random.default_rng(0)
  features = stream.integers(0, schema.num_classes, (steps, 3, *schema.feature.shape)).astype(np.uint8)
  labels = stream.integers(0, schema.num_classes, (steps, 3, *schema.label.shape)).astype(np.int8)
  labels.reshape(-1)[:ignored] = schema_lib.IGNORED_LABEL
  return client_data.ClientBatches(features, labels, np.array([1, 2], np.int32))


def _train(
    model: functional.FunctionalModel, batches: client_data.ClientBatches
) -> tuple[list[np.ndarray], task_lib.Sums]:
  """Runs our local SGD in a graph, which is where TFF runs it."""
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    data = client_data.ClientBatches(*map(tf.constant, batches))
    return session.run(client_work.local_sgd(model, list(map(tf.constant, model.initial_weights)), data, _RATE))


def _train_with_keras(model: tf.keras.Model, batches: client_data.ClientBatches) -> list[np.ndarray]:
  """Local SGD written the ordinary way, with the Keras model's own variables."""
  optimizer = tf.keras.optimizers.SGD(_RATE)
  for features, labels in zip(batches.features, batches.labels, strict=True):
    with tf.GradientTape() as tape:
      logits = model(features.astype(model.input.dtype.as_numpy_dtype), training=True)
      sums = task_lib.sums(tf.constant(labels, tf.int32), logits)
      loss = tf.reduce_sum(sums.loss) / tf.reduce_sum(sums.count)
    optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights, strict=True))
  return model.get_weights()


class LocalSgdTest(absltest.TestCase):
  def test_is_what_keras_does(self) -> None:
    for name, (build_model, schema) in _CASES.items():
      with self.subTest(name):
        functional_model, batches = functional.FunctionalModel(build_model, 1), _batches(schema, 4)
        trained, _ = _train(functional_model, batches)
        weights, model = functional_model.initial_weights, build_model()
        model.set_weights(weights)
        for ours, theirs in zip(trained, _train_with_keras(model, batches), strict=True):
          np.testing.assert_allclose(ours, theirs, atol=1e-6)
        self.assertGreater(max(np.abs(a - b).max() for a, b in zip(trained, weights, strict=True)), 1e-4)

  def test_batches_of_fillers_change_nothing(self) -> None:
    for name, (build_model, schema) in _CASES.items():
      with self.subTest(name):
        model, batches = functional.FunctionalModel(build_model, 1), _batches(schema, 2)
        fillers = np.full_like(batches.labels, schema_lib.IGNORED_LABEL)
        padded = batches._replace(
            features=np.concatenate([batches.features, np.zeros_like(batches.features)]),
            labels=np.concatenate([batches.labels, fillers]),
        )
        results = [tf.nest.flatten(_train(model, data)) for data in (batches, padded)]
        for ours, theirs in zip(*results, strict=True):
          np.testing.assert_allclose(ours, theirs, atol=1e-7)

  def test_measures_each_batch_before_its_step(self) -> None:
    build_model, schema = _CASES['text']
    functional_model, batches = functional.FunctionalModel(build_model, 1), _batches(schema, 1)
    _, sums = _train(functional_model, batches)
    model = build_model()
    model.set_weights(functional_model.initial_weights)
    expected = task_lib.sums(tf.constant(batches.labels[0], tf.int32), model(batches.features[0].astype(np.int32)))
    np.testing.assert_allclose(sums.loss, tf.reduce_sum(expected.loss), rtol=1e-5)
    self.assertEqual(sums.count, batches.labels.size - 2)


class BuildClientWorkTest(absltest.TestCase):
  def test_types(self) -> None:
    build_model, schema = _CASES['text']
    model = functional.FunctionalModel(build_model, 1)
    trainable = tuple((np.float32, weight.shape) for weight in model.initial_weights)
    weights_type = tff.to_type(tff.learning.models.ModelWeights(trainable, ()))
    work = client_work.build_client_work(model, weights_type, client_work.batches_type(schema, 4), _RATE)
    update = work.next.type_signature.result.result.member.update
    self.assertEqual(update.rounding_seed.compact_representation(), 'int32[2]')
    self.assertTrue(weights_type.trainable.is_equivalent_to(update.delta))

  def test_takes_what_the_data_source_gives(self) -> None:
    shards = fakes.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    source = client_data.ClientDataSource(shards, 4, 2, 16, seeds.Seed.from_number(1))
    expected = client_work.batches_type(shards.schema, 4).element
    for client in range(shards.num_clients('train')):
      batches = source.client_batches(1, client)._asdict()
      specs = {name: tff.TensorType(array.dtype.type, array.shape) for name, array in batches.items()}
      found = tff.StructWithPythonType(list(specs.items()), client_data.ClientBatches)
      self.assertTrue(expected.is_assignable_from(found), found.compact_representation())


if __name__ == '__main__':
  absltest.main()
