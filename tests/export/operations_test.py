"""Tests of what is said of operations; tflite_test and variants/integers_test convert models that have some."""

from absl.testing import absltest
import pytest
import tensorflow as tf

from export import operations
from tests.export import converted


class OperationsTest(absltest.TestCase):
  def test_names_have_their_layers(self) -> None:
    uses = {'Erf': ['first', 'second'], 'Add': []}
    self.assertEqual(operations.describe_all('Erf, Add, MyOp', uses), 'Erf (layer first, second), Add, MyOp')

  def test_floats_between_integers(self) -> None:
    found = [
      operations.Operation('QUANTIZE', ['model/input'], True),
      operations.Operation('CONV_2D', ['model/conv/Conv2D'], False),
      operations.Operation('DIV', ['model/groups/truediv'], True),
    ]
    self.assertEqual(operations.find_floats(found), found[2:])

  def test_of_which_layers(self) -> None:
    operation = operations.Operation('MUL', ['model/ink/mul;model/channel/Reshape'], True)
    found = [operations.is_of(operation, layers) for layers in (['ink'], ['other', 'channel'], ['in'], [])]
    self.assertEqual(found, [True, True, False, False])

  @pytest.mark.slow
  def test_reads_a_file(self) -> None:
    found = operations.read(converted.make('float32', *converted.SMALL))
    self.assertContainsSubset({'GATHER', 'LOGISTIC', 'FULLY_CONNECTED'}, {each.name for each in found})
    self.assertTrue(all(each.has_floats for each in found if each.name == 'LOGISTIC'))

  @pytest.mark.slow
  def test_the_layers_of_a_model(self) -> None:
    inputs = tf.keras.Input((3, 4), batch_size=1)
    # The loop of a recurrent layer is a function of its own in the graph.
    values = tf.keras.layers.RNN(_Inverting(2), return_sequences=True, name='loop')(inputs)
    values = tf.keras.layers.Activation('gelu', name='gelu')(values)
    uses = operations.find_uses(tf.keras.Model(inputs, tf.keras.layers.Dense(2, name='dense')(values)))
    self.assertEqual((uses['MatrixInverse'], uses['Erf']), (['loop'], ['gelu']))
    self.assertIn('dense', uses['MatMul'])


class _Inverting(tf.keras.layers.SimpleRNNCell):
  def call(self, inputs: tf.Tensor, states: list[tf.Tensor], training: bool | None = None) -> tuple[tf.Tensor, list]:
    return super().call(inputs @ tf.linalg.inv(tf.eye(4) + tf.reduce_mean(inputs)), states, training)


if __name__ == '__main__':
  absltest.main()
