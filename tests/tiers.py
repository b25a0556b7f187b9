"""Which tests are slow: those that load TensorFlow, start a process, run a Beam job or draw.

What a file imports decides for all of its tests. A slow test of another file is marked `@pytest.mark.slow`.
"""

from collections.abc import Mapping
import functools
import pathlib
import re

from tests import layout

# Loading any of these takes seconds, or what one does with it.
SLOW_PACKAGES = frozenset({'matplotlib', 'tensorflow', 'tensorflow_federated'})
# What starts processes, if a test or its helper imports it.
_STARTS_PROCESSES = frozenset({'multiprocessing', 'pty', 'subprocess'})
# What is refused while a fast test runs (see `sys.addaudithook`).
_STARTS = frozenset({'os.exec', 'os.fork', 'os.forkpty', 'os.posix_spawn', 'os.system', 'subprocess.Popen'})
_REMEDY = 'mark it with @pytest.mark.slow.'
# Ruff gives each import its own line. Indented ones are loaded later, or never.
_IMPORT = re.compile(r'^(?:import|from) ([\w.]+)(?: import (\w+))?', re.MULTILINE)


def find_slow_files(texts: Mapping[str, str]) -> frozenset[str]:
  """Returns the paths of the tests that are slow, of the given Python files by path."""
  modules = {path.removesuffix('.py').removesuffix('/__init__').replace('/', '.'): path for path in texts}
  imports = {path: _imports(text) for path, text in texts.items()}

  def is_slow(path: str) -> bool:
    seen, to_do = {path}, [path]
    while to_do:
      path = to_do.pop()
      tops = {name.split('.')[0] for name in imports[path]}
      if tops & SLOW_PACKAGES or (path.startswith('tests/') and tops & _STARTS_PROCESSES):
        return True
      found = {modules[name] for name in imports[path] if name in modules} - seen
      seen |= found
      to_do += found
    return False

  return frozenset(path for path in texts if path.endswith('_test.py') and is_slow(path))


@functools.cache
def slow_files() -> frozenset[pathlib.Path]:
  """Returns the slow tests of this project."""
  paths = [path for path in layout.find_files() if path.endswith('.py')]
  return frozenset(
    layout.ROOT / path for path in find_slow_files({path: (layout.ROOT / path).read_text() for path in paths})
  )


def refusal(event: str, argument: object) -> str | None:
  """Returns why a fast test may not do what an event of `sys.addaudithook` and its first argument announce."""
  if event == 'import' and str(argument).split('.')[0] in SLOW_PACKAGES:
    return f'Expected a fast test to load none of {", ".join(sorted(SLOW_PACKAGES))}, found {argument}: {_REMEDY}'
  if event in _STARTS:
    return f'Expected a fast test to start no process, found {event}: {_REMEDY}'
  return None


def _imports(text: str) -> set[str]:
  """Returns the modules that a file imports when it is loaded; of `from a import b`, both `a` and `a.b`."""
  found = _IMPORT.findall(text)
  return {module for module, _ in found} | {f'{module}.{name}' for module, name in found if name}
