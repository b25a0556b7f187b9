"""A real Apache Flink cluster on this machine, for a test: a job manager, task managers and a pool of Python workers.

It uses ports that were free, on loopback as far as Flink and Beam can be told to (Flink's blob server and Beam's own
services cannot), keeps its files in one temporary folder, and is gone with it.

Flink comes out of the job server that Beam fetches from Maven Central for itself: that one file also holds the Flink it
was built for, with the programs of a standalone cluster. The release is the newest whose job server the registry that
this project is tested with has; it speaks the portable protocol of today's Beam. POCKETFED_FLINK_JOB_SERVER names the
file of another one to try.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any
from urllib import request

from apache_beam.utils import subprocess_server

from tests.pipelines import processes as processes_lib

_ARTIFACT = 'beam-runners-flink-1.12-job-server'
_BEAM = '2.34.0'
_SHA256 = '445793c3819ea8d2a894b00af4f9eb40e4b078e4d59124becec1244cf2c1d899'

_JOB_MANAGER = 'org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint'
_TASK_MANAGER = 'org.apache.flink.runtime.taskexecutor.TaskManagerRunner'
# Small and quick to start rather than quick to run.
_JAVA_OPTIONS = ('-Xmx320m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1')
# What a Flink of that time looks into, and Java has closed since.
_OPENED = (
  'java.lang',
  'java.lang.ref',
  'java.net',
  'java.nio',
  'java.util',
  'java.util.concurrent',
  'sun.net.util',
  'sun.nio.ch',
)
_SECONDS_TO_START = 120

# What `python -m apache_beam.runners.worker.worker_pool_main` does, but that listens on every interface, and expects a
# pool beside each task manager: two of them name their workers alike, so that one would stop those of the other. Here a
# worker ends by itself when its task manager is done with it.
_WORKER_POOL = """
import concurrent.futures, sys
import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.worker import worker_pool_main

class Pool(worker_pool_main.BeamFnExternalWorkerPoolServicer):
  def StopWorker(self, request, context):
    return beam_fn_api_pb2.StopWorkerResponse()

