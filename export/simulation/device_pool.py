"""Devices that train the clients of rounds: a few processes, each of which is many clients one after the other."""

from collections.abc import Sequence
import contextlib
import os
import pickle
import queue
import select
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from common import signals
from export import guard
from export.simulation import device

_PROGRAM = 'import sys; from export.simulation import device; device.serve(int(sys.argv[1]), sys.argv[2])'


# For a client's work, or for the start: far more than either takes.
_SECONDS = 600.0
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_END = 10.0


class Device:
  """A process of `device.serve`.

  Args:
    path: The training file.
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
      guard.Failed: If it ends before, or takes too long.
    """
    ready: device.Ready = self._read(_SECONDS)
    return ready

  def train(self, work: device.Work) -> np.ndarray:
    """Returns what `device.train` returns.

    Raises:
      guard.Failed: If the process ends meanwhile, or takes too long.
    """
    with contextlib.suppress(BrokenPipeError):  # It has ended: reading says why.
      pickle.dump(work, self._requests, pickle.HIGHEST_PROTOCOL)
      self._requests.flush()
    trained: np.ndarray = self._read(_SECONDS * len(work.clients))
    return trained

  def kill(self) -> None:
    """Ends the process; whoever waits for its answer gets an error."""
    self._process.kill()

  def close(self) -> None:
    """Ends the process, for whom nobody waits any more."""
    self.kill()
    self._process.wait()
    for stream in (self._requests, self._answers, self._log):
      with contextlib.suppress(BrokenPipeError):
        stream.close()

  def _read(self, seconds: float) -> Any:
    if not self._has_answered(seconds):
      self.kill()
      raise guard.Failed(f'Expected a device to train its clients, found none of it after {seconds:,.0f} s')
    try:
      return pickle.load(self._answers)
    except (EOFError, pickle.UnpicklingError) as error:
      code = self._end()
      self._log.seek(0)
      reason = guard.describe_end(code, self._log.read().decode(errors='replace'))
      ended = '' if reason.startswith(('crashed', 'ended')) else 'ended with '
      raise guard.Failed(f'Expected a device to train its clients, found that its process {ended}{reason}') from error

  def _has_answered(self, seconds: float) -> bool:
    """Waits for an answer or the end of the process; gives up after so long, or when this program is to end."""
    deadline = time.monotonic() + seconds
    while not select.select([self._answers], [], [], _SECONDS_BETWEEN_LOOKS)[0]:
      if time.monotonic() > deadline or signals.received() is not None:
        return False
    return True

  def _end(self) -> int:
    """Returns the exit code of a process that answers no more; one that does not end by itself is killed."""
    try:
      return self._process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
      self.kill()
      return self._process.wait()


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

  def kill(self) -> None:
    """Ends the processes, so that nobody waits for them any more."""
    for one in self._devices:
      one.kill()

  def close(self) -> None:
    """Ends the processes, and closes what leads to them."""
    self._open.close()

  def _client(self, block: Any, row: int) -> device.Client:
    first, count = int(block.first[row]), int(block.num_examples[row])
    own = tuple(map(int, block.work[row]))
    epochs, batch_size = own if all(own) else self._own_work
    features, labels = block.features[first : first + count], block.labels[row, :count]
    return device.Client(features, labels, block.seeds[row, 0], epochs, batch_size)
