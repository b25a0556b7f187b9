"""Trains a model on client shards in federated rounds, with DP-FedAvg and quantized updates.

  python -m tff_tasks.train --flagfile=configs/shakespeare_quickstart.flags

Writes a run directory: model and privacy ledger (public/), metrics and report (operator/), checkpoints (secret/).
The same command resumes a run that was stopped, and gives the weights it would have given.
"""

import dataclasses
import math
import sys

from absl import flags

from common import cli
from contracts import client_shards
from tff_tasks import config as config_lib
from tff_tasks.aggregation import registry as aggregations
from tff_tasks.algorithms import registry as algorithms
from tff_tasks.population.samplers import registry as samplers
from tff_tasks.runtime import start_up

_FLAGS = flags.FLAGS

flags.DEFINE_string('shards_dir', None, 'Folder of client shards, made by pipelines.preprocess.', required=True)
flags.DEFINE_string('output_dir', None, 'Run directory. If this run is in it already, it is resumed.', required=True)

flags.DEFINE_integer('total_rounds', None, 'Rounds to train for.', lower_bound=1, required=True)
flags.DEFINE_integer(
  'clients_per_round',
  None,
  'Clients of a round: expected (poisson, min_separation), exact (fixed), or at most (cyclic).',
  lower_bound=1,
  required=True,
)
flags.DEFINE_string(
  'sampling',
  'poisson',
  'Who takes part in a round. poisson: each client with the same probability, drawn in secret; epsilon is much '
  'smaller. fixed: exactly so many clients, without replacement. cyclic: each client once in an epoch. '
  'min_separation: each client at most once in so many rounds. Or one of your own as package.module:attribute '
  '(docs/extend.md).',
)
flags.DEFINE_list('sampling_options', [], 'Options of the sampler, such as separation=4 for min_separation.')
flags.DEFINE_string(
  'availability',
  None,
  'Who can be invited in a round. diurnal: a day and a night of 24 rounds. Or a CSV file with a probability for each '
  'client and slot (docs/train.md). With noise, sampling then makes nothing cheaper. By default, everyone, always.',
)

flags.DEFINE_string(
  'algorithm',
  'fed_avg',
  f'What a client computes and what the server does with the mean: {", ".join(algorithms.ALGORITHMS)}, or one of '
  'your own as package.module:attribute (docs/extend.md).',
)
flags.DEFINE_list('algorithm_options', [], 'Options of the algorithm, such as mu=0.1 for fed_prox; several: a=1,b=2.')
flags.DEFINE_string(
  'aggregation',
  'mean',
  f'How the updates of a round are combined: {", ".join(aggregations.AGGREGATIONS)}, or one of your own as '
  'package.module:attribute (docs/extend.md). Only mean with noise or --quantization_bits above 0.',
)
flags.DEFINE_list(
  'aggregation_options',
  [],
  'Options of the aggregation: share=0.2 for trimmed_mean; byzantine=2,selected=1 for krum.',
)
flags.DEFINE_enum(
  'weighting',
  'uniform',
  list(config_lib.WEIGHTINGS),
  'How clients count in the mean. uniform: all the same; examples: by the examples that they trained on, as in the '
  'FedAvg of the paper. With noise only uniform.',
)
flags.DEFINE_enum(
  'client_optimizer',
  'sgd',
  list(config_lib.CLIENT_OPTIMIZERS),
  'Optimizer of the local steps; its state begins anew in each round.',
)
flags.DEFINE_float('client_learning_rate', None, 'Learning rate of the local steps.', lower_bound=0, required=True)
flags.DEFINE_enum(
  'client_learning_rate_schedule',
  'constant',
  list(config_lib.SCHEDULES),
  'The learning rate of the local steps by round, as --server_learning_rate_schedule.',
)
flags.DEFINE_float('max_gradient_norm', None, 'L2 bound of the gradient of each local step.', lower_bound=0)
flags.DEFINE_integer('client_batch_size', None, 'Examples of each local step.', lower_bound=1, required=True)
flags.DEFINE_integer('client_epochs_per_round', 1, 'Passes of a client over its examples in a round.', lower_bound=1)
flags.DEFINE_integer(
  'max_examples_per_client',
  None,
  'Most examples a client trains on in a round, drawn anew each round.',
  lower_bound=1,
  required=True,
)
flags.DEFINE_string('capabilities', None, 'TOML file: classes of clients with work of their own (docs/train.md).')

flags.DEFINE_enum(
  'server_optimizer', 'adam', list(config_lib.SERVER_OPTIMIZERS), 'Optimizer that applies the mean update.'
)
flags.DEFINE_float('server_learning_rate', None, 'Learning rate of the server optimizer.', lower_bound=0, required=True)
flags.DEFINE_enum(
  'server_learning_rate_schedule',
  'constant',
  list(config_lib.SCHEDULES),
  'linear: constant in the first half of the rounds, then linearly down to zero.',
)
flags.DEFINE_integer('model_size', None, "Width of the model's main layer; by default the task's own.", lower_bound=1)

flags.DEFINE_float('clip_norm', None, 'L2 bound of a client update. Quantization and noise need one.', lower_bound=0)
flags.DEFINE_integer(
  'quantization_bits',
  8,
  'Bits of each coordinate of an uploaded update, 2 to 16; 0: 32 bits (floats, or integers if there is noise).',
  lower_bound=0,
  upper_bound=16,
)
flags.DEFINE_float(
  'noise_multiplier',
  None,
  'Standard deviation of the noise on the sum of updates, over the bound of one (after rounding); 0: not private.',
  lower_bound=0,
)
flags.DEFINE_float(
  'target_epsilon',
  None,
  'Instead of --noise_multiplier: finds the noise for this epsilon, which includes what the data set has spent; 0 '
  'switches off the target of a preset.',
  lower_bound=0,
)
flags.DEFINE_float(
  'delta',
  None,
  'Of (epsilon, delta); includes what the data set has spent. Below 1 / training clients.',
  lower_bound=0,
  upper_bound=1,
)

