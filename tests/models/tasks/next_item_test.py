"""Tests of the item model: its form, and that a device can run it."""

import os

from absl.testing import absltest
import numpy as np

from contracts import schema as schema_lib
from models.tasks import next_item
from tests.models import trials

_SCHEMA = schema_lib.Schema(
  'next_item',
  schema_lib.Feature('items', 'int16', (6,)),
  schema_lib.Feature('next_items', 'int16', (6,)),
  ('<pad>', '<unknown>', *(f'item {number}' for number in range(198))),
)


class NextItemTest(absltest.TestCase):
  def test_sizes(self) -> None:
    model = next_item.TASK.build_model(_SCHEMA, 7, False, None)
    self.assertEqual((model.name, model.input_names), ('next_item', ['items']))
    shapes = [weight.shape for weight in model.get_weights()]
    self.assertEqual(shapes, [(200, 32), (32, 21), (7, 21), (2, 21), (7, 200), (200,)])

  def test_runs_on_a_device(self) -> None:
    codes = np.random.default_rng(2).integers(0, 200, (3, 6)).astype(np.int16)
    path = os.path.join(self.create_tempdir().full_path, 'model.tflite')
    on_device, expected = trials.logits_on_device(next_item.TASK, _SCHEMA, codes, path)
    np.testing.assert_allclose(on_device, expected, rtol=0, atol=1e-5)


if __name__ == '__main__':
  absltest.main()
