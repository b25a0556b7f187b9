"""The code of this stage as one file that Beam installs on workers which do not share this machine's Python.

A wheel is a zip file with a few lines about itself, so making one takes no build tool, no network and no second list
of files. The same code gives the same bytes.
"""

import base64
import hashlib
from importlib import metadata
import os
import pathlib
import zipfile

from apache_beam.options import pipeline_options

# What this stage imports on workers, besides Beam and what Beam brings. Workers get the versions of this machine:
# another release of Arrow may write the same table in other bytes.
REQUIREMENTS = ('dp-accounting', 'isal', 'numpy', 'pillow', 'pyarrow', 'python-dp', 'tzdata')

_NAME = 'pocketfed_pipelines'
_ROOT = pathlib.Path(__file__).parents[2]
# What workers import.
_PACKAGES = ('common', 'contracts', 'pipelines')
# Zip files know no time before.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_LOCAL_RUNNERS = frozenset({None, 'DirectRunner', 'BundleBasedDirectRunner', 'SwitchingDirectRunner'})


def add_to(options: pipeline_options.PipelineOptions, folder: str) -> None:
  """Has Beam bring the code to its workers, as a file made in `folder`, unless they run on this machine.

  Workers that somebody else sets up (`--environment_type=EXTERNAL`) need it installed there before.
  """
  if options.view_as(pipeline_options.StandardOptions).runner in _LOCAL_RUNNERS:
    return
  setup = options.view_as(pipeline_options.SetupOptions)
  setup.extra_packages = [*(setup.extra_packages or []), write_wheel(folder)]


def write_wheel(folder: str) -> str:
  """Writes the wheel into the folder and returns its path, whose name holds a hash of the code."""
  files = {path.relative_to(_ROOT).as_posix(): path.read_bytes() for path in _find_files()}
  version = f'0+{_digest(repr(sorted(files.items())).encode()).hex()[:16]}'
  about = f'{_NAME}-{version}.dist-info'
  files |= {
    f'{about}/METADATA': _metadata(version).encode(),
    f'{about}/WHEEL': b'Wheel-Version: 1.0\nGenerator: pocketfed\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
  }
  record = ''.join(f'{name},sha256={_encode(_digest(content))},{len(content)}\n' for name, content in files.items())
  files[f'{about}/RECORD'] = f'{record}{about}/RECORD,,\n'.encode()
  path = os.path.join(folder, f'{_NAME}-{version}-py3-none-any.whl')
  with zipfile.ZipFile(path, 'w') as wheel:
    for name, content in files.items():
      wheel.writestr(zipfile.ZipInfo(name, _NO_TIME), content, zipfile.ZIP_DEFLATED)
  return path


def _find_files() -> list[pathlib.Path]:
  found = (path for package in _PACKAGES for path in (_ROOT / package).rglob('*'))
  return sorted(path for path in found if path.is_file() and '__pycache__' not in path.parts)


def _metadata(version: str) -> str:
  needs = ''.join(f'Requires-Dist: {name}=={metadata.version(name)}\n' for name in REQUIREMENTS)
  return f'Metadata-Version: 2.1\nName: {_NAME}\nVersion: {version}\n{needs}'


def _digest(content: bytes) -> bytes:
  return hashlib.sha256(content).digest()


def _encode(digest: bytes) -> str:
  return base64.urlsafe_b64encode(digest).rstrip(b'=').decode()
