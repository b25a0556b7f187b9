"""Reads damaged files of every format, in a process of bounded memory: each is read, or refused in one line.

    python -m tests.pipelines.readers.fuzz --seconds=3600 --seed=7

prints what it found: other exceptions, memory that grows, files that take long, a process that died. The same seed
makes the same files.
"""

import sys

from absl import flags

from common import cli
from tests.pipelines.readers import fuzz_files
from tests.pipelines.readers import fuzzing

_SECONDS = flags.DEFINE_float('seconds', 60, 'How long to go on.', lower_bound=0)
_SEED = flags.DEFINE_integer('seed', 0, 'Of the mutations.')
_RUNS = flags.DEFINE_integer('runs', 0, 'How many files of each format at most; 0: as many as there is time for.')
_FORMATS = flags.DEFINE_list('formats', list(fuzz_files.FORMATS), 'Which formats.')
_BOMBS = flags.DEFINE_bool('bombs', False, 'Read the files that ask for too much memory instead of damaged ones.')
_INSIDE = flags.DEFINE_bool('inside', False, 'Read the files in this process, as the child of another.')


def main() -> None:
  """Looks for files that are not read as they should be."""
  if _BOMBS.value and _INSIDE.value:
    fuzzing.read_bombs(_FORMATS.value)
    return
  if _INSIDE.value:
    fuzzing.inside(_SEED.value, _FORMATS.value, _RUNS.value, _SECONDS.value)
    return
  found = 0
  others = ['--bombs'] if _BOMBS.value else []
  for finding in fuzzing.watch(_SEED.value, _FORMATS.value, _RUNS.value, _SECONDS.value, *others):
    found += 1
    print(f'{finding.file_format} {finding.number}: {finding.what}', flush=True)
  print(f'{found} found.')
  if found:
    sys.exit(1)


if __name__ == '__main__':
  cli.run(main)