flags.DEFINE_string(
  'branch_from',
  None,
  'Run directory of another run, to go on from the model of its last round in a new --output_dir, with fresh noise, '
  'fresh cohorts, and everything anew that an optimizer or algorithm keeps. Data and --model_size have to be the same, '
  '--total_rounds larger; other flags may differ. Rounds are counted on, and the promise is for those of both runs.',
)
flags.DEFINE_integer(
  'personalize_epochs',
  0,
  'In the end, passes of local SGD over one half of the examples of each test user. The accuracy on the other half is '
  'measured before and after, and shown in the report; the released model stays as it is. 0: not measured.',
  lower_bound=0,
)
flags.DEFINE_float(
  'personalize_learning_rate',
  None,
  'Learning rate of that fine-tuning; by default --client_learning_rate.',
  lower_bound=0,
)
flags.DEFINE_integer('rounds_per_eval', 10, 'Rounds between evaluations on held-out users.', lower_bound=1)
flags.DEFINE_integer('rounds_per_checkpoint', 10, 'Rounds between checkpoints.', lower_bound=1)
flags.DEFINE_integer(
  'seed',
  None,
  'For tests and benchmarks: makes a run repeatable, with --xla=yes or no to the last bit. Whoever knows it can undo '
  'the noise, so nothing is promised (epsilon is null). Without it, the operating system draws a secret seed.',
)
flags.DEFINE_enum(
  'runtime',
  'local',
  list(config_lib.RUNTIMES),
  "local: threads of this process; tff: TFF's own runtime, the reference. Its server runs in a network namespace of "
  'its own. Where the system permits none, the run says so at its start, and the server listens on all interfaces '
  'without authentication: then use it only where nobody else reaches the ports of this machine.',
)
flags.DEFINE_enum(
  'xla',
  'measured',
  list(config_lib.XLA),
  "Whether XLA compiles the clients' work; measured: whichever is faster on a client of the first round. TFF's "
  'runtime has no such choice.',
)
flags.DEFINE_enum(
  'on_client_error',
  'stop',
  list(config_lib.ON_CLIENT_ERROR),
  'What to do about a client whose data cannot be used or whose update is not finite. stop: end the run before the '
  'round counts; skip: go on without the client, and count it in metrics.csv.',
)


cli.group_flags(
  {
    'Who takes part': ['total_rounds', 'clients_per_round', 'sampling', 'sampling_options', 'availability'],
    'Work on the client': [
      'algorithm',
      'algorithm_options',
      'client_optimizer',
      'client_learning_rate',
      'client_learning_rate_schedule',
      'max_gradient_norm',
      'client_batch_size',
      'client_epochs_per_round',
      'max_examples_per_client',
      'capabilities',
    ],
    'Combining the updates': ['aggregation', 'aggregation_options', 'weighting'],
    'The server': ['server_optimizer', 'server_learning_rate', 'server_learning_rate_schedule', 'model_size'],
    'Privacy': ['clip_norm', 'noise_multiplier', 'target_epsilon', 'delta'],
    'The upload': ['quantization_bits'],
    'Personalization': ['personalize_epochs', 'personalize_learning_rate'],
    'The run': [
      'shards_dir',
      'output_dir',
      'branch_from',
      'rounds_per_eval',
      'rounds_per_checkpoint',
      'seed',
      'runtime',
      'xla',
      'on_client_error',
    ],
  }
)


@flags.multi_flags_validator(
  ['noise_multiplier', 'target_epsilon'],
  'Expected one of --noise_multiplier and --target_epsilon: --noise_multiplier=0 trains without privacy; over a '
  'preset with a target, add --target_epsilon=0.',
)
def _is_one_noise_flag_set(values: dict[str, float | None]) -> bool:
  return (values['noise_multiplier'] is None) == bool(values['target_epsilon'])


@flags.validator('quantization_bits', 'Expected 0 or 2 to 16.')
def _is_quantization_possible(bits: int) -> bool:
  return bits != 1


@flags.multi_flags_validator(
  ['personalize_epochs', 'personalize_learning_rate'],
  'Expected --personalize_epochs with --personalize_learning_rate, found none: add --personalize_epochs=1, or leave '
  'the learning rate out.',
)
def _is_learning_rate_used(values: dict[str, float | None]) -> bool:
  return values['personalize_learning_rate'] is None or bool(values['personalize_epochs'])


@flags.validator('max_gradient_norm', 'Expected more than 0: leave the flag out for no bound.')
def _is_bound_positive(value: float | None) -> bool:
  return value is None or value > 0


@flags.validator('personalize_learning_rate', 'Expected a finite number.')
@flags.validator('target_epsilon', 'Expected a finite number.')
@flags.validator('noise_multiplier', 'Expected a finite number.')
@flags.validator('client_learning_rate', 'Expected a finite number.')
@flags.validator('max_gradient_norm', 'Expected a finite number.')
@flags.validator('server_learning_rate', 'Expected a finite number.')
def _is_finite(value: float | None) -> bool:
  return value is None or math.isfinite(value)


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


def _flagfile() -> str:
  """Returns the flags of this run, defaults included, as a flag file."""
  names = [field.name for field in dataclasses.fields(config_lib.Config)]
  return ''.join(f'{_FLAGS[name].serialize()}\n' for name in names if _FLAGS[name].value is not None)


if __name__ == '__main__':
  cli.run(main)
