import dataclasses
import io
import os
import signal
import subprocess
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import psutil

from tests import layout
from tests import preloaded
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tff_tasks.runtime import server
from tff_tasks.runtime import tff as tff_runtime
from tff_tasks.training import progress
from tff_tasks.training import run as run_lib

# A program that says who it is, starts the server, says so, and ends in one of the ways that programs end.
_PROGRAM = """
import os
import sys
import tensorflow_federated as tff
from common import cli
from tff_tasks.runtime import tff as tff_runtime

@tff.federated_computation
def initialize():
  return tff.federated_value(0, tff.SERVER)

class Process:
  initialize = initialize

def main():
  print(os.getpid())
  runtime = tff_runtime.TffRuntime(Process)
  runtime.initialize()
  print('started', runtime.choice, sep='\\n', flush=True)
  sys.stdin.readline()  # Until its children have been looked at.
  ending = sys.argv[-1]
  if ending == 'raise':
    raise RuntimeError('on purpose')
  if ending == 'exit':
    sys.exit(3)
  if ending == 'close':
    runtime.close()
    runtime.close()

sys.argv, arguments = sys.argv[:1], sys.argv
ending = arguments[-1]
def run():
  sys.argv.append(ending)
  main()
cli.run(run)
"""


class TffRuntimeTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('at_its_end', 'end', None, 0),
    ('closed', 'close', None, 0),
    ('exit', 'exit', None, 3),
    ('exception', 'raise', None, 1),
    ('terminated', 'wait', signal.SIGTERM, 128 + signal.SIGTERM),
    ('killed', 'wait', signal.SIGKILL, -signal.SIGKILL),
    ('interrupted', 'wait', signal.SIGINT, 128 + signal.SIGINT),
  )
  def test_leaves_no_server_behind(self, ending: str, sent: signal.Signals | None, code: int) -> None:
    client = subprocess.Popen(
      [preloaded.python(), '-c', _PROGRAM, ending],
      cwd=layout.ROOT,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
      env={**os.environ, 'PYTHONPATH': str(layout.ROOT)},
    )
    assert client.stdin is not None
    assert client.stdout is not None
    try:
      pid = int(client.stdout.readline())
      self.assertEqual(client.stdout.readline(), 'started\n')
      children = psutil.Process(pid).children(recursive=True)
      self.assertEqual([child.name() == 'worker_binary' for child in children], [False, True])  # Its keeper, and it.
      self._check_who_reaches(children[1], client.stdout.readline())
      if sent is None:
        print(file=client.stdin, flush=True)
      else:
        os.kill(pid, sent)
      self.assertEqual(client.wait(30), code)
    finally:
      client.kill()
      client.stdin.close()
      client.stdout.close()
    self._wait_for_end(children)

  def _check_who_reaches(self, binary: psutil.Process, said: str) -> None:
    """Either nothing listens on the server's port outside of its own network, or that is said."""
    port = int(next(word for word in binary.cmdline() if word.startswith('--port=')).removeprefix('--port='))
    listening = [each for each in psutil.net_connections('tcp') if each.status == psutil.CONN_LISTEN]
    is_open = any(each.laddr and each.laddr.port == port for each in listening)
    self.assertEqual(said, f'{server.IS_OPEN}\n' if is_open else '\n')

  def _wait_for_end(self, processes: list[psutil.Process]) -> None:
    deadline = time.monotonic() + 10
    while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
      self.assertLess(time.monotonic(), deadline, 'a worker_binary or its keeper was left behind')
      time.sleep(0.1)


class RunTest(absltest.TestCase):
  """What the end of the server means for a run, and that its remedies work."""

  def setUp(self) -> None:
    super().setUp()
    runs.make_small(self)
    self._folder = self.create_tempdir().full_path
    self._shards = fakes.write_shards(os.path.join(self._folder, 'shards'))
    self._stream = io.StringIO()

  def _train(self, name: str = 'run', runtime: str = 'tff') -> None:
    config = dataclasses.replace(
      fakes.CONFIG, output_dir=os.path.join(self._folder, name), runtime=runtime, noise_multiplier=0.0
    )
    run_lib.train(config, self._shards, f'--runtime={runtime}\n', self._stream)

  def _kill(self, round_number: int) -> None:
    """Stands in for the end of a round: after the third, which has a checkpoint, the server is killed."""
    if round_number == 3:
      (binary,) = (each for each in psutil.Process().children(recursive=True) if each.name() == 'worker_binary')
      binary.kill()

  def test_a_server_that_ends_is_one_message_and_the_run_goes_on(self) -> None:
    message = "^Expected TFF's server to run, found that it ended: repeat the command to go on .*=local in a new --outp"
    with mock.patch.object(progress.Progress, 'tick', self._kill), self.assertRaisesRegex(ValueError, message):
      self._train()
    self._train()
    self.assertIn('Resuming after round 3', self._stream.getvalue())
    self.assertIn('round 4/4', self._stream.getvalue())

  def test_without_a_server_the_local_runtime_trains(self) -> None:
    message = "^Expected TFF's server to start, found that it ended: .* --runtime=local in a new --output_dir"
    with mock.patch.object(tff_runtime, '_BINARY', '/bin/false'), self.assertRaisesRegex(ValueError, message):
      self._train()
    self.assertEqual(os.listdir(self._folder), ['shards'])
    self._train('other', 'local')
    self.assertIn('round 4/4', self._stream.getvalue())


if __name__ == '__main__':
  absltest.main()
