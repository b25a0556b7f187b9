"""Tests how a whole model is built; tflite_test and parity_test test its files."""

import tempfile

from absl.testing import absltest
import pytest

from contracts import released_model
from export.forms import whole
from tests.export import fakes


class WholeTest(absltest.TestCase):
  @pytest.mark.slow
  def test_has_a_batch_of_one_and_unrolled_layers(self) -> None:
    run_dir = self.enterContext(tempfile.TemporaryDirectory())
    fakes.release(run_dir)
    model = whole.Whole().build(released_model.load(run_dir), 'next_character')
    self.assertEqual(tuple(model.input.shape), (1, 12))
    self.assertTrue(model.get_layer('gru').unroll)


if __name__ == '__main__':
  absltest.main()
