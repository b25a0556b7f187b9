"""Shows what a folder of client shards holds, for whoever may see the data: exact figures, nothing of them private.

    python -m pipelines.inspect --shards=DIR
    python -m pipelines.inspect --shards=DIR --verify
    python -m pipelines.inspect --shards=DIR --client=0

The first prints the figures and writes them with charts to DIR.html, beside the folder. The others do that one thing
instead: --verify reads everything and checks every checksum, --client shows one client with examples of its data.
"""

import os

from absl import flags

from common import cli
from common import printable

_SHARDS = flags.DEFINE_string('shards', None, 'The folder that pipelines.preprocess made.', required=True)
_VERIFY = flags.DEFINE_bool('verify', False, 'Check every file and every client; exit code 2 if one is damaged.')
_CLIENT = flags.DEFINE_string(
  'client', None, 'The client to show: its place among the training clients, from 0, or the start of its hashed id.'
)
_OUTPUT = flags.DEFINE_string('output', None, 'The HTML page to write; by default beside the folder, as SHARDS.html.')


def main() -> None:
  """Prints what the flags ask for."""
  from contracts import client_shards
  from pipelines.inspection import inspection
  from pipelines.inspection import inspection_report

  shards = client_shards.ClientShards(_SHARDS.value)
  if _VERIFY.value:
    entries = inspection.verify(shards)
    print(f'Every checksum holds: {len(shards.manifest["files"]):,} files, {entries:,} entries of clients.')
  if _CLIENT.value is not None:
    print(printable.show(inspection.describe_client(shards, inspection.find_client(shards, _CLIENT.value))))
  if not _VERIFY.value and _CLIENT.value is None:
    figures = inspection.measure(shards)
    print(printable.show(inspection_report.describe(figures)), flush=True)
    path = _OUTPUT.value or f'{os.path.abspath(_SHARDS.value)}.html'
    inspection_report.write_page(figures, path)
    print(f'\nThe same with charts is in {path}.')


if __name__ == '__main__':
  cli.run(main)
