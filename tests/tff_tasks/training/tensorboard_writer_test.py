"""Tests that figures are in a file that TensorBoard takes for one of its own, from the moment that they are added."""

import glob
import os
import tempfile
import time
from unittest import mock

from absl.testing import absltest
import tensorflow as tf

from tff_tasks.training import tensorboard_writer


class EventFileTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._folder = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), 'run[1]', 'operator/tensorboard')

  def _read(self) -> dict[str, list[tuple[int, float]]]:
    """Returns the steps and values of each figure."""
    (path,) = glob.glob(os.path.join(glob.escape(self._folder), '*tfevents*'))
    version, *events = tf.compat.v1.train.summary_iterator(path)
    self.assertEqual(version.file_version, 'brain.Event:2')
    figures: dict[str, list[tuple[int, float]]] = {}
    for event in events:
      self.assertAlmostEqual(event.wall_time, time.time(), delta=60)
      for value in event.summary.value:
        figures.setdefault(value.tag, []).append((event.step, value.simple_value))
    return figures

  def test_is_read_before_it_is_closed(self) -> None:
    events = tensorboard_writer.EventFile(self._folder)
    self.addCleanup(events.close)
    events.add(0, {'loss': 4.5})
    events.add(2, {'loss': 0.25, 'clients': 7})
    self.assertEqual(self._read(), {'loss': [(0, 4.5), (2, 0.25)], 'clients': [(2, 7.0)]})

  def test_replaces_what_was_there_under_another_name(self) -> None:
    names = []
    for step in (1, 2):
      events = tensorboard_writer.EventFile(self._folder)
      events.add(step, {'loss': 1.0})
      events.close()
      names += glob.glob('events.out.tfevents.*', root_dir=self._folder)
    self.assertLen(set(names), 2)
    self.assertEqual(self._read(), {'loss': [(2, 1.0)]})

  def test_a_full_disk_is_an_error_of_the_system(self) -> None:
    events = tensorboard_writer.EventFile(self._folder)
    self.addCleanup(events.close)
    full = tf.errors.ResourceExhaustedError(None, None, 'No space left on device')
    with (
      mock.patch.object(tf.io.TFRecordWriter, 'flush', side_effect=full),
      self.assertRaisesRegex(OSError, 'No space left on device'),
    ):
      events.add(1, {'loss': 1.0})


if __name__ == '__main__':
  absltest.main()
