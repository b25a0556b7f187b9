"""Tests of the recurrent model: what it sees, and that the device's form of it gives the same answers."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from models.tasks import recurrent
from tests.tff_tasks import fakes

_SIZE, _EMBEDDING_SIZE = 7, 5
_CODES = np.random.default_rng(3).integers(0, fakes.SCHEMA.num_classes, (5, *fakes.SCHEMA.feature.shape))


def _build(unroll: bool = False, batch_size: int | None = None) -> tf.keras.Model:
  return recurrent.build_model(fakes.SCHEMA, _SIZE, _EMBEDDING_SIZE, unroll, batch_size)


class RecurrentTest(parameterized.TestCase):
  model: tf.keras.Model

  @classmethod
  def setUpClass(cls) -> None:
    super().setUpClass()
    tf.keras.utils.set_random_seed(1)
    cls.model = _build()

  def test_logits_for_every_position(self) -> None:
    logits = self.model(_CODES).numpy()
    self.assertEqual(logits.shape, (5, 12, 10))
    self.assertEqual(logits.dtype, np.float32)
    self.assertTrue((logits < 0).any(), 'Probabilities are no logits.')

  def test_input_is_the_schemas(self) -> None:
    self.assertEqual(self.model.input_names, ['characters'])
    self.assertEqual((self.model.input.dtype, tuple(self.model.input.shape)), (tf.int32, (None, 12)))
    self.assertEqual(self.model.name, fakes.SCHEMA.task)

  def test_never_looks_ahead(self) -> None:
    changed = _CODES.copy()
    changed[:, 6:] = (changed[:, 6:] + 1) % fakes.SCHEMA.num_classes
    before, after = self.model(_CODES).numpy(), self.model(changed).numpy()
    np.testing.assert_allclose(before[:, :6], after[:, :6], rtol=0, atol=1e-6)
    self.assertGreater(np.abs(before - after)[:, 6:].max(axis=-1).min(), 1e-6)

  def test_remembers_what_came_before(self) -> None:
    changed = _CODES.copy()
    changed[:, 0] = (changed[:, 0] + 1) % fakes.SCHEMA.num_classes
    difference = np.abs(self.model(_CODES).numpy() - self.model(changed).numpy())
    self.assertGreater(difference[:, 2].max(), 1e-4)

  @parameterized.parameters((True, None), (False, 1), (True, 1))
  def test_the_form_for_the_device_gives_the_same_logits(self, unroll: bool, batch_size: int | None) -> None:
    model = _build(unroll, batch_size)
    self.assertEqual(model.input.shape[0], batch_size)
    model.set_weights(self.model.get_weights())
    for example in _CODES[:, np.newaxis]:
      np.testing.assert_allclose(model(example).numpy(), self.model(example).numpy(), rtol=0, atol=1e-6)

  def test_unrolling_leaves_no_loop(self) -> None:
    looped, unrolled = (_build(unroll, 1) for unroll in (False, True))
    self.assertEqual((self._count_loops(looped), self._count_loops(unrolled)), (1, 0))

  def test_sizes(self) -> None:
    self.assertEqual(self.model.get_layer('gru').cell.units, _SIZE)
    self.assertEqual(self.model.get_layer('embedding').output_dim, _EMBEDDING_SIZE)

  def test_embeddings_begin_with_about_unit_length(self) -> None:
    """50 squared normals of mean 1: each outside of 0.4 to 2 with a chance below 1e-3, and the seed is fixed."""
    embeddings = self.model.get_layer('embedding').get_weights()[0]
    self.assertBetween(float(np.mean(np.sum(embeddings**2, axis=1))), 0.4, 2.0)

  def _count_loops(self, model: tf.keras.Model) -> int:
    graph = tf.function(model).get_concrete_function(tf.TensorSpec([1, 12], tf.int32)).graph
    names = [node.op for function in graph.as_graph_def().library.function for node in function.node_def]
    return len([name for name in (*names, *(node.type for node in graph.get_operations())) if name.endswith('While')])

  def tearDown(self) -> None:
    tf.keras.backend.clear_session()
    super().tearDown()


if __name__ == '__main__':
  absltest.main()
