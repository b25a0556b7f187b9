"""Flags of the run: files, runtime, and when what is saved."""

from absl import flags

from tff_tasks import config as config_lib

TOPIC = 'The run'
FLAGS = [
  flags.DEFINE_string('shards_dir', None, 'Folder of client shards, made by pipelines.preprocess.', required=True),
  flags.DEFINE_string('output_dir', None, 'Run directory. If this run is in it already, it is resumed.', required=True),
  flags.DEFINE_string(
    'branch_from',
    None,
    'Run directory of another run, to go on from the model of its last round in a new --output_dir, with fresh noise, '
    'fresh cohorts, and everything anew that an optimizer or algorithm keeps. Data, --task and --model_size have to be '
    'the same, --total_rounds larger; other flags may differ. Rounds are counted on, and the promise is for those of '
    'both runs.',
  ),
  flags.DEFINE_integer('rounds_per_eval', 10, 'Rounds between evaluations on held-out users.', lower_bound=1),
  flags.DEFINE_integer('rounds_per_checkpoint', 10, 'Rounds between checkpoints.', lower_bound=1),
  flags.DEFINE_integer(
    'seed',
    None,
    'For tests and benchmarks: makes a run repeatable. Whoever knows it can undo '
    'the noise, so nothing is promised (epsilon is null). Without it, the operating system draws a secret seed.',
  ),
  flags.DEFINE_string(
    'runtime',
    'local',
    "What executes the rounds. local: threads of this process; tff: TFF's own runtime, the reference. Its server runs "
    'in a network namespace of its own. Where the system permits none, the run says so at its start, and the server '
    'listens on all interfaces without authentication: then use it only where nobody else reaches the ports of this '
    'machine. Or one of your own as package.module:attribute (docs/extend.md).',
  ),
  flags.DEFINE_list('runtime_options', [], 'Options of the runtime, such as threads=2 for local.'),
  flags.DEFINE_enum(
    'xla',
    'auto',
    list(config_lib.XLA),
    "Whether XLA compiles the clients' work. auto: yes, unless the model has convolutions, for which XLA is slow, or "
    "XLA cannot compile it; measured: the former name of auto. TFF's runtime has no such choice.",
  ),
  flags.DEFINE_enum(
    'on_client_error',
    'stop',
    list(config_lib.ON_CLIENT_ERROR),
    'What to do about a client whose data cannot be used or whose update is not finite. stop: end the run before the '
    'round counts; skip: go on without the client, and count it in metrics.csv.',
  ),
]
