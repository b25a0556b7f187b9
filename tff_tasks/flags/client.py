"""Flags of what a client does in a round."""

from absl import flags

from common import flag_checks
from tff_tasks import config as config_lib
from tff_tasks.algorithms import registry as algorithms

TOPIC = 'Work on the client'
FLAGS = [
  flags.DEFINE_string(
    'algorithm',
    'fed_avg',
    f'What a client computes and what the server does with the mean: {", ".join(algorithms.ALGORITHMS)}, or one of '
    'your own as package.module:attribute (docs/extend.md).',
  ),
  flags.DEFINE_list(
    'algorithm_options', [], 'Options of the algorithm, such as mu=0.1 for fed_prox; several: a=1,b=2.'
  ),
  flags.DEFINE_enum(
    'client_optimizer',
    'sgd',
    list(config_lib.CLIENT_OPTIMIZERS),
    'Optimizer of the local steps; its state begins anew in each round.',
  ),
  flags.DEFINE_float('client_learning_rate', None, 'Learning rate of the local steps.', lower_bound=0, required=True),
  flags.DEFINE_enum(
    'client_learning_rate_schedule',
    'constant',
    list(config_lib.SCHEDULES),
    'The learning rate of the local steps by round, as --server_learning_rate_schedule.',
  ),
  flags.DEFINE_float('max_gradient_norm', None, 'L2 bound of the gradient of each local step.', lower_bound=0),
  flags.DEFINE_integer('client_batch_size', None, 'Examples of each local step.', lower_bound=1, required=True),
  flags.DEFINE_integer('client_epochs_per_round', 1, 'Passes of a client over its examples in a round.', lower_bound=1),
  flags.DEFINE_integer(
    'max_examples_per_client',
    None,
    'Most examples a client trains on in a round, drawn anew each round.',
    lower_bound=1,
    required=True,
  ),
  flags.DEFINE_string('capabilities', None, 'TOML file: classes of clients with work of their own (docs/train.md).'),
]

flag_checks.must_be_finite('client_learning_rate', 'max_gradient_norm')


@flags.validator('max_gradient_norm', 'Expected more than 0: leave the flag out for no bound.')
def _is_bound_positive(value: float | None) -> bool:
  return value is None or value > 0
