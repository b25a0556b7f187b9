"""Tests that a step model answers at each position as the whole model does, and that other models are refused."""

from collections.abc import Callable
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from contracts import schema as schema_lib
from models import registry
from models import step_model
from models import unsupported
from models.layers import gru

_POSITIONS, _CLASSES, _UNITS = 7, 9, 5
_CODES = schema_lib.Schema(
  'next_character',
  schema_lib.Feature('characters', 'int32', (_POSITIONS,)),
  schema_lib.Feature('next_characters', 'int32', (_POSITIONS,)),
  tuple('abcdefghi'),
)
_NUMBERS = schema_lib.Schema(
  'mine',
  schema_lib.Feature('readings', 'float32', (_POSITIONS, 3)),
  schema_lib.Feature('states', 'int32', (_POSITIONS,)),
  tuple('abcdefghi'),
)
_LAYERS = tf.keras.layers

_Layer = Callable[[Any], Any]


class _Product(tf.keras.layers.Layer):
  """A cell whose output is not its state."""

  state_size = _UNITS

  def call(self, inputs: tf.Tensor, states: Any) -> tuple[tf.Tensor, list[tf.Tensor]]:
    state = 0.5 * states[0] + inputs
    return 2 * state, [state]


class _StartsWithOnes(tf.keras.layers.SimpleRNNCell):
  def get_initial_state(self, inputs: Any = None, batch_size: Any = None, dtype: Any = None) -> Any:
    return tf.ones([1, _UNITS])


class _Unimplemented(tf.errors.UnimplementedError):
  def __init__(self, message: str) -> None:
    super().__init__(None, None, message)


class _Picky(tf.keras.layers.Layer):
  """Computes no sequence of one position."""

  def __init__(self, kind: type[Exception]) -> None:
    super().__init__(name='picky')
    self._kind = kind

  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    if inputs.shape[1] == 1:
      raise self._kind('one')
    return inputs


def _recurrent(cell: Any, **options: Any) -> Any:
  return _LAYERS.RNN(cell, return_sequences=True, **options)


def _gru(**options: Any) -> Any:
  return _LAYERS.GRU(_UNITS, return_sequences=True, name='gru', **options)


def _lstm(**options: Any) -> Any:
  return _LAYERS.LSTM(_UNITS, return_sequences=True, name='lstm', **options)


def _stack(*layers: _Layer) -> _Layer:
  def apply(values: Any) -> Any:
    for layer in layers:
      values = layer(values)
    return values

  return apply


def _residual(values: Any) -> Any:
  hidden = _gru()(values)
  return _LAYERS.Concatenate()([_LAYERS.Add()([values, hidden]), tf.nn.relu(hidden)])


def _nested(values: Any) -> Any:
  inner = tf.keras.Input(values.shape[1:], batch_size=1)
  return tf.keras.Model(inner, _lstm()(_gru()(inner)), name='inner')(values)


def _twice(values: Any) -> Any:
  shared = _gru()
  return shared(shared(values))


def _from_other_state(values: Any) -> Any:
  return _gru()(values, initial_state=tf.ones([1, _UNITS]))


def _build(hidden: _Layer, schema: schema_lib.Schema = _CODES, mask: bool = False) -> tf.keras.Model:
  tf.keras.utils.set_random_seed(3)
  is_codes = schema is _CODES
  inputs = tf.keras.Input(schema.feature.shape, batch_size=1, dtype=schema.feature.dtype, name=schema.feature.name)
  values = _LAYERS.Embedding(_CLASSES, _UNITS, 'normal', mask_zero=mask)(inputs) if is_codes else inputs
  logits = _LAYERS.Dense(_CLASSES, bias_initializer='normal', name='logits')(hidden(values))
  return tf.keras.Model(inputs, logits, name='whole')


def _features(schema: schema_lib.Schema) -> np.ndarray:
  generator = np.random.default_rng(4)
  if schema is _NUMBERS:
    return generator.normal(size=(1, _POSITIONS, 3)).astype(np.float32)
  return np.array([[3, 0, 8, 8, 1, 0, 0]], np.int32)  # With padding.


