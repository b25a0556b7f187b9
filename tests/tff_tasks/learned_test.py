import math

from absl.testing import absltest
from absl.testing import parameterized

from tff_tasks import learned

_WORDS = {'what': 'vocabulary', 'source': 'dp', 'mechanism': 'noisy counts', 'epsilon': 1.5, 'delta': 1e-6}
_SCALING = {'what': 'scaling', 'source': 'dp', 'mechanism': 'noisy sums', 'epsilon': 0.5, 'delta': 2e-6}
_CLASSES = {'what': 'classes', 'source': 'declared'}
_LIST = {'what': 'word list', 'source': 'public', 'epsilon': 0.0, 'delta': 0.0}


class LearnedTest(parameterized.TestCase):
  def test_what_was_learned_adds_up(self) -> None:
    cost = learned.total([_WORDS, _CLASSES, _SCALING, _LIST], 'poisson')
    self.assertEqual(cost.epsilon, 2.0)
    self.assertAlmostEqual(cost.delta, 3e-6, places=15)
    self.assertEqual(learned.total([], 'poisson'), learned.NOTHING)

  @parameterized.parameters(_CLASSES, _LIST)
  def test_what_was_not_learned_costs_nothing(self, **entry: object) -> None:
    self.assertEqual(learned.price(entry, 'fixed'), learned.NOTHING)

  def test_to_replace_a_client_is_to_remove_one_and_to_add_another(self) -> None:
    cost = learned.price(_WORDS, 'fixed')
    self.assertEqual(cost.epsilon, 3.0)
    self.assertAlmostEqual(cost.delta, 1e-6 * (1 + math.exp(1.5)), places=15)

  @parameterized.parameters('exact', None)
  def test_an_unknown_price_is_refused(self, source: str | None) -> None:
    with self.assertRaisesRegex(ValueError, "found 'mean' from .*: whatever it cost the users is not known"):
      learned.total([{'what': 'mean', 'source': source}], 'poisson')

  def test_releases_are_listed_with_their_price(self) -> None:
    words, classes, public = learned.releases([_WORDS, _CLASSES, _LIST], 'poisson')
    self.assertEqual(
        words,
        {'what': 'vocabulary', 'mechanism': 'noisy counts', 'private': True, 'epsilon': 1.5, 'delta': 1e-6},
    )
    self.assertEqual((classes['mechanism'], classes['epsilon']), ('declared, not learned from data', 0.0))
    self.assertEqual((public['mechanism'], public['private']), ('computed from public data', True))
    self.assertEqual(learned.names([_WORDS, _CLASSES, _LIST]), ['vocabulary'])


if __name__ == '__main__':
  absltest.main()
