from collections.abc import Sequence
import dataclasses
import json
from typing import Any

from absl.testing import absltest

from contracts import guarantees
from contracts import provenance
from tff_tasks.compression import codec as codec_lib
from tff_tasks.privacy import ledger
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.privacy import segments as segments_lib

_PLAN = plan_lib.PrivacyPlan(
  population=932, clients_per_round=250, clip_norm=0.3, quantization_bits=4, noise_multiplier=2.08, delta=1e-4
)
_ENTRIES = [
  {
    'what': 'vocabulary',
    'source': 'dp',
    'mechanism': 'noisy counts',
    'epsilon': 1.5,
    'delta': 1e-5,
    'unit': 'client',
    'adjacency': guarantees.ADJACENCY,
  },
  {'what': 'classes', 'source': 'declared', 'mechanism': 'none', 'epsilon': 0.0, 'delta': 0.0},
]
_PUBLIC = plan_lib.PrivacyPlan(population=932, clients_per_round=250, quantization_bits=0)


def _ledger(
  plan: plan_lib.PrivacyPlan, rounds: int, total_rounds: int = 20, dimension: int = 9, entries: Sequence[dict] = ()
) -> dict[str, Any]:
  return ledger.build_ledger([segments_lib.Segment(plan, rounds)], total_rounds, dimension, entries)


def _promise(plan: plan_lib.PrivacyPlan, rounds: int, entries: Sequence[dict] = ()) -> str:
  return ledger.promise([segments_lib.Segment(plan, rounds)], entries)


