"""Tests of the comparison: exact figures on made-up logits, and files of real models on the device's runtime."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from contracts import client_shards
from contracts import released_model
from contracts import schema as schema_lib
from export import parity
from export.variants import registry
from tests.export import converted
from tests.export import fakes

# The tests of those that learn convert with examples.
_WHOLE = tuple(
  name for name, variant in registry.VARIANTS.items() if variant.form == 'whole' and name not in registry.LEARNING
)
_STRICT = parity.Bounds(0.999, 1e-4)


def _logits(*classes: int) -> np.ndarray:
  return 4.0 * np.eye(3, dtype=np.float32)[np.array(classes)][np.newaxis]


class CompareTest(parameterized.TestCase):
  def test_counts_positions_whose_label_counts(self) -> None:
    labels = np.array([[0, 1, 2, schema_lib.IGNORED_LABEL, schema_lib.UNKNOWN_LABEL]])
    figures = parity.compare(labels, _logits(0, 1, 1, 0, 0), _logits(0, 2, 2, 1, 1))
    self.assertEqual(
      figures,
      parity.Figures(
        argmax_agreement=1 / 3,
        max_logit_difference=4.0,
        accuracy=2 / 3,
        reference_accuracy=2 / 3,
        majority_accuracy=1 / 3,
        largest_logit=4.0,
        examples=1,
        positions=3,
      ),
    )

  def test_special_classes_are_no_answers(self) -> None:
    labels, special, second = np.array([[1, 2]]), _logits(0, 0), 0.5 * _logits(1, 2)
    self.assertEqual(parity.compare(labels, special + second, second).accuracy, 0)
    figures = parity.compare(labels, special + second, second, first_answer=1)
    self.assertEqual((figures.accuracy, figures.reference_accuracy, figures.argmax_agreement), (1, 1, 1))

  def test_refuses_labels_of_which_none_counts(self) -> None:
    with self.assertRaisesRegex(ValueError, 'labels that count'):
      parity.compare(np.full((1, 2), schema_lib.IGNORED_LABEL), _logits(0, 1), _logits(0, 1))

  def _judge(self, logits: np.ndarray, bounds: parity.Bounds = _STRICT) -> str | None:
    labels = np.array([[0, 1, 2]])
    return parity.disagreement(parity.compare(labels, logits, _logits(0, 1, 2)), bounds)

  def test_accepts_rounding(self) -> None:
    self.assertIsNone(self._judge(_logits(0, 1, 2)))
    self.assertIsNone(self._judge(_logits(0, 1, 2) + 3e-4))

  def test_rejects_other_answers(self) -> None:
    self.assertRegex(self._judge(_logits(0, 1, 1)), '^Expected the same answer .* 99.9% of positions, found 66.67%$')

  def test_rejects_other_logits(self) -> None:
    self.assertRegex(self._judge(_logits(0, 1, 2) + 5e-4), '^Expected logits within 0.0004 .* found 0.0005 away$')
    self.assertIsNone(self._judge(_logits(0, 1, 2) + 5e-4, parity.Bounds(0.9, None)))

  @parameterized.parameters(np.nan, np.inf, -np.inf)
  def test_rejects_what_is_no_number(self, value: float) -> None:
    logits = _logits(0, 1, 2)
    logits[0, 0, 1] = value
    self.assertIsNotNone(self._judge(logits, parity.Bounds(0.0, None)))


class HeldOutExamplesTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._folder = self.enterContext(tempfile.TemporaryDirectory())

  def _open(self, num_users: int) -> client_shards.ClientShards:
    return client_shards.ClientShards(fakes.write_shards(os.path.join(self._folder, 'shards'), num_users=num_users))

  def test_takes_all_of_a_few(self) -> None:
    shards = self._open(7)
    examples = parity.held_out_examples(shards)
    features, labels, _ = shards.read_all('test')
    np.testing.assert_array_equal(examples.features, features)
    np.testing.assert_array_equal(examples.labels, labels)
    self.assertLen(labels, 28)

  def test_spreads_over_users_in_proportion(self) -> None:
    shards = self._open(70)  # 2,485 examples, of which 2,000 are taken.
    examples = parity.held_out_examples(shards)
    self.assertLen(examples.labels, 2_000)
    features, _, clients = shards.read_all('test')
    owner = {array.tobytes(): client for array, client in zip(features, clients, strict=True)}
    owners = [owner[array.tobytes()] for array in examples.features]
    np.testing.assert_array_equal(parity.find_owners(shards), owners)
    taken = np.bincount(owners, minlength=70)
    share = np.bincount(clients) * 2_000 / 2_485
    self.assertLess(np.abs(taken - share).max(), 1.0001)

  def test_reads_any_split(self) -> None:
    shards = client_shards.ClientShards(fakes.write_shards(os.path.join(self._folder, 'train'), split='train'))
    features, labels, _ = shards.read_all('train')
    np.testing.assert_array_equal(parity.read_evenly(shards, 'train', 28).features, features)
    few = parity.read_evenly(shards, 'train', 4)
    np.testing.assert_array_equal(few.labels, labels[[0, 9, 18, 27]])

  def test_needs_held_out_users(self) -> None:
    message = '^Expected examples of held-out users in .* found none: .* larger test_users_share'
    with self.assertRaisesRegex(ValueError, message):
      parity.held_out_examples(self._open(0))


class AnswersTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._folder = self.enterContext(tempfile.TemporaryDirectory())

  def _make(self, schema: schema_lib.Schema, variant: str) -> tuple[parity.Examples, np.ndarray, str]:
    shards_dir, run_dir = os.path.join(self._folder, 'shards'), os.path.join(self._folder, 'run')
    examples = parity.held_out_examples(client_shards.ClientShards(fakes.write_shards(shards_dir, schema)))
    fakes.release(run_dir, schema)
    path = os.path.join(self._folder, 'file.tflite')
    with open(path, 'wb') as file:
      file.write(converted.make(variant, schema, 8))
    return examples, parity.keras_answers(run_dir, schema, examples.features), path

  @parameterized.product(schema=(fakes.CHARACTERS, fakes.HANDWRITING), variant=_WHOLE)
  def test_files_agree_with_keras(self, schema: schema_lib.Schema, variant: str) -> None:
    examples, reference, path = self._make(schema, variant)
    answers = parity.tflite_answers(path, examples.features)
    shape = (*schema.label.shape, schema.num_classes)
    self.assertEqual(answers.logits.shape, (28, *shape))
    figures = parity.compare(examples.labels, answers.logits, reference)
    self.assertIsNone(parity.disagreement(figures, registry.VARIANTS[variant].bounds), figures)
    given = 'int32' if schema.label.shape else 'float32'
    ends = [
      ('input', schema.feature.name, given, (1, *schema.feature.shape)),
      ('output', 'logits', 'float32', (1, *shape)),
    ]
    self.assertEqual(answers.signature, ends)
    # The tensors of so small a recurrent model are too small to be quantized. Constants may be stored too.
    is_quantized = variant == 'dynamic_range' and schema is fakes.HANDWRITING
    num_weights = released_model.load(os.path.join(self._folder, 'run')).num_weights
    self.assertEqual(answers.stored['int8'] > 0.9 * num_weights, is_quantized, answers.stored)
    self.assertBetween(sum(answers.stored.values()), 0.9 * num_weights, num_weights + 50)
    self.assertTrue(is_quantized or not answers.stored['int8'])
    self.assertEqual(bool(answers.stored['float16']), variant == 'float16')

  @parameterized.parameters(fakes.CHARACTERS, fakes.HANDWRITING)
  def test_a_file_of_another_model_does_not(self, schema: schema_lib.Schema) -> None:
    examples, _, path = self._make(schema, 'float32')
    other = os.path.join(self._folder, 'other')
    fakes.release(other, schema, seed=2)
    reference = parity.keras_answers(other, schema, examples.features)
    figures = parity.compare(examples.labels, parity.tflite_answers(path, examples.features).logits, reference)
    for name in _WHOLE:
      self.assertIsNotNone(parity.disagreement(figures, registry.VARIANTS[name].bounds), figures)

  def test_a_file_answers_every_example_alike(self) -> None:
    """No state is carried from one example to the next."""
    examples, _, path = self._make(fakes.CHARACTERS, 'float32')
    forward = parity.tflite_answers(path, examples.features).logits
    backward = parity.tflite_answers(path, examples.features[::-1]).logits
    np.testing.assert_array_equal(forward, backward[::-1])

  def test_a_file_that_keeps_a_state_is_refused(self) -> None:
    import tensorflow as tf

    # What TFLite makes of a fused LSTM: variables that outlive a call.
    class Fused(tf.Module):
      def __init__(self) -> None:
        super().__init__()
        self.state = tf.Variable(tf.zeros([1, 3]))

      @tf.function(input_signature=[tf.TensorSpec([1, 3], tf.float32, 'features')])
      def answer(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        return {'logits': self.state.assign_add(features)}

    module = Fused()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.answer.get_concrete_function()], module)
    converter.experimental_enable_resource_variables = True
    path = os.path.join(self._folder, 'fused.tflite')
    with open(path, 'wb') as file:
      file.write(converter.convert())
    with self.assertRaisesRegex(ValueError, 'found another one: the file keeps a state between calls'):
      parity.tflite_answers(path, np.ones((1, 3), np.float32))

  @parameterized.parameters(np.nan, np.inf)
  def test_refuses_weights_that_are_no_numbers(self, value: float) -> None:
    run_dir = os.path.join(self._folder, 'run')
    fakes.release(run_dir, spoil=value)
    with self.assertRaisesRegex(ValueError, '^Expected finite weights .* found 2 that are NaN or infinite'):
      parity.keras_answers(run_dir, fakes.CHARACTERS, np.zeros((1, 12), np.int32))

  def test_refuses_another_schema(self) -> None:
    run_dir = os.path.join(self._folder, 'run')
    fakes.release(run_dir)
    with self.assertRaisesRegex(ValueError, 'found another task and feature and label and classes: pass'):
      parity.keras_answers(run_dir, fakes.HANDWRITING, np.zeros((1, 28, 28), np.uint8))

  def tearDown(self) -> None:
    tf.keras.backend.clear_session()
    super().tearDown()


if __name__ == '__main__':
  absltest.main()
