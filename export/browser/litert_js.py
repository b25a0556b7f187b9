"""LiteRT.js, the device's runtime for web pages: the files of its npm packages that a page needs.

They are copied into the model folder, so that its page needs no other server.
"""

from collections.abc import Iterable
import json
import os
import pathlib
from typing import Any

from export import model_folder

_SCOPE = '@litertjs'
PACKAGE = f'{_SCOPE}/core'
# Where npm puts it.
FOLDER = f'node_modules/{PACKAGE}'
# Of the files that are copied.
WASM = 'wasm'
_MODULE = 'index.js'
# One for browsers with relaxed SIMD, one for the others; with threads a page would need a server of its own.
_BUILDS = ('litert_wasm_internal', 'litert_wasm_compat_internal')
# The version that is tested; other versions of the same major number should do.
VERSION = '2.5.3'
INSTALL = f'npm install {PACKAGE}@{VERSION}'
_REMEDY = f'type {INSTALL}, and give {FOLDER}'


def read(folder: str) -> dict[str, bytes]:
  """Returns the files that a page needs, by name, such as `core/index.js` and `wasm/litert_wasm_internal.wasm`.

  Args:
    folder: Of the npm package, as npm installs it: beside or above the packages that it depends on.

  Raises:
    ValueError: If it is not there, or has not these files.
  """
  package = _read_package(pathlib.Path(folder))
  if package.get('name') != PACKAGE:
    raise _wrong(folder, f'the package {package.get("name")}')
  if str(package.get('version')).partition('.')[0] != VERSION.partition('.')[0]:
    raise _wrong(folder, f'version {package.get("version")}')
  found: dict[str, bytes] = {}
  for name in (PACKAGE, *package.get('dependencies', {})):
    inner = pathlib.Path(folder) if name == PACKAGE else _find_dependency(pathlib.Path(folder), name)
    found |= _read_module(inner, name.removeprefix(f'{_SCOPE}/'))
  for build in _BUILDS:
    for suffix in ('js', 'wasm'):
      found[f'{WASM}/{build}.{suffix}'] = _read(pathlib.Path(folder, WASM, f'{build}.{suffix}'))
  return found


def imports(runtime: Iterable[str], url: str) -> dict[str, dict[str, str]]:
  """Returns the import map with which a page finds the packages.

  Args:
    runtime: The names of the files.
    url: Where they are served.
  """
  names = {name.partition('/')[0] for name in runtime} - {WASM}
  return {'imports': {f'{_SCOPE}/{name}': f'{url}/{name}/{_MODULE}' for name in sorted(names)}}


def read_published(folder: str) -> dict[str, bytes]:
  """Returns the files that an export with a page has copied.

  Args:
    folder: Where they are in the model folder.

  Raises:
    ValueError: If there are none.
  """
  names = model_folder.find_files(folder)
  if not names:
    raise ValueError(f'Expected LiteRT.js at {folder}, found none: {_REMEDY} by --litert_js.')
  return {name: _read(pathlib.Path(folder, name)) for name in names}


def _read_package(folder: pathlib.Path) -> dict[str, Any]:
  try:
    found = json.loads(_read(folder / 'package.json'))
  except ValueError as error:
    raise _wrong(folder, 'no npm package') from error
  if not isinstance(found, dict):
    raise _wrong(folder, 'no npm package')
  return found


def _find_dependency(folder: pathlib.Path, name: str) -> pathlib.Path:
  """Returns the folder of a package that another one depends on, where Node looks for it."""
  for parent in (folder, *folder.resolve().parents):
    found = parent / 'node_modules' / name
    if found.is_dir():
      return found
  raise _wrong(folder, f'no {name} beside it')


def _read_module(folder: pathlib.Path, short_name: str) -> dict[str, bytes]:
  main = folder / _read_package(folder).get('main', _MODULE)
  if main.name != _MODULE:
    raise _wrong(folder, f'{main.name} as its module')
  # The latter says which version it is, and under which licence.
  paths = [*sorted({main, *main.parent.glob('*.js')}), folder / 'package.json']
  return {f'{short_name}/{path.name}': _read(path) for path in paths}


def _read(path: pathlib.Path) -> bytes:
  try:
    return path.read_bytes()
  except OSError as error:
    raise _wrong(path, error.strerror) from error


def _wrong(path: str | os.PathLike[str], found: str | None) -> ValueError:
  return ValueError(f'Expected the npm package {PACKAGE} at {path}, found {found}: {_REMEDY}.')
