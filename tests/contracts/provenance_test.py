from absl.testing import absltest
from absl.testing import parameterized

from contracts import guarantees
from contracts import provenance

_DP = {'source': 'dp', 'unit': 'client', 'adjacency': guarantees.ADJACENCY}
_WORDS = {**_DP, 'what': 'vocabulary', 'mechanism': 'noisy counts', 'epsilon': 1.5, 'delta': 1e-6}
_SCALING = {**_DP, 'what': 'scaling', 'mechanism': 'noisy sums', 'epsilon': 0.5, 'delta': 2e-6}
_CLASSES = {'what': 'classes', 'source': 'declared'}
_CLIENTS = {'what': '9 simulated clients', 'source': 'simulated', 'epsilon': 0.0, 'delta': 0.0}
_LIST = {'what': 'word list', 'source': 'public', 'epsilon': 0.0, 'delta': 0.0}


class LearnedTest(parameterized.TestCase):
  def test_what_was_learned_adds_up(self) -> None:
    cost = provenance.total([_WORDS, _CLASSES, _SCALING, _LIST])
    self.assertEqual(cost.epsilon, 2.0)
    self.assertAlmostEqual(cost.delta, 3e-6, places=15)
    self.assertEqual(provenance.total([]), guarantees.NOTHING)

  @parameterized.parameters(_CLASSES, _LIST, _CLIENTS)
  def test_what_was_not_learned_costs_nothing(self, **entry: object) -> None:
    self.assertEqual(provenance.price(entry), guarantees.NOTHING)

  @parameterized.parameters('exact', None)
  def test_an_unknown_price_is_refused(self, source: str | None) -> None:
    with self.assertRaisesRegex(ValueError, "found 'mean' from .*: whatever it cost the users is not known"):
      provenance.total([{'what': 'mean', 'source': source}])

  def test_a_cost_that_cannot_be_added_is_refused(self) -> None:
    """The other reasons are those of `guarantees.read_cost`."""
    added = {**_WORDS, 'adjacency': 'one client added or removed'}
    with self.assertRaisesRegex(ValueError, 'cannot be added to the cost of training: preprocess again'):
      provenance.total([_SCALING, added])

  def test_a_price_may_be_nothing(self) -> None:
    self.assertEqual(provenance.price({**_WORDS, 'epsilon': 0, 'delta': 0.0}), guarantees.NOTHING)

  def test_the_manifest_has_to_say_what_was_learned(self) -> None:
    self.assertEqual(provenance.read({'learned': [_WORDS]}, 'shards'), [_WORDS])
    self.assertEqual(provenance.read({'learned': []}, 'shards'), [])
    for manifest in ({}, {'learned': None}):
      with self.assertRaisesRegex(ValueError, 'manifest of shards to say what was learned .*, found nothing'):
        provenance.read(manifest, 'shards')

  def test_releases_are_listed_with_their_price(self) -> None:
    words, classes, public = provenance.releases([_WORDS, _CLASSES, _LIST])
    self.assertEqual(
      words,
      {'what': 'vocabulary', 'mechanism': 'noisy counts', 'private': True, 'epsilon': 1.5, 'delta': 1e-6},
    )
    self.assertEqual((classes['mechanism'], classes['epsilon']), ('declared, not learned from data', 0.0))
    self.assertEqual((public['mechanism'], public['private']), ('computed from public data', True))
    self.assertEqual(provenance.names([_WORDS, _CLASSES, _LIST]), ['vocabulary'])

  def test_simulated_clients_are_named(self) -> None:
    self.assertEqual(provenance.simulated_clients([_CLASSES, _CLIENTS, _WORDS]), '9 simulated clients')
    self.assertEqual(provenance.simulated_clients([_CLASSES, _WORDS]), '')
    self.assertEqual(provenance.releases([_CLIENTS])[0]['mechanism'], 'rows that name no user, split at random')


if __name__ == '__main__':
  absltest.main()
