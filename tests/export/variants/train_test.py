"""Tests that files of all built-in models train on the device's runtime, with built-in operations."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest

from contracts import schema as schema_lib
from export import flex
from export import parity
from export.on_device import step_parity
from export.variants import registry
from tests.export import fakes
from tests.export.on_device import trained

_WINDOWS = schema_lib.Schema(
  'classification', schema_lib.Feature('numbers', 'float32', (9, 3)), trained.TABLE.label, trained.TABLE.classes
)


@pytest.mark.slow
class TrainTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('recurrent', fakes.CHARACTERS, 1e-6), ('convolutions', fakes.HANDWRITING, 1e-5), ('windows', _WINDOWS, 1e-6)
  )
  def test_steps_are_those_of_keras(self, schema: schema_lib.Schema, tolerance: float) -> None:
    run_dir, path = trained.folder(schema)
    self.assertEmpty(flex.find(path))
    examples = step_parity.cut(trained.examples(schema), trained.tuning())
    found = step_parity.file_steps(path, trained.tuning(), examples)
    expected = step_parity.keras_steps(run_dir, None, trained.tuning(), examples)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
    for one, other in zip(found.weights, expected.weights, strict=True):
      np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)

  def test_is_a_form_of_its_own(self) -> None:
    variant = registry.VARIANTS['train']
    self.assertEqual(registry.reference_of(variant).name, 'train')
    self.assertEqual(variant.bounds, parity.Bounds(0.999, 1e-4))
    self.assertNotIn('train', registry.choose_default(fakes.CHARACTERS))


if __name__ == '__main__':
  absltest.main()
