"""Packs the code of this stage for workers that are set up by hand: a container image or a pool of workers.

    python -m pipelines.package --output_dir=DIR
    pip install DIR/*.whl    # there

Where Beam sets up the workers itself (Dataflow, Docker), pipelines.preprocess sends the same file along.
"""

import os

from absl import flags

from common import cli

_OUTPUT_DIR = flags.DEFINE_string('output_dir', None, 'The folder to put the wheel into.', required=True)


def main() -> None:
  """Writes the wheel and names it."""
  from pipelines.execution import packaging

  os.makedirs(_OUTPUT_DIR.value, exist_ok=True)
  print(packaging.write_wheel(_OUTPUT_DIR.value))


if __name__ == '__main__':
  cli.run(main)
