"""Trains a model on client shards in federated rounds, with DP-FedAvg and quantized updates.

  python -m tff_tasks.train --flagfile=configs/shakespeare_quickstart.flags

Writes a run directory: model and privacy ledger (public/), metrics and report (operator/), checkpoints (secret/).
The same command resumes a run that was stopped, and gives the weights it would have given.
"""

import dataclasses
import sys

from absl import flags

from common import cli
from contracts import client_shards
from tff_tasks import config as config_lib
from tff_tasks.aggregation import registry as aggregations
from tff_tasks.algorithms import registry as algorithms
from tff_tasks.flags import client
from tff_tasks.flags import cohort
from tff_tasks.flags import combination
from tff_tasks.flags import personalization
from tff_tasks.flags import privacy
from tff_tasks.flags import run
from tff_tasks.flags import server
from tff_tasks.population.samplers import registry as samplers
from tff_tasks.privacy.mechanisms import registry as mechanisms
from tff_tasks.runtime import start_up

_FLAGS = flags.FLAGS
_GROUPS = (cohort, client, combination, server, privacy, personalization, run)

cli.group_flags({group.TOPIC: group.FLAGS for group in _GROUPS})


def main() -> None:
  """Trains, or resumes, and writes the report."""
  config = config_lib.Config(
    **{field.name: _FLAGS[field.name].value for field in dataclasses.fields(config_lib.Config)}
  )
  _check(config, is_own=False)
  shards = client_shards.ClientShards(config.shards_dir)
  with cli.large_imports():
    start_up.start_tensorflow()
    from tff_tasks.training import run as run_lib

  _check(config, is_own=True)
  run_lib.train(config, shards, _flagfile(), sys.stdout)


def _check(config: config_lib.Config, is_own: bool) -> None:
  """Checks the built-in parts, or those of the user's own, which may import TensorFlow."""
  if (':' in config.algorithm) == is_own:
    algorithms.check(config)
  if (':' in config.aggregation) == is_own:
    aggregations.check(config)
  if (':' in config.sampling) == is_own:
    samplers.build(config.sampling, config.sampling_options)
  if (':' in config.mechanism) == is_own:
    mechanisms.build(config.mechanism, config.mechanism_options)


def _flagfile() -> str:
  """Returns the flags of this run, defaults included, as a flag file."""
  names = [field.name for field in dataclasses.fields(config_lib.Config)]
  return ''.join(f'{_FLAGS[name].serialize()}\n' for name in names if _FLAGS[name].value is not None)


if __name__ == '__main__':
  cli.run(main)
