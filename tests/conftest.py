"""What absltest would do on its own, done for pytest; and the two tiers of tests (see `tiers`)."""

import atexit
from collections.abc import Iterator, Sequence
import os
import pathlib
import shutil
import signal
import sys
import tempfile
from typing import Any

from absl import flags
import hypothesis

# Its first import starts a process (lscpu), which a fast test must not do.
import numpy.testing  # noqa: F401
import pytest

from tests import tiers

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
# Few cases in the fast tier, which is for a first look.
hypothesis.settings.register_profile('fast', deadline=None, max_examples=10)

_FAST = 'not slow'
# The fast tests that run now: one or none.
_fast_tests: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
  """Lets tests read flags, ours and absltest's, at their defaults."""
  flags.FLAGS.mark_as_parsed()
  if config.option.markexpr == _FAST:
    hypothesis.settings.load_profile('fast')
  sys.addaudithook(_refuse_what_is_slow)


def pytest_ignore_collect(collection_path: pathlib.Path, config: pytest.Config) -> bool | None:
  """Leaves slow files unread in the fast tier: loading them takes long."""
  return True if config.option.markexpr == _FAST and collection_path in tiers.slow_files() else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
  """Marks the tests of slow files."""
  for item in items:
    if item.path in tiers.slow_files():
      item.add_marker('slow')


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
  """Notes that a fast test runs."""
  if item.get_closest_marker('slow') is None:
    _fast_tests.append(item.nodeid)
  try:
    return (yield)
  finally:
    _fast_tests.clear()


def _refuse_what_is_slow(event: str, arguments: tuple[object, ...]) -> None:
  if _fast_tests and (reason := tiers.refusal(event, arguments[0] if arguments else None)):
    raise AssertionError(reason)
