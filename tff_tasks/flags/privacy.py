"""Flags of what is promised."""

from absl import flags

from common import flag_checks

TOPIC = 'Privacy'
FLAGS = [
  flags.DEFINE_float('clip_norm', None, 'L2 bound of a client update. Quantization and noise need one.', lower_bound=0),
  flags.DEFINE_float(
    'noise_multiplier',
    None,
    'Standard deviation of the noise on the sum of updates, over the bound of one (after rounding); 0: not private.',
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
