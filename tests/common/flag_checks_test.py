"""Tests of checks that flags of several programs share."""

from absl import flags
from absl.testing import absltest
from absl.testing import parameterized

from common import flag_checks

_RATE = flags.DEFINE_float('checked_rate', None, 'A rate.')
flag_checks.must_be_finite('checked_rate')


class FlagChecksTest(parameterized.TestCase):
  @parameterized.parameters(('nan',), ('inf',), ('-inf',))
  def test_what_is_not_finite_is_refused(self, value: str) -> None:
    with self.assertRaisesRegex(flags.IllegalFlagValueError, 'Expected a finite number'):
      flags.FLAGS['checked_rate'].parse(value)
      flags.FLAGS.validate_all_flags()

  @parameterized.parameters(('0.5',), ('-1',))
  def test_finite_numbers_pass(self, value: str) -> None:
    flags.FLAGS['checked_rate'].parse(value)
    flags.FLAGS.validate_all_flags()
    self.assertEqual(_RATE.value, float(value))

  def tearDown(self) -> None:
    super().tearDown()
    flags.FLAGS['checked_rate'].unparse()


if __name__ == '__main__':
  absltest.main()