class LedgerTest(absltest.TestCase):
  def test_says_what_holds(self) -> None:
    entries = _ledger(_PLAN, 20, 140, 21_000)
    self.assertEqual(entries['epsilon'], segments_lib.epsilon_of_plan(_PLAN, 20))
    self.assertEqual(entries['sensitivity'], codec_lib.Codec(21_000, 0.3, 4).norm_bound)
    self.assertGreater(entries['sensitivity'], entries['clip_norm'])
    self.assertIn('all 20 rounds', entries['covers'])
    # The card and the report show `covers` beside `adjacency`.
    self.assertIn('replaced by none (zero-out)', entries['adjacency'])
    self.assertNotIn('zero-out', entries['covers'])
    self.assertIn('Poisson', entries['sampling'])
    self.assertNotIn('--seed', ' '.join(entries['not_covered']))
    json.dumps(entries, allow_nan=False)

  def test_says_what_the_noise_is(self) -> None:
    for bits, grid in ((4, 'rounded to 4 bits'), (0, 'rounded to a fine grid')):
      entries = _ledger(dataclasses.replace(_PLAN, quantization_bits=bits), 20)
      self.assertIn(grid, entries['mechanism'])
      self.assertIn('whole tail', entries['noise'])
      self.assertNotIn('floating-point', ' '.join(entries['not_covered']))
    self.assertIsNone(_ledger(dataclasses.replace(_PLAN, noise_multiplier=0.0), 20)['noise'])

  def test_says_which_mechanism_whom_it_protects_from_and_what_is_composed(self) -> None:
    entries = _ledger(_PLAN, 20)
    self.assertEndsWith(entries['mechanism'], 'rounded to 4 bits, Gaussian noise on their sum')
    self.assertEndsWith(entries['trust_model'], 'not against that machine or its operator')
    self.assertEqual(entries['events'], [str(_PLAN.event(20))])
    self.assertEqual(entries['noise_stddev'], 2.08 * entries['sensitivity'])
    bisr = dataclasses.replace(
      _PLAN, sampling='min_separation', sampling_options=('separation=3',), mechanism='bisr', noise_multiplier=5.0
    )
    entries = _ledger(bisr, 20)
    self.assertIn('correlated over 4 rounds (banded inverse square root) on their sum', entries['mechanism'])
    self.assertIn('sampling is not counted', entries['bound'])
    self.assertRegex(entries['events'][0], r'^GaussianDpEvent\(noise_multiplier=1\.\d+\)$')
    self.assertEqual(entries['discretization'], 1e-3)
    self.assertGreater(entries['noise_stddev'], 1.1 * 5.0 * entries['sensitivity'])

  def test_what_an_export_publishes_exactly(self) -> None:
    entries = _ledger(_PLAN, 20)
    mechanisms = {each['what']: (each['mechanism'], each['private']) for each in entries['releases']}
    for what in ('number of held-out examples and answers that the files were checked on', 'hash of the data set'):
      self.assertEqual(mechanisms[what], ('exact, published with the model', False))
    self.assertIn('the hash of the data set, which is published', ' '.join(entries['not_covered']))

  def test_availability_is_public_and_not_covered(self) -> None:
    entries = _ledger(dataclasses.replace(_PLAN, availability='diurnal', noise_multiplier=30.0), 20)
    self.assertIn('who is available when, which is taken as public', entries['not_covered'])
    self.assertEndsWith(entries['assumption'], 'who is available when is public')
    self.assertNotIn('available', ' '.join(_ledger(_PLAN, 20)['not_covered']))

  def test_simulated_clients_are_no_persons(self) -> None:
    simulated = {'what': '600 simulated clients (dirichlet, alpha 0.1, seed 0)', 'source': 'simulated'}
    entries = _ledger(_PLAN, 20, entries=[simulated])
    self.assertStartsWith(entries['unit'], f'one of {simulated["what"]}, no person')
    self.assertEndsWith(entries['covers'], 'for each simulated client with all of its examples, and for no person')
    self.assertStartsWith(entries['not_covered'][0], 'persons: the data names no user')
    self.assertIn('and for no person; noise multiplier', _promise(_PLAN, 20, [simulated]))
    self.assertEqual(entries['epsilon'], segments_lib.epsilon_of_plan(_PLAN, 20))
    for other in (_ledger(_PLAN, 20), _ledger(_PLAN, 20, entries=_ENTRIES)):
      self.assertEqual(other['unit'], 'client')
      self.assertNotIn('person', ' '.join([other['covers'], *other['not_covered']]))

  def test_capability_classes_are_public_and_not_covered(self) -> None:
    plan = dataclasses.replace(_PLAN, capabilities='fast 1, slow 2 clients')
    entries = _ledger(plan, 20)
    self.assertIn('the capability class of each client, which is taken as public', entries['not_covered'])
    self.assertEndsWith(entries['assumption'], 'the capability class of each client is public')
    plain = _ledger(_PLAN, 20)
    self.assertNotIn('capability', ' '.join([*plain['not_covered'], plain['assumption']]))
    # The noise and its cost are the same.
    self.assertEqual((entries['epsilon'], entries['sensitivity']), (plain['epsilon'], plain['sensitivity']))

  def test_every_release_is_private_or_named_as_not(self) -> None:
    releases = {entry['what']: entry['private'] for entry in _ledger(_PLAN, 20)['releases']}
    self.assertTrue(releases['models of all 20 rounds'])
    self.assertFalse(releases['training loss, accuracy, update norms and cohort sizes'])
    self.assertFalse(releases['accuracy and other metrics on held-out users'])
    self.assertFalse(releases['accuracy of single held-out users before and after fine-tuning, if it was measured'])
    self.assertFalse(releases['majority and coverage of the answers of held-out users'])
    self.assertFalse(releases['bigram counted on training users'])
    self.assertFalse(releases['rows, clients and examples counted in the manifest'])
    self.assertFalse(releases['accuracy on the held-out tails of training users'])

  def test_a_known_seed_promises_nothing(self) -> None:
    seeded = dataclasses.replace(_PLAN, is_seeded=True)
    entries = _ledger(seeded, 20)
    for name in ('epsilon', 'training_epsilon', 'delta', 'training_delta'):
      self.assertIsNone(entries[name])
    self.assertIn('--seed', entries['no_promise'])
    self.assertEqual(entries['not_covered'], [f'everything: {entries["no_promise"]}'])
    self.assertFalse(entries['releases'][0]['private'])
    self.assertStartsWith(_promise(seeded, 20), 'none: the noise comes from --seed')

  def test_beyond_all_use_nothing_is_promised(self) -> None:
    quiet = dataclasses.replace(_PLAN, noise_multiplier=0.001)
    self.assertIsNone(_ledger(quiet, 20)['epsilon'])
    self.assertStartsWith(_promise(quiet, 20), 'none: epsilon is above 100, which protects nobody: use more noise')

  def test_says_whom_it_protects_and_who_counted(self) -> None:
    entries = _ledger(_PLAN, 20)
    self.assertEqual(entries['adjacency'], guarantees.ADJACENCY)
    self.assertIn('number of client ids is public', entries['assumption'])
    self.assertIn('against whoever gets what is released, not against that machine', entries['trust_model'])
    self.assertEqual((entries['neighboring_relation'], entries['accountant_version']), ('REPLACE_SPECIAL', '0.6.0'))
    self.assertIn('PLD', entries['accountant'])
    self.assertGreater(entries['discretization'], 0)

  def test_without_noise_there_is_no_promise(self) -> None:
    entries = _ledger(_PUBLIC, 20)
    self.assertIsNone(entries['epsilon'])
    self.assertIsNone(entries['delta'])
    self.assertStartsWith(entries['covers'], 'nothing')
    self.assertFalse(entries['releases'][0]['private'])
    self.assertIn('no noise', _promise(_PUBLIC, 20))

  def test_fixed_cohorts_say_which_bound_it_is(self) -> None:
    fixed = dataclasses.replace(_PLAN, sampling='fixed')
    entries = _ledger(fixed, 20)
    self.assertIn('without replacement', entries['sampling'])
    self.assertIn('sensitivity', entries)
    self.assertEqual(entries['sensitivity'], fixed.norm_bound(9))
    for said in (_promise(fixed, 20), entries['bound']):
      self.assertIn('the bound against an observer who knows who took part', said)
      self.assertIn('--sampling=poisson', said)
    self.assertNotIn('--sampling', _promise(_PLAN, 20))
    self.assertEqual(_ledger(_PLAN, 20)['bound'], '')

  def test_names_the_sampler(self) -> None:
    cyclic = dataclasses.replace(_PLAN, sampling='cyclic')
    entries = _ledger(cyclic, 20)
    self.assertIn('once in an epoch of 4 rounds', entries['sampling'])
    self.assertIn('a client pays for one round of each epoch', entries['bound'])
    self.assertIn('one round of each epoch', _promise(cyclic, 20))
    self.assertIn('once in an epoch', entries['segments'][0]['sampling'])
    apart = dataclasses.replace(
      _PLAN, clients_per_round=100, sampling='min_separation', sampling_options=('separation=4',)
    )
    self.assertIn('932 clients in 4 groups that take turns', _ledger(apart, 20)['sampling'])
    self.assertEqual(_ledger(apart, 20)['bound'], '')
    both = ledger.build_ledger([segments_lib.Segment(cyclic, 4), segments_lib.Segment(_PLAN, 4)], 8, 9)
    self.assertStartsWith(both['sampling'], '4 rounds: cyclic')
    self.assertIn('one round of each epoch', both['bound'])


