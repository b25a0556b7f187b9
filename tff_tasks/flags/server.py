"""Flags of what the server does with the mean update, and of the model."""

from absl import flags

from common import flag_checks
from tff_tasks import config as config_lib

TOPIC = 'The server'
FLAGS = [
  flags.DEFINE_enum(
    'server_optimizer', 'adam', list(config_lib.SERVER_OPTIMIZERS), 'Optimizer that applies the mean update.'
  ),
  flags.DEFINE_float(
    'server_learning_rate', None, 'Learning rate of the server optimizer.', lower_bound=0, required=True
  ),
  flags.DEFINE_enum(
    'server_learning_rate_schedule',
    'constant',
    list(config_lib.SCHEDULES),
    'linear: constant in the first half of the rounds, then linearly down to zero.',
  ),
  flags.DEFINE_string(
    'task',
    None,
    'Model, with its metrics: a built-in task, or one of your own as package.module:attribute (docs/extend.md). By '
    'default the one that the declaration of the data set names.',
  ),
  flags.DEFINE_integer(
    'model_size', None, "Width of the model's main layer; by default the task's own.", lower_bound=1
  ),
]

flag_checks.must_be_finite('server_learning_rate')
