import math

from absl.testing import absltest
from absl.testing import parameterized

from pipelines.learning import base

_DP = {
    'what': 'words', 'source': 'dp', 'mechanism': 'noisy counts', 'epsilon': 1.0, 'delta': 1e-6, 'unit': 'client',
    'adjacency': 'one client added or removed',
}  # fmt: skip


class CheckEntryTest(parameterized.TestCase):
  def test_what_training_can_count(self) -> None:
    base.check_entry(_DP)
    base.check_entry({**_DP, 'epsilon': 0, 'delta': 0, 'words': 7})
    base.check_entry(base.free_entry('classes', 'declared'))

  @parameterized.parameters(
      ({'source': 'exact'}, "source of declared, public, dp, found 'words' and 'exact'"),
      ({'what': None}, "found None and 'dp'"),
      ({'unit': 'row'}, "promise about 'client' .* for 'words', found 'row'"),
      ({'adjacency': 'one client replaced'}, "found 'client' and 'one client replaced'"),
      ({'epsilon': -1.0}, 'Expected a finite epsilon >= 0 .*, found -1.0 and 1e-06'),
      ({'epsilon': math.inf}, 'found inf'),
      ({'epsilon': '1'}, "found '1'"),
      ({'epsilon': True}, 'found True'),
      ({'delta': 1.0}, 'and 1.0: mend the learner'),
      ({'delta': math.nan}, 'and nan'),
      ({'delta': None}, 'and None'),
      ({'mechanism': None}, "Expected the mechanism that 'words' was learned with"),
  )
  def test_refuses(self, changes: dict, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      base.check_entry({**_DP, **changes})


if __name__ == '__main__':
  absltest.main()
