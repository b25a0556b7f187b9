"""Trains a model on client shards in federated rounds, with DP-FedAvg and quantized updates.

  python -m tff_tasks.train --flagfile=configs/shakespeare_quickstart.flags

Writes a run directory: model and privacy ledger (public/), metrics and report (operator/), checkpoints (secret/).
The same command resumes a run that was stopped, and gives the weights it would have given.
"""

from collections.abc import Callable
import dataclasses
import sys

from absl import flags

from common import cli
from contracts import client_shards
from tff_tasks import config as config_lib
from tff_tasks.aggregation import registry as aggregations
from tff_tasks.algorithms import registry as algorithms
from tff_tasks.compression import registry as compressions
from tff_tasks.flags import client
from tff_tasks.flags import cohort
from tff_tasks.flags import combination
from tff_tasks.flags import personalization
from tff_tasks.flags import privacy
from tff_tasks.flags import run
from tff_tasks.flags import server
from tff_tasks.population.samplers import registry as samplers
from tff_tasks.privacy.mechanisms import registry as mechanisms
from tff_tasks.runtime import registry as runtimes
from tff_tasks.runtime import start_up

_FLAGS = flags.FLAGS
_GROUPS = (cohort, client, combination, server, privacy, personalization, run)

# What checks the part that a flag names.
_CHECKS: dict[str, Callable[[config_lib.Config], object]] = {
  'algorithm': algorithms.check,
  'aggregation': aggregations.check,
  'compression': lambda config: compressions.build(
    config.compression, config.compression_options, config.quantization_bits
  ),
  'mechanism': lambda config: mechanisms.build(config.mechanism, config.mechanism_options),
  'runtime': runtimes.check,
  'sampling': lambda config: samplers.build(config.sampling, config.sampling_options),
}

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
  for name, check in _CHECKS.items():
    if (':' in getattr(config, name)) == is_own:
      check(config)


def _flagfile() -> str:
  """Returns the flags of this run, defaults included, as a flag file."""
  names = [field.name for field in dataclasses.fields(config_lib.Config)]
  return ''.join(f'{_FLAGS[name].serialize()}\n' for name in names if _FLAGS[name].value is not None)


if __name__ == '__main__':
  cli.run(main)