class SegmentsTest(absltest.TestCase):
  def test_are_listed_and_composed(self) -> None:
    segments = [
      segments_lib.Segment(_PLAN, 20),
      segments_lib.Segment(dataclasses.replace(_PLAN, noise_multiplier=1.1), 5),
    ]
    entries = ledger.build_ledger(segments, 140, 9)
    self.assertEqual(entries['epsilon'], segments_lib.epsilon_of(segments))
    self.assertEqual([segment['rounds'] for segment in entries['segments']], [20, 5])
    self.assertEqual([segment['noise_multiplier'] for segment in entries['segments']], [2.08, 1.1])
    self.assertEqual(entries['rounds'], 25)
    self.assertEqual(entries['releases'][0]['what'], 'models of all 25 rounds')
    self.assertEqual(entries['mechanism'], entries['segments'][0]['mechanism'])
    json.dumps(entries, allow_nan=False)

  def test_one_without_noise_spoils_the_promise(self) -> None:
    segments = [segments_lib.Segment(_PUBLIC, 4), segments_lib.Segment(_PLAN, 1)]
    entries = ledger.build_ledger(segments, 5, 9)
    self.assertIsNone(entries['epsilon'])
    self.assertStartsWith(ledger.promise(segments), 'none: ')
    for text in (entries['mechanism'], entries['releases'][0]['mechanism']):
      self.assertStartsWith(text, '4 rounds: no noise; 1 round: DP-FedAvg')
    self.assertIsNone(entries['noise'])
    self.assertIn('No guarantee', entries['scaling'])

  def test_no_sentence_promises_what_the_run_does_not(self) -> None:
    for plan in (_PUBLIC, dataclasses.replace(_PLAN, sampling='fixed', is_seeded=True)):
      entries = _ledger(plan, 20)
      self.assertNotIn('guarantee', entries['trust_model'])
      self.assertEqual(entries['bound'], '')

  def test_scaling_is_about_all_rounds(self) -> None:
    segments = [
      segments_lib.Segment(dataclasses.replace(_PLAN, noise_multiplier=0.6), 100),
      segments_lib.Segment(dataclasses.replace(_PLAN, noise_multiplier=6.0), 10),
    ]
    self.assertRegex(ledger.build_ledger(segments, 110, 9)['scaling'], '^With .*clients a round')


class LearnedTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._plan = dataclasses.replace(_PLAN, learned=provenance.total(_ENTRIES))
    self._entries = _ledger(self._plan, 20, 140, 21_000, _ENTRIES)

  def test_what_the_data_set_cost_is_added(self) -> None:
    training = segments_lib.epsilon_of_plan(dataclasses.replace(_PLAN, delta=9e-5), 20) or 0.0
    self.assertAlmostEqual(self._entries['epsilon'], 1.5 + training, places=12)
    self.assertAlmostEqual(self._entries['training_epsilon'], training, places=12)
    self.assertEqual((self._entries['delta'], self._entries['learned_delta']), (1e-4, 1e-5))
    self.assertAlmostEqual(self._entries['training_delta'], 9e-5, places=12)

  def test_the_prices_of_the_releases_make_the_total(self) -> None:
    private = [release for release in self._entries['releases'] if release['private']]
    for name in ('epsilon', 'delta'):
      self.assertAlmostEqual(sum(release.get(name, 0.0) for release in private), self._entries[name], places=12)
    self.assertIn('vocabulary', [release['what'] for release in private])

  def test_it_says_what_is_covered(self) -> None:
    self.assertIn('what the data set was made with (vocabulary)', self._entries['covers'])
    said = _promise(self._plan, 20, _ENTRIES)
    self.assertRegex(said, r'^epsilon (\S+) \(data set 1.50, training (\S+)\) at delta 0.0001 for')
    self.assertIn('(vocabulary)', said)
    self.assertNotIn('data set', _promise(_PLAN, 20, _ENTRIES[1:]))


if __name__ == '__main__':
  absltest.main()
