"""Flags of who takes part in the rounds."""

from absl import flags

TOPIC = 'Who takes part'
FLAGS = [
  flags.DEFINE_integer('total_rounds', None, 'Rounds to train for.', lower_bound=1, required=True),
  flags.DEFINE_integer(
    'clients_per_round',
    None,
    'Clients of a round: expected (poisson, min_separation), exact (fixed), or at most (cyclic).',
    lower_bound=1,
    required=True,
  ),
  flags.DEFINE_string(
    'sampling',
    'poisson',
    'Who takes part in a round. poisson: each client with the same probability, drawn in secret; epsilon is much '
    'smaller. fixed: exactly so many clients, without replacement. cyclic: each client once in an epoch. '
    'min_separation: each client at most once in so many rounds. Or one of your own as package.module:attribute '
    '(docs/extend.md).',
  ),
  flags.DEFINE_list('sampling_options', [], 'Options of the sampler, such as separation=4 for min_separation.'),
  flags.DEFINE_string(
    'availability',
    None,
    'Who can be invited in a round. diurnal: a day and a night of 24 rounds. Or a CSV file with a probability for each '
    'client and slot (docs/train.md). With noise, sampling then makes nothing cheaper. By default, everyone, always.',
  ),
]
