"""Flags of fine-tuning, which training and evaluation share."""

from absl import flags

from common import flag_checks

TOPIC = 'Personalization'
FLAGS = [
  flags.DEFINE_integer(
    'personalize_epochs',
    0,
    'In the end, passes of local SGD over one half of the examples of each held-out user. The accuracy on the other '
    'half is measured before and after; the released model does not change. 0: not measured.',
    lower_bound=0,
  ),
  flags.DEFINE_float(
    'personalize_learning_rate',
    None,
    'Learning rate of that fine-tuning; by default --client_learning_rate of the run.',
    lower_bound=0,
  ),
]

flag_checks.must_be_finite('personalize_learning_rate')


@flags.multi_flags_validator(
  ['personalize_epochs', 'personalize_learning_rate'],
  'Expected --personalize_epochs with --personalize_learning_rate, found none: add --personalize_epochs=1, or leave '
  'the learning rate out.',
)
def _is_learning_rate_used(values: dict[str, float | None]) -> bool:
  return values['personalize_learning_rate'] is None or bool(values['personalize_epochs'])
