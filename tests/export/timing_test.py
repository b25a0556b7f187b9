"""Tests what is measured and that it is said; how fast a file is depends on the machine, and no test looks at it."""

from collections.abc import Callable, Iterator
import os
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from ai_edge_litert import schema_py_generated as schema
import numpy as np
import pytest

from common import files
from export import guard
from export import timing
from tests.export import timed_calls

_LIMITS = guard.Limits()
_NOTHING = np.zeros((1, 2))


def _make_doubling_file() -> bytes:
  """Returns a file of one addition, for which no converter is needed."""
  add = schema.BuiltinOperator.ADD
  model = schema.ModelT()
  model.version, model.buffers = 3, [schema.BufferT()]
  code = schema.OperatorCodeT()
  code.builtinCode = code.deprecatedBuiltinCode = add
  model.operatorCodes = [code]
  operator, graph = schema.OperatorT(), schema.SubGraphT()
  operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 0], [1]
  operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
  graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [operator], [0], [1]
  for name in ('given', 'doubled'):
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, [1, 2], schema.TensorType.FLOAT32, 0
    graph.tensors.append(tensor)
  model.subgraphs = [graph]
  builder = schema.flatbuffers.Builder()
  builder.Finish(model.Pack(builder), b'TFL3')
  return bytes(builder.Output())


class _Clock:
  """Every call of a file takes one step more than the call before."""

  def __init__(self, step: int) -> None:
    self._step, self.now, self.calls = step, 0, 0

  def make_calls(self) -> Iterator[np.ndarray]:
    while True:
      self.calls += 1
      self.now += self._step * self.calls
      yield _NOTHING


class TimingTest(parameterized.TestCase):
  @parameterized.parameters(
    (1, list(range(6, 206))),
    # The last one begins before half a second is over.
    (30_000_000, [180_000_000, 210_000_000, 240_000_000]),
    (400_000_000, [2_400_000_000]),
  )
  def test_which_calls_are_timed(self, step: int, expected: list[int]) -> None:
    clock = _Clock(step)
    with mock.patch.object(timing.time, 'perf_counter_ns', side_effect=lambda: clock.now):
      self.assertEqual(timing._time_calls(clock.make_calls()), expected)
    self.assertEqual(clock.calls, len(expected) + 5)

  def test_units(self) -> None:
    with (
      mock.patch.object(timing, '_load'),
      mock.patch.object(timing, '_time_calls', return_value=[1_000] * 90 + [5_000] * 10),
      mock.patch.object(timing, '_measure_peak', return_value=2_500_000),
    ):
      cost = timing.measure('file', _NOTHING, 'whole')
    expected = {'latency_us': {'median': 1.0, 'p95': 5.0, 'calls': 100}, 'peak_memory_mb': 2.5}
    self.assertEqual(cost.describe(), expected)
    file, *rest = timing.summarize([{'path': 'mine.tflite', **expected}])[1:]
    self.assertEqual(file.split(), ['mine.tflite', '1.0', 'us', '5.0', 'us', '2.50', 'MB'])
    self.assertEqual(rest, [timing.NOTE])

  def test_a_file_that_cannot_be_timed_fails_alone(self) -> None:
    def call(limits: guard.Limits, function: Callable[..., Any], path: str, features: np.ndarray, form: str) -> Any:
      self.assertIs(function, timing.measure)
      self.assertEqual((limits, len(features)), (_LIMITS, 200))
      if os.path.basename(path) == 'b.tflite':
        raise guard.Failed('crashed with SIGSEGV')
      self.assertEqual((path, form), ('folder/a.tflite', 'step'))
      return timing.Cost(2.0, 3.0, 7, 1_000)

    entries = {name: {'path': f'{name}.tflite', 'form': 'step'} for name in 'ba'}
    with mock.patch.object(guard, 'call', call):
      measured, failed = timing.measure_all(entries, 'folder', np.zeros((300, 2)), _LIMITS)
    figures = {'latency_us': {'median': 2.0, 'p95': 3.0, 'calls': 7}, 'peak_memory_mb': 0.001}
    self.assertEqual(measured, {'a': {**entries['a'], **figures}})
    self.assertEqual(failed, {'b': 'its calls could not be timed: crashed with SIGSEGV'})


@pytest.mark.slow
class ChildTest(absltest.TestCase):
  def test_a_file_is_measured_without_tensorflow(self) -> None:
    path = self.create_tempfile().full_path
    files.write_atomically(path, _make_doubling_file())
    cost, modules = guard.call(_LIMITS, timed_calls.measure_and_list_modules, path, np.zeros((3, 2)), 'whole')
    self.assertIn('ai_edge_litert', modules)
    self.assertNoCommonElements({'tensorflow', 'keras'}, modules)
    self.assertBetween(cost.calls, 1, 200)
    self.assertTrue(0 < cost.median <= cost.p95, cost)
    self.assertGreater(cost.peak_bytes, 0)

  def test_the_peak_is_that_of_the_calls(self) -> None:
    """It counts what was freed before they ended, and nothing that the process needed before."""
    self.assertBetween(guard.call(_LIMITS, timed_calls.measure_peak, 48, 300, True), 40, 100)

  def test_memory_where_the_kernel_has_no_reset(self) -> None:
    self.assertLess(guard.call(_LIMITS, timed_calls.measure_peak, 48, 300, False), 40)


if __name__ == '__main__':
  absltest.main()
