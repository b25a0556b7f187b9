"""Runs pages in headless Chromium: serves them on loopback, and returns what they post."""

from collections.abc import Iterator, Mapping
import contextlib
import http.server
import mimetypes
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from typing import IO
import urllib.parse

from export import model_folder

_NAMES = ('chromium', 'chromium-browser', 'google-chrome')
_FLAGS = (
  '--headless',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
)
# What this machine may not know, or knows under another name.
_TYPES = {'.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm'}
_DONE, _ERROR = '/done', '/error'
_POLL_SECONDS = 0.5
_LOG_LENGTH = 400


class Failed(Exception):
  """A page did not come to its end; the message is the reason."""


def find(path: str | None) -> str:
  """Returns the path of the browser.

  Args:
    path: What a flag says; None: look for it.

  Raises:
    ValueError: If there is none.
  """
  found = shutil.which(path) if path else next(filter(None, map(shutil.which, _NAMES)), None)
  if not found:
    raise ValueError(
      f'Expected Chromium at {path or "one of " + ", ".join(_NAMES)}, found none: install it (on Debian: apt-get '
      'install chromium), or give its path by --chromium.'
    )
  return found


def run(chromium: str, site: Mapping[str, str | bytes], page: str, seconds: float) -> dict[str, bytes]:
  """Opens a page, and returns what it and others of the site have posted, by path, when one posts to /done.

  A page that fails posts the reason to /error.

  Args:
    chromium: The path of the browser.
    site: By path what is there: a content, or the path of a folder if the path ends with a slash.
    page: The path of the page, such as `/index.html`.
    seconds: How long to wait.

  Raises:
    Failed: If the page fails, the browser ends, or the time is over.
  """
  posted: queue.Queue[tuple[str, bytes]] = queue.Queue()
  found: dict[str, bytes] = {}
  deadline = time.monotonic() + seconds
  with serve(site, posted) as url, _start(chromium, f'{url}{page}') as (process, log):
    while _DONE not in found:
      try:
        path, content = posted.get(timeout=_POLL_SECONDS)
      except queue.Empty:
        _check_running(process, log, deadline, seconds)
        continue
      if path == _ERROR:
        raise Failed(content.decode(errors='replace'))
      found[path] = content
  del found[_DONE]
  return found


@contextlib.contextmanager
def serve(site: Mapping[str, str | bytes], posted: queue.Queue[tuple[str, bytes]] | None = None) -> Iterator[str]:
  """Serves a site on loopback, and yields its address, such as `http://127.0.0.1:8000`.

  Args:
    site: As in `run`.
    posted: Takes the path and the content of each request that posts.
  """

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
      path = urllib.parse.unquote(self.path.partition('?')[0])
      content = _read(site, path)
      self.send_response(200 if content is not None else 404)
      kind = _TYPES.get(pathlib.PurePosixPath(path).suffix) or mimetypes.guess_type(path)[0]
      self.send_header('Content-Type', kind or 'application/octet-stream')
      self.send_header('Content-Length', str(len(content or b'')))
      self.end_headers()
      self.wfile.write(content or b'')

    def do_POST(self) -> None:
      content = self.rfile.read(int(self.headers['Content-Length']))
      if posted is not None:
        posted.put((self.path, content))
      self.send_response(204)
      self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
      del format, args

  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
      yield f'http://127.0.0.1:{server.server_port}'
    finally:
      server.shutdown()
      thread.join()


def _read(site: Mapping[str, str | bytes], path: str) -> bytes | None:
  """Returns what is at a path of the site, if there is something."""
  found = site.get(path)
  if isinstance(found, bytes):
    return found
  for start, folder in site.items():
    name = path.removeprefix(start)
    if isinstance(folder, str) and name != path and model_folder.is_inside(name):
      inner = pathlib.Path(folder, name)
      if inner.is_file():
        return inner.read_bytes()
  return None


@contextlib.contextmanager
def _start(chromium: str, url: str) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
  # Root cannot have the sandbox of Chromium.
  unconfined = ['--no-sandbox'] if os.geteuid() == 0 else []
  with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, tempfile.TemporaryFile() as log:
    command = [chromium, *_FLAGS, *unconfined, f'--user-data-dir={profile}', url]
    process = subprocess.Popen(
      command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
    )
    try:
      yield process, log
    finally:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
      process.wait()


def _check_running(process: subprocess.Popen[bytes], log: IO[bytes], deadline: float, seconds: float) -> None:
  """Raises Failed if the browser has ended or the time is over."""
  code = process.poll()
  if code is not None:
    log.seek(0)
    text = ' '.join(log.read().decode(errors='replace').split())
    raise Failed(f'Chromium ended with exit code {code}: {text[-_LOG_LENGTH:]}')
  if time.monotonic() > deadline:
    raise Failed(f'took longer than its limit of {seconds:g} s')
