"""The command `pocketfed`: the programs under one name, each with its own flags.

    pocketfed preprocess --dataset=mine.toml --input='logs/*.jsonl.gz' --output_dir=runs/mine/shards

is `python -m pipelines.preprocess` with the same flags.
"""

from collections.abc import Sequence
from importlib import metadata
import os
import runpy
import sys

from common import cli
from common import suggestions

_DISTRIBUTION = 'pocketfed'
# Run, not imported: `python -m` does the same, and a program that is not asked for costs nothing.
PROGRAMS = {
  'preprocess': ('pipelines.preprocess', 'turns raw logs into client shards'),
  'inspect': ('pipelines.inspect', 'shows what client shards hold'),
  'train': ('tff_tasks.train', 'trains a model on client shards in federated rounds'),
  'evaluate': ('tff_tasks.evaluate', 'evaluates the model of a run on client shards'),
  'export': ('export.to_tflite', 'exports the model of a run as checked TFLite files'),
  'verify': ('export.verify', 'checks the files of an export and their signature'),
  'simulate': ('export.simulate_devices', 'repeats a run with devices as its clients'),
  'check_browser': ('export.check_browser', 'checks that the files of an export answer in a browser as on LiteRT'),
  'package': ('pipelines.package', 'packs the code for Beam workers that are set up by hand'),
  'quickstart': ('examples.quickstart', 'goes the whole way on the embedded data'),
}


def main() -> None:
  """Runs the program that the first argument names."""
  name, arguments = (sys.argv[1], sys.argv[2:]) if sys.argv[1:] else ('--help', [])
  if name in ('-h', '--help', 'help'):
    print(_help())
  elif name == '--version':
    print(_DISTRIBUTION, metadata.version(_DISTRIBUTION))
  elif name in PROGRAMS:
    _run(PROGRAMS[name][0], arguments)
  else:
    cli.fail(_unknown(name))


def _run(module: str, arguments: Sequence[str]) -> None:
  sys.argv = [module, *arguments]
  # Last: a declaration may name a class in the current folder, but no folder there takes the place of one of ours.
  sys.path.append(os.getcwd())
  runpy.run_module(module, run_name='__main__', alter_sys=True)


def _help() -> str:
  width = max(map(len, PROGRAMS))
  lines = [f'  {name:<{width}}  {what}' for name, (_, what) in PROGRAMS.items()]
  return '\n'.join(['pocketfed PROGRAM --flag=value ...', '', *lines, '', '--help after a program lists its flags.'])


def _unknown(name: str) -> str:
  return f'Expected the name of a program, found {name!r}: {suggestions.suggest(name, PROGRAMS)}'