server = grpc.server(concurrent.futures.ThreadPoolExecutor())
beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(Pool(use_process=True), server)
server.add_insecure_port(sys.argv[1])
server.start()
server.wait_for_termination()
"""
# Workers stay for the next step of the job: starting one takes seconds.
_MILLISECONDS_KEPT = 60_000


class Unavailable(Exception):
  """What this machine lacks to run Flink."""


@dataclasses.dataclass(frozen=True)
class Cluster:
  """A running cluster.

  Attributes:
    address: Of the job manager's REST interface.
    folder: Where its files and logs are.
    job_server: The file that Beam has to use with it.
    processes: The job manager, then the task managers.
  """

  address: str
  folder: pathlib.Path
  job_server: str
  processes: Sequence[subprocess.Popen[bytes]]

  def ask(self, path: str) -> Any:
    with request.urlopen(f'http://{self.address}/{path}', timeout=10) as answer:
      return json.load(answer)

  def beam_flags(self, worker_pool: str) -> list[str]:
    """Returns the flags that make Beam run a pipeline here, its Python code in the pool."""
    return [
      '--runner=FlinkRunner',
      f'--flink_master={self.address}',
      f'--flink_job_server_jar={self.job_server}',
      f'--parallelism={len(self.processes) - 1}',
      '--environment_type=EXTERNAL',
      f'--environment_config={worker_pool}',
      f'--environment_cache_millis={_MILLISECONDS_KEPT}',
    ]

  def at_work(self, step: str) -> set[str]:
    """Returns which task managers got records to work on in the steps that have this in their names."""
    found = set()
    for job in self.ask('jobs')['jobs']:
      for vertex in self.ask(f'jobs/{job["id"]}')['vertices']:
        if step in vertex['name']:
          managers = self.ask(f'jobs/{job["id"]}/vertices/{vertex["id"]}/taskmanagers')['taskmanagers']
          found |= {manager['host'] for manager in managers if manager['metrics']['read-records']}
    return found


def find_job_server() -> str:
  """Returns the path of Beam's job server, fetched into Beam's own cache the first time.

  Raises:
    Unavailable: If there is no Java, or no way to fetch the file.
  """
  if not shutil.which('java'):
    raise Unavailable('Expected Java 11 or 17 to run Flink, found none on the PATH.')
  given = os.environ.get('POCKETFED_FLINK_JOB_SERVER')
  if given:
    return given
  server = subprocess_server.JavaJarServer
  try:
    path = server.local_jar(server.path_to_maven_jar(_ARTIFACT, server.BEAM_GROUP_ID, _BEAM))
  except (OSError, RuntimeError) as error:
    raise Unavailable(f'Expected to fetch {_ARTIFACT} {_BEAM} from Maven Central, found {error}') from error
  with open(path, 'rb') as file:
    found = hashlib.file_digest(file, 'sha256').hexdigest()
  if found != _SHA256:
    raise ValueError(f'Expected {path} to have the SHA-256 {_SHA256}, found {found}: delete it.')
  return path


@contextlib.contextmanager
def run_cluster(job_server: str, num_task_managers: int = 2) -> Iterator[Cluster]:
  """Runs a cluster with one slot per task manager."""
  with contextlib.ExitStack() as stack:
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='flink-')))
    rest_port, rpc_port = processes_lib.find_ports(2)
    _configure(folder, rest_port, rpc_port, num_task_managers)
    mains = [_JOB_MANAGER] + [_TASK_MANAGER] * num_task_managers
    processes = [
      stack.enter_context(processes_lib.running(_java(folder, job_server, main), folder / f'{number}.log'))
      for number, main in enumerate(mains)
    ]
    cluster = Cluster(f'127.0.0.1:{rest_port}', folder, job_server, processes)
    _wait_for(cluster)
    yield cluster


@contextlib.contextmanager
def run_worker_pool(code: str, folder: pathlib.Path) -> Iterator[str]:
  """Runs a pool of Python workers that have Beam and what is installed in `code`; gives its address.

  They start in an empty folder inside `folder`: nothing of the source tree is within their reach.
  """
  address = f'127.0.0.1:{processes_lib.find_ports(1)[0]}'
  empty = folder / 'worker'
  empty.mkdir()
  path = f'{os.path.dirname(sys.executable)}{os.pathsep}{os.environ["PATH"]}'
  command = [sys.executable, '-c', _WORKER_POOL, address]
  with processes_lib.running(command, folder / 'worker.log', empty, PATH=path, PYTHONPATH=code):
    yield address


def call(command: Sequence[str], cluster: Cluster, timeout: float) -> None:
  """Runs a program that submits a job, with its temporary files and those of the job server in the cluster's folder.

  Raises:
    RuntimeError: If it fails or takes too long; holds the end of what it and the cluster printed.
  """
  java = ' '.join([*_JAVA_OPTIONS, f'-Djava.io.tmpdir={cluster.folder}'])
  log = cluster.folder / 'call.log'
  with processes_lib.running(command, log, TMPDIR=str(cluster.folder), JAVA_TOOL_OPTIONS=java) as process:
    try:
      code = process.wait(timeout)
    except subprocess.TimeoutExpired:
      code = None
  if code != 0:
    raise RuntimeError(f'Expected {command[:3]} to end well, found exit code {code}.\n{_tails(cluster.folder)}')


def _java(folder: pathlib.Path, job_server: str, main: str) -> list[str]:
  opened = [option for package in _OPENED for option in ('--add-opens', f'java.base/{package}=ALL-UNNAMED')]
  place = [f'-Djava.io.tmpdir={folder}', '-classpath', job_server]
  return ['java', *_JAVA_OPTIONS, *opened, *place, main, '--configDir', str(folder)]


def _configure(folder: pathlib.Path, rest_port: int, rpc_port: int, parallelism: int) -> None:
  host = '127.0.0.1'
  values: Mapping[str, object] = {
    'blob.storage.directory': folder,
    # The job brings the same file; a second copy of its classes could not keep the workers of the first.
    'classloader.resolve-order': 'parent-first',
    'io.tmp.dirs': folder,
    'jobmanager.bind-host': host,
    'jobmanager.memory.process.size': '800m',
    'jobmanager.rpc.address': host,
    'jobmanager.rpc.port': rpc_port,
    'parallelism.default': parallelism,
    'rest.address': host,
    'rest.bind-address': host,
    'rest.port': rest_port,
    'taskmanager.bind-host': host,
    'taskmanager.cpu.cores': 1.0,
    'taskmanager.host': host,
    'taskmanager.memory.framework.heap.size': '64m',
    'taskmanager.memory.framework.off-heap.size': '64m',
    'taskmanager.memory.jvm-metaspace.size': '192m',
    'taskmanager.memory.jvm-overhead.max': '64m',
    'taskmanager.memory.jvm-overhead.min': '64m',
    'taskmanager.memory.managed.size': '64m',
    'taskmanager.memory.network.max': '32m',
    'taskmanager.memory.network.min': '32m',
    'taskmanager.memory.task.heap.size': '192m',
    'taskmanager.memory.task.off-heap.size': '0m',
    'taskmanager.numberOfTaskSlots': 1,
    'web.submit.enable': 'false',
  }
  text = ''.join(f'{name}: {value}\n' for name, value in values.items())
  for name in ('flink-conf.yaml', 'config.yaml'):  # The name before Flink 2.0, and the one since.
    (folder / name).write_text(text)


def _wait_for(cluster: Cluster) -> None:
  deadline = time.monotonic() + _SECONDS_TO_START
  while time.monotonic() < deadline and all(process.poll() is None for process in cluster.processes):
    with contextlib.suppress(OSError):
      if cluster.ask('overview')['slots-available'] == len(cluster.processes) - 1:
        return
    time.sleep(0.2)
  raise RuntimeError(f'Expected Flink to start, found this.\n{_tails(cluster.folder)}')


def _tails(folder: pathlib.Path) -> str:
  return '\n'.join(f'{path.name}:\n{path.read_text(errors="replace")[-2000:]}' for path in sorted(folder.glob('*.log')))
