"""Tests devices as processes: without TensorFlow, and with one line if one ends."""

from concurrent import futures
import contextlib
import os
import signal
from typing import Any
from unittest import mock

from absl.testing import absltest
import numpy as np
import pytest

from common import signals
from export import guard
from export.on_device import training_file
from export.simulation import device
from export.simulation import device_pool
from tests.export import converted
from tests.export.on_device import trained
from tff_tasks.population import client_data

_HANG = 'import time; time.sleep(600)'
_EPOCHS, _BATCH_SIZE, _RATE, _CAPACITY = 2, 16, 0.25, 32


def _block(work: Any = (0, 0)) -> client_data.ClientDataset:
  """Returns two clients, of 25 and 17 examples, in a block that has memory for a third."""
  features, labels = trained.examples(count=3 * _CAPACITY)
  return client_data.ClientDataset(
    features=features,
    first=np.arange(3, dtype=np.int32) * _CAPACITY,
    index=np.arange(3, dtype=np.int32),
    labels=labels.reshape(3, _CAPACITY),
    memory=np.zeros((3, _size()), np.float32),
    num_examples=np.array([25, 17, 0], np.int32),
    seeds=np.arange(12, dtype=np.int32).reshape(3, 2, 2),
    work=np.tile(np.array(work, np.int32), (3, 1)),
  )


def _size() -> int:
  return sum(weight.size for weight in _open().get_weights())


def _open() -> training_file.TrainingFile:
  return training_file.TrainingFile.open(trained.folder()[1])


@pytest.mark.slow
class DevicePoolTest(absltest.TestCase):
  def _pool(self, num_devices: int = 1) -> device_pool.DevicePool:
    pool = device_pool.DevicePool(trained.folder()[1], num_devices, _size(), _EPOCHS, _BATCH_SIZE)
    return self.enterContext(contextlib.closing(pool))

  def _expect(self, row: int, epochs: int, batch_size: int) -> np.ndarray:
    block, file = _block(), _open()
    first, count = block.first[row], block.num_examples[row]
    client = device.Client(
      block.features[first : first + count], block.labels[row, :count], block.seeds[row, 0], epochs, batch_size
    )
    return device.train(file, device.Work(file.get_weights(), _RATE, [client]))[0]

  def test_fills_in_the_weights_that_clients_have_trained(self) -> None:
    pool = self._pool()
    self.assertEqual(pool.batch_size, 20)
    pool.begin_round(_open().get_weights(), _RATE)
    for work, expected in (((0, 0), (_EPOCHS, _BATCH_SIZE)), ((3, 8), (3, 8))):
      pool.fill([7, 9], block := _block(work))
      for row in range(2):
        np.testing.assert_array_equal(block.memory[row], self._expect(row, *expected))
      self.assertEmpty(block.memory[2].nonzero()[0])

  def test_no_tensorflow_there(self) -> None:
    with contextlib.closing(device_pool.Device(trained.folder()[1])) as started:
      self.assertEqual(started.wait(), device.Ready(20, has_tensorflow=False))

  def test_a_file_that_needs_tensorflow_is_refused(self) -> None:
    with (
      mock.patch.object(device_pool.Device, 'wait', return_value=device.Ready(20, has_tensorflow=True)),
      self.assertRaisesRegex(ValueError, '^Expected a training file that LiteRT runs alone, found one at .* Tensor'),
    ):
      self._pool()

  def test_a_device_that_is_killed_is_one_line(self) -> None:
    pool = self._pool(num_devices=2)
    pool.begin_round(_open().get_weights(), _RATE)
    for pid in pool.pids:
      os.kill(pid, signal.SIGKILL)
    with self.assertRaisesRegex(
      guard.Failed, '^Expected a device to train its clients, found .* crashed with SIGKILL$'
    ):
      pool.fill([7, 9], _block())

  def test_a_device_that_fails_says_why(self) -> None:
    pool = self._pool()
    pool.begin_round(_open().get_weights()[1:], _RATE)
    with self.assertRaisesRegex(
      guard.Failed, r'^Expected a device to train its clients, found .* ended with ValueError: zip'
    ):
      pool.fill([7, 9], _block())

  def test_another_file_is_refused(self) -> None:
    path = self.create_tempfile(content=converted.make('float32', trained.TABLE, trained.UNITS)).full_path
    expected = (
      '^Expected a device to train its clients, found that its process ended with ValueError: Expected a training'
    )
    with self.assertRaisesRegex(guard.Failed, expected):
      device_pool.DevicePool(path, 1, 1, 1, 1)

  def _start(self, program: str) -> device_pool.Device:
    with mock.patch.object(device_pool, '_PROGRAM', program):
      return self.enterContext(contextlib.closing(device_pool.Device('path')))

  def test_a_device_that_hangs_is_given_up(self) -> None:
    hanging = self._start(_HANG)
    with (
      mock.patch.object(device_pool, '_SECONDS', 0.1),
      self.assertRaisesRegex(guard.Failed, '^Expected a device to train its clients, found none of it after 0 s$'),
    ):
      hanging.wait()
    self.assertEqual(hanging._process.wait(10), -signal.SIGKILL)

  def test_nobody_waits_for_a_device_when_the_program_is_to_end(self) -> None:
    hanging = self._start(_HANG)
    with mock.patch.object(signals, 'received', return_value=signal.SIGINT), self.assertRaises(guard.Failed):
      hanging.wait()

  def test_a_device_that_answers_no_more_is_killed(self) -> None:
    mute = self._start(f'import os; os.close(1); {_HANG}')
    with (
      mock.patch.object(device_pool, '_SECONDS_TO_END', 0.1),
      self.assertRaisesRegex(guard.Failed, 'its process crashed with SIGKILL$'),
    ):
      mute.wait()

  def test_whoever_waits_for_a_killed_device_gets_an_error(self) -> None:
    hanging = self._start(_HANG)
    with futures.ThreadPoolExecutor(1) as pool:
      waiting = pool.submit(hanging.wait)
      hanging.kill()
      self.assertIsInstance(waiting.exception(10), guard.Failed)

  def test_ends_its_processes(self) -> None:
    pool = device_pool.DevicePool(trained.folder()[1], 2, _size(), 1, 1)
    pool.close()
    for pid in pool.pids:
      with self.assertRaises(ProcessLookupError):
        os.kill(pid, 0)


if __name__ == '__main__':
  absltest.main()
