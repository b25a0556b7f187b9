"""Devices that train the clients of rounds: a few processes, each of which is many clients one after the other."""

from collections.abc import Sequence
import contextlib
import os
import pickle
import queue
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from export import guard
from export.simulation import device

_PROGRAM = 'import sys; from export.simulation import device; device.serve(int(sys.argv[1]), sys.argv[2])'


class Device:
  """A process of `device.serve`.

  Attributes:
    ready: What it said of itself.

  Args:
    path: The training file.

  Raises:
    guard.Failed: If it ends before it is ready.
  """

  def __init__(self, path: str) -> None:
    self._log = tempfile.TemporaryFile()  # noqa: SIM115
    self._process = subprocess.Popen(
      [sys.executable, '-c', _PROGRAM, str(os.getpid()), path],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._log,
      env=guard.environment(),
      start_new_session=True,
    )
    if not self._process.stdin or not self._process.stdout:
      raise ValueError('Expected pipes to a device, found none.')
    self._requests, self._answers = self._process.stdin, self._process.stdout

  @property
  def pid(self) -> int:
    return self._process.pid

  def wait(self) -> device.Ready:
    """Waits until it is ready.

    Raises:
      guard.Failed: If it ends before.
    """
    ready: device.Ready = self._read()
    return ready

  def train(self, work: device.Work) -> np.ndarray:
    """Returns what `device.train` returns.

    Raises:
      guard.Failed: If the process ends meanwhile.
    """
    with contextlib.suppress(BrokenPipeError):  # It has ended: reading says why.
      pickle.dump(work, self._requests, pickle.HIGHEST_PROTOCOL)
      self._requests.flush()
    trained: np.ndarray = self._read()
    return trained

  def close(self) -> None:
    """Ends the process."""
    self._process.kill()
    self._process.wait()
    for stream in (self._requests, self._answers, self._log):
      with contextlib.suppress(BrokenPipeError):
        stream.close()

  def _read(self) -> Any:
    try:
      return pickle.load(self._answers)
    except (EOFError, pickle.UnpicklingError) as error:
      code = self._process.wait()
      self._log.seek(0)
      reason = guard.describe_end(code, self._log.read().decode(errors='replace'))
      raise guard.Failed(f'Expected a device to train its clients, found that its process {reason}') from error


class DevicePool:
  """A `client_data.Memory`: what clients bring to a round are the weights that their devices have made.

  Attributes:
    size: The numbers of the weights.
    batch_size: Of the training file.

  Args:
    path: The training file.
    num_devices: Processes; as many blocks of clients train at the same time.
    size: As above.
    epochs: Of a client that has none of its own.
    batch_size: Examples a step of a client that has none of its own.

  Raises:
    ValueError: If the file needs TensorFlow, which is on no phone.
    guard.Failed: If one of them does not start.
  """

  def __init__(self, path: str, num_devices: int, size: int, epochs: int, batch_size: int) -> None:
    self.size = size
    self._own_work = epochs, batch_size
    self._weights: Sequence[np.ndarray] = ()
    self._learning_rate = 0.0
    self._free: queue.SimpleQueue[Device] = queue.SimpleQueue()
    with contextlib.ExitStack() as stack:
      self._devices = [stack.enter_context(contextlib.closing(Device(path))) for _ in range(num_devices)]
      ready = [one.wait() for one in self._devices]
      if any(one.has_tensorflow for one in ready):
        raise ValueError(
          f'Expected a training file that LiteRT runs alone, found one at {path} that loads TensorFlow: export with '
          '--variants=train.'
        )
      self.batch_size = ready[0].batch_size
      self._open = stack.pop_all()
    for one in self._devices:
      self._free.put(one)

  @property
  def pids(self) -> list[int]:
    """The processes."""
    return [one.pid for one in self._devices]

  def begin_round(self, weights: Sequence[np.ndarray], learning_rate: float) -> None:
    """Takes what the server sends to the clients of a round."""
    self._weights, self._learning_rate = weights, learning_rate

  def fill(self, clients: list[int], block: Any) -> None:
    """Trains clients on the next free device; see `client_data.Memory`.

    Raises:
      guard.Failed: If the process of the device ends.
    """
    own = self._free.get()
    try:
      block.memory[: len(clients)] = own.train(
        device.Work(list(self._weights), self._learning_rate, [self._client(block, row) for row in range(len(clients))])
      )
    finally:
      self._free.put(own)

  def close(self) -> None:
    """Ends the processes."""
    self._open.close()

  def _client(self, block: Any, row: int) -> device.Client:
    first, count = int(block.first[row]), int(block.num_examples[row])
    own = tuple(map(int, block.work[row]))
    epochs, batch_size = own if all(own) else self._own_work
    features, labels = block.features[first : first + count], block.labels[row, :count]
    return device.Client(features, labels, block.seeds[row, 0], epochs, batch_size)
