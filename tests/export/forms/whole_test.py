"""Tests how a whole model is built; tflite_test and parity_test test its files."""

import itertools
import tempfile
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest

from contracts import released_model
from export.forms import whole
from tests.export import fakes


class _Double:
  """A file without a model, which doubles its input of integers; with a scale, they stand for other numbers."""

  def __init__(self, scale: float) -> None:
    self._scale = scale

  def get_input_details(self) -> list[dict[str, Any]]:
    return [{'index': 3, 'dtype': np.int8, 'quantization': (self._scale, 1)}]

  def get_output_details(self) -> list[dict[str, Any]]:
    return [{'index': 4}]

  def set_tensor(self, index: int, value: np.ndarray) -> None:
    assert index == 3
    self._value = value

  def invoke(self) -> None:
    self._value = self._value * 2

  def get_tensor(self, index: int) -> np.ndarray:
    assert index == 4
    return self._value


class WholeTest(parameterized.TestCase):
  @parameterized.parameters((0.0, [[[2, 4]], [[6, 8]], [[2, 4]]]), (0.5, [[[6, 10]], [[14, 18]], [[6, 10]]]))
  def test_calls_of_an_app(self, scale: float, expected: list[list[list[int]]]) -> None:
    calls = whole.Whole().calls(_Double(scale), np.array([[1.0, 2.0], [3.0, 4.0]]))
    answers = list(itertools.islice(calls, 3))
    self.assertEqual([each.tolist() for each in answers], expected)
    self.assertEqual(answers[0].dtype, np.int8)

  @pytest.mark.slow
  def test_has_a_batch_of_one_and_unrolled_layers(self) -> None:
    run_dir = self.enterContext(tempfile.TemporaryDirectory())
    fakes.release(run_dir)
    model = whole.Whole().build(released_model.load(run_dir), 'next_character', run_dir)
    self.assertEqual(tuple(model.input.shape), (1, 12))
    self.assertTrue(model.get_layer('gru').unroll)


if __name__ == '__main__':
  absltest.main()
