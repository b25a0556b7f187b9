import math

from absl.testing import absltest
from absl.testing import parameterized

from tff_tasks import learned

_DP = {'source': 'dp', 'unit': 'client', 'adjacency': 'one client added or removed'}
_WORDS = {**_DP, 'what': 'vocabulary', 'mechanism': 'noisy counts', 'epsilon': 1.5, 'delta': 1e-6}
_SCALING = {**_DP, 'what': 'scaling', 'mechanism': 'noisy sums', 'epsilon': 0.5, 'delta': 2e-6}
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

  @parameterized.parameters(
      ({'unit': 'row'}, "price of 'vocabulary' for 'client' .*, found it for 'row'"),
      ({'unit': None}, 'found it for None'),
      ({'adjacency': 'one client replaced'}, "found it for 'client' and 'one client replaced': it cannot be added"),
      ({'epsilon': -3}, 'Expected a finite epsilon >= 0 .*, found -3 and 1e-06'),
      ({'epsilon': math.inf}, 'found inf'),
      ({'epsilon': math.nan}, 'found nan'),
      ({'epsilon': '1'}, "found '1'"),
      ({'epsilon': None}, 'found None'),
      ({'epsilon': True}, 'found True'),
      ({'delta': 1.0}, 'found 1.5 and 1.0'),
      ({'delta': -1e-9}, 'and -1e-09'),
      ({'delta': math.nan}, 'and nan'),
  )
  def test_what_is_no_price_between_such_neighbours_is_refused(self, changes: dict, message: str) -> None:
    for sampling in ('poisson', 'fixed'):
      with self.assertRaisesRegex(ValueError, message):
        learned.total([_SCALING, {**_WORDS, **changes}], sampling)

  def test_a_price_may_be_nothing(self) -> None:
    self.assertEqual(learned.price({**_WORDS, 'epsilon': 0, 'delta': 0.0}, 'fixed'), learned.NOTHING)

  def test_the_manifest_has_to_say_what_was_learned(self) -> None:
    self.assertEqual(learned.read({'learned': [_WORDS]}, 'shards'), [_WORDS])
    self.assertEqual(learned.read({'learned': []}, 'shards'), [])
    for manifest in ({}, {'learned': None}):
      with self.assertRaisesRegex(ValueError, 'manifest of shards to say what was learned .*, found nothing'):
        learned.read(manifest, 'shards')

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
