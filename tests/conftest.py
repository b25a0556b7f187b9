"""What absltest would do on its own, done for pytest."""

import atexit
import os
import shutil
import signal
import tempfile

from absl import flags
import hypothesis

# Before TensorFlow is loaded: its warnings about this machine's hardware would hide ours.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
# Before absltest reads it: tests that run side by side give their files the same names.
os.environ['TEST_TMPDIR'] = tempfile.mkdtemp(prefix='pocketfed-tests-')
atexit.register(shutil.rmtree, os.environ['TEST_TMPDIR'], ignore_errors=True)


# Programs that tests start inherit ignored signals, as under nohup or in the background of a shell.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
  signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)
# A busy machine must not fail a test: no time decides one.
hypothesis.settings.register_profile('untimed', deadline=None)
hypothesis.settings.load_profile('untimed')


def pytest_configure() -> None:
  """Lets tests read flags, ours and absltest's, at their defaults."""
  flags.FLAGS.mark_as_parsed()
