"""What MediaPipe's own reader finds in a TFLite file, as JSON: `python mediapipe_reader.py FOLDER < FILE`.

FOLDER has the package mediapipe 0.10.21. Its `__init__` would load OpenCV and more, which reading needs not; so the
packages above the reader are empty here. A program of its own, for its libraries are built for other versions of ours.
"""

import importlib
import json
import os
import sys
import types


def main() -> None:
  folder, content = sys.argv[1], sys.stdin.buffer.read()
  for name in ('mediapipe', 'mediapipe.tasks', 'mediapipe.tasks.python', 'mediapipe.tasks.cc'):
    package = types.ModuleType(name)
    package.__path__ = [os.path.join(folder, *name.split('.'))]
    sys.modules[name] = package
  sys.modules['tensorflow'] = None  # type: ignore[assignment]
  metadata = importlib.import_module('mediapipe.tasks.python.metadata.metadata')
  versions = importlib.import_module('mediapipe.tasks.cc.metadata.python._pywrap_metadata_version')
  found = metadata.MetadataDisplayer.with_model_buffer(content)
  names = found.get_packed_associated_file_list()
  result = {
    'metadata': json.loads(found.get_metadata_json()),
    'files': {name: found.get_associated_file_buffer(name).decode() for name in names},
    'parser': versions.GetMinimumMetadataParserVersion(bytes(metadata.get_metadata_buffer(content))),
  }
  # Which checks the numbers of inputs and outputs against the file, before it writes.
  metadata.MetadataPopulator.with_model_buffer(content).load_metadata_buffer(metadata.get_metadata_buffer(content))
  print(json.dumps(result))


if __name__ == '__main__':
  main()
