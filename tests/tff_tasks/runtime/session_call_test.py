"""Tests that a resident function takes and gives arrays of any kind, from any thread, and keeps nothing."""

from concurrent import futures
import threading

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import psutil
import tensorflow as tf

from tff_tasks.runtime import session_call

_CALLS, _WARM_UP = 20_000, 2_000
# An eager tensor made of each input, and freed, loses 1.3 MB in as many calls.
_MAX_GROWTH = 800_000
_SECONDS_TO_HANG = 20


def _aligned(size: int, shift: int = 0) -> np.ndarray:
  """Returns float32 of 0, 1, 2, ..., which begin so many bytes behind a multiple of what TensorFlow takes over."""
  memory = np.zeros(4 * size + 2 * session_call.ALIGNMENT, np.uint8)
  start = -memory.ctypes.data % session_call.ALIGNMENT + shift
  numbers = memory[start : start + 4 * size].view(np.float32)
  numbers[:] = np.arange(size)
  return numbers


def _make_double(shape: tuple[int | None, ...]) -> session_call.Function:
  return session_call.make_resident(lambda numbers: [2 * numbers], [tf.TensorSpec(shape)])


class ResidentTest(parameterized.TestCase):
  def test_arrays_go_in_and_come_out_flat(self) -> None:
    specs = [tf.TensorSpec([2, 3]), tf.TensorSpec([3], tf.int32), tf.TensorSpec([], tf.bool)]
    function = session_call.make_resident(
      lambda table, row, flag: (tf.cast(row, tf.float32) + table, tf.logical_not(flag), tf.reduce_sum(row)), specs
    )
    table, row = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([10, 20, 30], np.int32)
    total, flag, size = function(table, row, np.array(True))
    np.testing.assert_array_equal(total, table + row)
    self.assertEqual((flag, size), (False, 60))
    self.assertEqual([value.dtype for value in (total, flag, size)], [np.float32, np.bool_, np.int32])

  def test_nothing_may_come_out(self) -> None:
    self.assertEqual(session_call.make_resident(lambda _: [], [tf.TensorSpec([2])])(np.ones(2, np.float32)), [])

  def test_unknown_dimensions(self) -> None:
    double = _make_double((None, 2, None))
    for shape in ((1, 2, 3), (5, 2, 1), (0, 2, 4)):
      numbers = np.ones(shape, np.float32)
      np.testing.assert_array_equal(double(numbers)[0], numbers + numbers)

  @parameterized.parameters(0, 1, 4, 32)
  def test_arrays_wherever_they_begin(self, shift: int) -> None:
    numbers = _aligned(1000, shift)
    np.testing.assert_array_equal(_make_double((None,))(numbers)[0], 2 * np.arange(1000))
    np.testing.assert_array_equal(numbers, np.arange(1000))

  def test_arrays_that_cannot_be_written_or_have_gaps(self) -> None:
    double = _make_double((None,))
    numbers = _aligned(1000)
    numbers.flags.writeable = False
    for some in (numbers, numbers[::2], numbers[::-1], np.broadcast_to(numbers[3:4], [7])):
      np.testing.assert_array_equal(double(some)[0], 2 * some)
    np.testing.assert_array_equal(numbers, np.arange(1000))

  def test_scalars(self) -> None:
    add = session_call.make_resident(lambda one, other: [one + other], [tf.TensorSpec([], tf.int32)] * 2)
    for value in (np.int32(3), np.array(3, np.int32)):
      self.assertEqual(add(value, np.int32(4))[0], 7)

  @parameterized.parameters(0, 1)
  def test_an_input_may_be_an_output(self, shift: int) -> None:
    """It outlives the array it came from."""
    function = session_call.make_resident(lambda numbers: [numbers, numbers, numbers + 1], [tf.TensorSpec([None])])
    found = [function(_aligned(10_000, shift)) for _ in range(20)]
    for one, again, more in found:
      np.testing.assert_array_equal(one, np.arange(10_000))
      np.testing.assert_array_equal(again, np.arange(10_000))
      np.testing.assert_array_equal(more, np.arange(1, 10_001))

  def test_nothing_in(self) -> None:
    np.testing.assert_array_equal(session_call.make_resident(lambda: [tf.range(3)], [])()[0], [0, 1, 2])

  def test_traces_once(self) -> None:
    traces = []

    def function(numbers: tf.Tensor) -> list[tf.Tensor]:
      traces.append(numbers)
      return [numbers + 1]

    call = session_call.make_resident(function, [tf.TensorSpec([None])])
    for size in (1, 2, 2):
      call(np.zeros(size, np.float32))
    self.assertLen(traces, 1)

  def test_several_threads_at_once(self) -> None:
    def wait(number: np.ndarray) -> np.ndarray:
      everyone.wait()
      return number

    everyone = threading.Barrier(4, timeout=_SECONDS_TO_HANG)
    number = tf.TensorSpec([], tf.int32)
    meet = session_call.make_resident(lambda one: [2 * tf.numpy_function(wait, [one], tf.int32)], [number])
    with futures.ThreadPoolExecutor(4) as pool:
      found = list(pool.map(lambda one: int(meet(np.int32(one))[0]), range(40)))
    self.assertEqual(found, list(range(0, 80, 2)))

  def test_runs_in_the_thread_that_calls(self) -> None:
    def tell() -> np.ndarray:
      return np.array(threading.get_ident(), np.int64)

    def function(times: tf.Tensor) -> list[tf.Tensor]:
      ask = lambda: tf.ensure_shape(tf.numpy_function(tell, [], tf.int64), [])  # noqa: E731
      loop = tf.while_loop(lambda index, _: index < times, lambda index, _: (index + 1, ask()), (0, np.int64(0)))
      return [loop[1], *(ask() for _ in range(8))]

    call = session_call.make_resident(function, [tf.TensorSpec([], tf.int32)])
    run = lambda: (threading.get_ident(), set(map(int, call(np.int32(3)))))  # noqa: E731
    with futures.ThreadPoolExecutor(2) as pool:
      found = [run(), *(future.result() for future in [pool.submit(run) for _ in range(50)]), run()]
    self.assertGreater(len({caller for caller, _ in found}), 1)
    self.assertEqual([runners for _, runners in found], [{caller} for caller, _ in found])

  def test_errors_are_those_of_tensorflow(self) -> None:
    check = session_call.make_resident(lambda one: [tf.debugging.check_numerics(one, 'Odd.')], [tf.TensorSpec([])])
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, 'Odd. : Tensor had NaN'):
      check(np.float32(np.nan))
    self.assertEqual(check(np.float32(1))[0], 1)
    for arguments in ((), (np.float64(1),), (np.float32(1), np.float32(1))):
      with self.assertRaises(tf.errors.InvalidArgumentError):
        check(*arguments)

  def test_calls_lose_no_memory(self) -> None:
    function = session_call.make_resident(
      lambda *inputs: [*inputs, tf.add_n(inputs), inputs[0][0]], [tf.TensorSpec([None])] * 4
    )
    inputs = [_aligned(64), _aligned(64, 1), _aligned(64), np.zeros(64, np.float32)]
    inputs[2].flags.writeable = False
    process, sizes = psutil.Process(), []
    for calls in (_WARM_UP, _CALLS, _CALLS, _CALLS):
      for _ in range(calls):
        function(*inputs)
      sizes.append(process.memory_info().rss)
    # What calls lose they lose in every stretch; what else goes on in this process comes once.
    self.assertLess(min(np.diff(sizes)), _MAX_GROWTH)


if __name__ == '__main__':
  absltest.main()
