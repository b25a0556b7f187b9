"""Tests the files that take one step a call: what they hold, what they answer, and that broken ones are found out."""

from collections.abc import Callable
import tempfile
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest

from contracts import schema as schema_lib
from export import parity
from export.forms import step as form
from export.variants import registry
from export.variants import step
from tests.export import converted

_POSITIONS, _CLASSES, _UNITS = 20, 40, 24
_SCHEMA = schema_lib.Schema(
  'mine',
  schema_lib.Feature('characters', 'int32', (_POSITIONS,)),
  schema_lib.Feature('next_characters', 'int32', (_POSITIONS,)),
  tuple(map(chr, range(48, 48 + _CLASSES))),
)
# Embedding 40x16, GRU 3x64x(16+64+2), dense (64+1)x40.
_WEIGHTS, _SIZE = 640 + 15_744 + 2_600, 64
_BUILT_IN = schema_lib.Schema('next_character', _SCHEMA.feature, _SCHEMA.label, _SCHEMA.classes)


def _drop(outputs: list[Any], states: list[Any]) -> list[Any]:
  """The state is never updated."""
  return [outputs[0], *(0.0 * state for state in states)]


def _swap(outputs: list[Any], states: list[Any]) -> list[Any]:
  del states
  return [outputs[0], *outputs[:0:-1]]


def _break(model: Any, change: Callable[[list[Any], list[Any]], list[Any]]) -> Any:
  """Returns a step model that returns other states."""
  import tensorflow as tf

  outputs = zip(model.output_names, change(model.outputs, model.inputs[1:]), strict=True)
  named = [tf.keras.layers.Activation('linear', name=f'{name}_')(each) for name, each in outputs]
  broken = tf.keras.Model(model.inputs, named)
  broken.output_names = model.output_names
  return broken


@pytest.mark.slow
class StepTest(parameterized.TestCase):
  def _stacked(self) -> tuple[Any, Any]:
    """Returns a model of two LSTMs, whose states have one shape, and its step model."""
    import tensorflow as tf

    from models import step_model

    tf.keras.utils.set_random_seed(1)
    layers = tf.keras.layers
    recurrent = [layers.LSTM(_UNITS, return_sequences=True) for _ in range(2)]
    whole = tf.keras.Sequential(
      [
        tf.keras.Input((_POSITIONS,), batch_size=1, dtype=tf.int32, name='characters'),
        layers.Embedding(_CLASSES, _UNITS, tf.keras.initializers.RandomNormal(stddev=1.0)),
        *recurrent,
        layers.Dense(_CLASSES, name='logits', kernel_initializer=tf.keras.initializers.RandomNormal(stddev=1.0)),
      ]
    )
    return whole, step_model.build(whole, _SCHEMA)

  def _compare(self, whole: Any, content: bytes) -> parity.Figures:
    features = np.random.default_rng(2).integers(0, _CLASSES, (20, _POSITIONS)).astype(np.int32)
    with tempfile.NamedTemporaryFile() as file:
      file.write(content)
      file.flush()
      answers = form.Step().answers(file.name, features)
    expected = np.concatenate([whole(row[np.newaxis]) for row in features])
    return parity.compare(features, answers.logits, expected)

  def test_a_stack_agrees_and_without_its_states_it_does_not(self) -> None:
    whole, model = self._stacked()
    variants = (step.Step(), step.StepDynamicRange())
    for variant in variants:
      self.assertIsNone(parity.disagreement(self._compare(whole, variant.convert(model, None)), variant.bounds))
    for change in (_drop, _swap):
      figures = self._compare(whole, step.Step().convert(_break(model, change), None))
      for variant in variants:
        found = parity.disagreement(figures, variant.bounds)
        self.assertRegex(found or '', '^Expected the same answer as Keras', change)

  def test_size_is_that_of_the_weights(self) -> None:
    step_stored, step_size = converted.count_stored('step', _BUILT_IN, _SIZE)
    small_stored, small_size = converted.count_stored('step_dynamic_range', _BUILT_IN, _SIZE)
    self.assertBetween(step_stored['float32'], 0.9 * _WEIGHTS, _WEIGHTS + 50)  # Biases of zeros are stored once.
    self.assertLess(step_size, 4 * _WEIGHTS + 10_000)
    self.assertLess(small_size, 0.3 * 4 * _WEIGHTS + 10_000)
    self.assertGreater(small_stored['int8'], 0.9 * _WEIGHTS)

  def test_built_in_operations_and_no_variables(self) -> None:
    for name in ('step', 'step_dynamic_range'):
      names = {op['op_name'] for op in converted.interpret(name, _BUILT_IN, _SIZE)._get_ops_details()}
      self.assertIn('LOGISTIC', names)
      self.assertEmpty({'WHILE', 'UNIDIRECTIONAL_SEQUENCE_LSTM', 'CALL_ONCE', 'VAR_HANDLE', 'ASSIGN_VARIABLE'} & names)

  def test_dynamic_range_answers_as_that_of_the_whole_model(self) -> None:
    features = np.random.default_rng(2).integers(0, _CLASSES, (20, _POSITIONS))
    small, whole = (
      converted.answer(name, _BUILT_IN, _SIZE, features) for name in ('step_dynamic_range', 'dynamic_range')
    )
    figures = parity.compare(features, small.logits, whole.logits)
    self.assertGreater(figures.argmax_agreement, 0.97)
    self.assertLess(figures.max_logit_difference, 0.05 * figures.largest_logit)


class NamesTest(absltest.TestCase):
  def test_forms(self) -> None:
    for name in registry.DEFAULT_OF_SEQUENCES:
      self.assertEqual(registry.VARIANTS[name].form, 'step')
      self.assertEqual(registry.reference_of(registry.VARIANTS[name]).name, 'step')


if __name__ == '__main__':
  absltest.main()