def _run(step: tf.keras.Model, features: np.ndarray) -> np.ndarray:
  """Returns the logits at each position."""
  states = [tf.zeros(each.shape) for each in step.inputs[1:]]
  logits = []
  for position in range(features.shape[1]):
    output, *states = step([tf.constant(features[:, position]), *states])
    logits.append(output)
  return np.stack(logits, axis=1)


class StepModelTest(parameterized.TestCase):
  def tearDown(self) -> None:
    tf.keras.backend.clear_session()
    super().tearDown()

  @parameterized.named_parameters(
    ('gru', _gru(), 1),
    ('lstm', _lstm(), 2),
    ('cell', _recurrent(_LAYERS.GRUCell(_UNITS, reset_after=False)), 1),
    ('unrolled', _gru(unroll=True), 1),
    ('several', _stack(_gru(), _lstm(), _LAYERS.SimpleRNN(_UNITS, return_sequences=True)), 4),
    ('cells', _recurrent([_LAYERS.LSTMCell(_UNITS), _LAYERS.GRUCell(4)]), 3),
    ('output that is no state', _recurrent(_Product()), 1),
    ('normalized', _stack(_gru(), _LAYERS.LayerNormalization(), _LAYERS.Activation('relu')), 1),
    ('by time', _stack(_LAYERS.TimeDistributed(_LAYERS.Dense(_UNITS)), _gru()), 1),
    ('convolution of one', _stack(_LAYERS.Conv1D(_UNITS, 1), _gru()), 1),
    ('residual', _residual, 1),
    ('nested', _nested, 3),
    ('shared', _twice, 2),
  )
  def test_answers_as_the_whole_model(self, hidden: _Layer, num_states: int) -> None:
    whole = _build(hidden)
    step = step_model.build(whole, _CODES)
    names = [f'state_{index}' for index in range(num_states)]
    self.assertEqual(step.input_names, ['characters', *names])
    self.assertEqual(step.output_names, ['logits', *(f'next_{name}' for name in names)])
    self.assertEqual([tuple(each.shape) for each in (step.inputs[0], step.outputs[0])], [(1,), (1, _CLASSES)])
    self.assertEqual([each.shape for each in step.inputs[1:]], [each.shape for each in step.outputs[1:]])
    features = _features(_CODES)
    np.testing.assert_allclose(_run(step, features), whole(features), atol=1e-6)

  @parameterized.parameters(False, True)
  def test_masked_positions(self, zero_output: bool) -> None:
    options = {'zero_output_for_mask': zero_output}
    whole = _build(_stack(_gru(**options), _LAYERS.LayerNormalization(), _lstm(**options)), mask=True)
    features = _features(_CODES)
    # The mask matters, also in the middle of the sequence.
    self.assertGreater(np.abs(whole(features) - _build(_stack(_gru(), _lstm()))(features)).max(), 1e-2)
    np.testing.assert_allclose(_run(step_model.build(whole, _CODES), features), whole(features), atol=1e-6)

  def test_numbers(self) -> None:
    whole = _build(_lstm(), _NUMBERS)
    step = step_model.build(whole, _NUMBERS)
    self.assertEqual((step.input_names[0], tuple(step.inputs[0].shape)), ('readings', (1, 3)))
    np.testing.assert_allclose(_run(step, _features(_NUMBERS)), whole(_features(_NUMBERS)), atol=1e-6)

  def test_the_built_in_model_has_its_weights_and_no_others(self) -> None:
    whole = registry.get_task('next_character').build(_CODES, 6, batch_size=1)
    step = step_model.build(whole, _CODES)
    self.assertEqual([id(each) for each in step.weights], [id(each) for each in whole.weights])
    whole.set_weights([weight + 0.1 for weight in whole.get_weights()])
    np.testing.assert_allclose(_run(step, _features(_CODES)), whole(_features(_CODES)), atol=1e-6)

  def test_layers_that_are_run_in_another_way_in_training(self) -> None:
    whole = registry.get_task('next_character').build(_CODES, 6, batch_size=1)
    expected = whole(_features(_CODES)).numpy()
    gru.run_layers(whole)
    np.testing.assert_allclose(_run(step_model.build(whole, _CODES), _features(_CODES)), expected, atol=1e-6)

  @parameterized.named_parameters(
    ('bidirectional', _LAYERS.Bidirectional(_gru(), name='both'), r'found both \(Bidirectional\)'),
    ('backwards', _gru(go_backwards=True), r'found gru \(GRU\) with go_backwards=True'),
    ('state', lambda values: _gru(return_state=True)(values)[0], r'found gru \(GRU\) with return_state=True'),
    ('stateful', _gru(stateful=True), r'found gru \(GRU\) with stateful=True'),
    ('other state', _from_other_state, r'found gru \(GRU\) with an initial state or constants'),
    ('start', _recurrent(_StartsWithOnes(_UNITS), name='ones'), r'found another start of ones \(RNN\)'),
    ('convolution', _stack(_LAYERS.Conv1D(_UNITS, 2, padding='causal', name='see'), _gru()), r'found see \(Conv1D\)'),
    (
      'pooling',
      _stack(_gru(), _LAYERS.AveragePooling1D(3, 1, 'same', name='pool')),
      r'found pool \(AveragePooling1D\)',
    ),
    (
      'attention',
      lambda values: _gru()(_LAYERS.Attention(name='look')([values, values])),
      r'found look \(Attention\)',
    ),
    ('groups', _stack(_gru(), _LAYERS.GroupNormalization(1, name='groups')), r'found groups \(GroupNormalization\)'),
    ('softmax', _stack(_gru(), _LAYERS.Softmax(axis=1, name='over')), r'found over \(Softmax\)'),
    ('places', _stack(_LAYERS.PReLU('normal', name='each'), _gru()), r'found each \(PReLU\)'),
    (
      'reshape',
      _stack(_gru(), _LAYERS.Reshape((_UNITS, _POSITIONS), name='turn'), _LAYERS.Permute((2, 1))),
      r'found turn \(Reshape\)',
    ),
    ('operation', lambda values: tf.cumsum(_gru()(values), axis=1), r'found tf\.\w*\.?cumsum \(TFOpLambda\)'),
    ('none', _LAYERS.Dense(_UNITS), 'Expected recurrent layers, found none: a step model has'),
  )
  def test_refuses_by_name(self, hidden: _Layer, message: str) -> None:
    with self.assertRaisesRegex(unsupported.Unsupported, message):
      step_model.build(_build(hidden), _CODES)

  @parameterized.parameters(
    KeyError, AttributeError, AssertionError, NotImplementedError, ZeroDivisionError, _Unimplemented
  )
  def test_a_layer_that_raises_when_it_sees_one_position(self, kind: type[Exception]) -> None:
    with self.assertRaisesRegex(unsupported.Unsupported, r'found picky \(_Picky\), which raised .*Error \(.*one'):
      step_model.build(_build(_stack(_Picky(kind), _gru())), _CODES)

  def test_refuses_a_mask_of_a_cell_whose_output_is_no_state(self) -> None:
    whole = _build(_recurrent(_Product(), name='product'), mask=True)
    with self.assertRaisesRegex(unsupported.Unsupported, r'found product \(RNN\): remove the mask'):
      step_model.build(whole, _CODES)

  @parameterized.parameters(((), ()), ((_POSITIONS,), ()), ((_POSITIONS, 3), (_POSITIONS, 3)))
  def test_refuses_examples_without_a_label_at_each_position(self, features: Any, labels: Any) -> None:
    schema = schema_lib.Schema(
      'mine', schema_lib.Feature('x', 'float32', features), schema_lib.Feature('y', 'int32', labels), ('a', 'b')
    )
    inputs = tf.keras.Input(features, batch_size=1)
    with self.assertRaisesRegex(unsupported.Unsupported, 'a label for each position, found labels of shape'):
      step_model.build(tf.keras.Model(inputs, inputs), schema)


if __name__ == '__main__':
  absltest.main()
