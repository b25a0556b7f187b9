"""Figures for TensorBoard, in an event file that is written a record a step.

`tf.summary` takes an operation of TensorFlow a figure, which is more than a small round takes.
"""

from collections.abc import Iterator, Mapping
import contextlib
import errno
import glob
import os
import time

import tensorflow as tf


class EventFile:
  """The one event file of a folder, whatever was there before.

  Args:
    folder: Where it is; made if missing.

  Raises:
    OSError: If it cannot be written, now or later.
  """

  def __init__(self, folder: str) -> None:
    os.makedirs(folder, exist_ok=True)
    for stale in glob.glob(os.path.join(glob.escape(folder), 'events.*')):
      os.remove(stale)
    # A name of its own: a TensorBoard that has the old file open would go on reading in the middle of the new one.
    self._path = os.path.join(folder, f'events.out.tfevents.{time.time_ns()}')
    with _tensorflow_errors(self._path):
      self._writer = tf.io.TFRecordWriter(self._path)
    self._write(tf.compat.v1.Event(file_version='brain.Event:2'))

  def add(self, step: int, figures: Mapping[str, float]) -> None:
    """Adds the figures of a step."""
    values = [tf.compat.v1.Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
    self._write(tf.compat.v1.Event(step=step, summary=tf.compat.v1.Summary(value=values)))

  def close(self) -> None:
    """Writes out what is still buffered."""
    with _tensorflow_errors(self._path):
      self._writer.close()

  def _write(self, event: tf.compat.v1.Event) -> None:
    event.wall_time = time.time()
    with _tensorflow_errors(self._path):
      self._writer.write(event.SerializeToString())
      self._writer.flush()


@contextlib.contextmanager
def _tensorflow_errors(path: str) -> Iterator[None]:
  """Turns what TensorFlow raises when it cannot write a file into what Python raises."""
  try:
    yield
  except tf.errors.OpError as error:
    raise OSError(errno.EIO, error.message, path) from error
