"""What absltest would do on its own, done for pytest."""

import os

from absl import flags

# Before TensorFlow is loaded: its warnings about this machine's hardware would hide ours.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')


def pytest_configure() -> None:
  """Lets tests read flags, ours and absltest's, at their defaults."""
  flags.FLAGS.mark_as_parsed()
