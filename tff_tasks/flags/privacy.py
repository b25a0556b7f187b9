"""Flags of what is promised."""

from absl import flags

from common import flag_checks
from tff_tasks.privacy.mechanisms import registry as mechanisms

TOPIC = 'Privacy'
FLAGS = [
  flags.DEFINE_float(
    'clip_norm',
    None,
    'L2 bound of a client update. Quantization and noise need one; 0 switches off the bound of a preset.',
    lower_bound=0,
  ),
  flags.DEFINE_string(
    'mechanism',
    'gaussian',
    f'What noise is added to the sum of updates: {", ".join(mechanisms.MECHANISMS)}, or one of your own as '
    'package.module:attribute (docs/extend.md). gaussian: independent in each round. bisr: correlated, so that later '
    'rounds take back a part of it; for --sampling=min_separation, cyclic, or one of your own with a min_gap.',
  ),
  flags.DEFINE_list('mechanism_options', [], 'Options of the mechanism, such as bandwidth=4 for bisr.'),
  flags.DEFINE_float(
    'noise_multiplier',
    None,
    'Standard deviation of the noise on the sum of updates (of one draw, with correlated noise), over the bound of one '
    'update (after rounding); 0: not private.',
    lower_bound=0,
  ),
  flags.DEFINE_float(
    'target_epsilon',
    None,
    'Instead of --noise_multiplier: finds the noise for this epsilon, which includes what the data set has spent; 0 '
    'switches off the target of a preset.',
    lower_bound=0,
  ),
  flags.DEFINE_float(
    'delta',
    None,
    'Of (epsilon, delta); includes what the data set has spent. Below 1 / training clients.',
    lower_bound=0,
    upper_bound=1,
  ),
]

flag_checks.must_be_finite('noise_multiplier', 'target_epsilon')


@flags.multi_flags_validator(
  ['noise_multiplier', 'target_epsilon'],
  'Expected one of --noise_multiplier and --target_epsilon: --noise_multiplier=0 trains without privacy; over a '
  'preset with a target, add --target_epsilon=0.',
)
def _is_one_noise_flag_set(values: dict[str, float | None]) -> bool:
  return (values['noise_multiplier'] is None) == bool(values['target_epsilon'])
