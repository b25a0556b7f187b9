"""Tests of the character model: the sizes that finished runs rely on."""

from absl.testing import absltest

from models.tasks import next_character
from tests.tff_tasks import fakes


class NextCharacterTest(absltest.TestCase):
  def test_sizes(self) -> None:
    model = next_character.TASK.build_model(fakes.SCHEMA, 7, False, None)
    self.assertEqual((model.name, model.output_shape), ('next_character', (None, 12, 10)))
    shapes = [weight.shape for weight in model.get_weights()]
    self.assertEqual(shapes, [(10, 16), (16, 21), (7, 21), (2, 21), (7, 10), (10,)])

  def test_the_form_for_the_device(self) -> None:
    model = next_character.TASK.build_model(fakes.SCHEMA, 7, True, 1)
    self.assertEqual(model.output_shape, (1, 12, 10))
    self.assertTrue(model.get_layer('gru').unroll)


if __name__ == '__main__':
  absltest.main()
