from absl.testing import absltest
from absl.testing import parameterized

from pipelines import guarantees
from pipelines.learning import base

_DP = {
    'what': 'words', 'source': 'dp', 'mechanism': 'noisy counts', 'epsilon': 1.0, 'delta': 1e-6, 'unit': 'client',
    'adjacency': guarantees.ADJACENCY,
}  # fmt: skip


class CheckEntryTest(parameterized.TestCase):
  def test_what_training_can_count(self) -> None:
    base.check_entry(_DP)
    base.check_entry({**_DP, 'epsilon': 0, 'delta': 0, 'words': 7})
    base.check_entry(base.free_entry('classes', 'declared'))

  @parameterized.parameters(
      ({'source': 'exact'}, "source of declared, public, dp, found 'words' and 'exact'"),
      ({'what': None}, "found None and 'dp'"),
      ({'unit': 'row'}, "found 'row' .*: correct the learner"),
      ({'delta': 1.0}, 'and 1.0: correct the learner'),
      ({'mechanism': None}, "Expected the mechanism that 'words' was learned with"),
  )
  def test_refuses(self, changes: dict, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      base.check_entry({**_DP, **changes})


if __name__ == '__main__':
  absltest.main()
