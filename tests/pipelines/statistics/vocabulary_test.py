"""Tests of learning vocabularies. What is learned is noisy: chances of failing are given."""

import dataclasses
import json

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa

from contracts import guarantees
from pipelines.featurizers import vocabularies
from pipelines.rows import rows as rows_lib
from pipelines.statistics import base
from pipelines.statistics import mechanisms
from pipelines.statistics import vocabulary

_LEARNED = vocabularies.Words('dp', epsilon=1.0, delta=1e-9, words_per_client=2)
_TEXTS = strategies.lists(strategies.text('abcd  ', max_size=20), max_size=3)


def _rows(*clients: list[str]) -> rows_lib.ClientRows:
  texts = pa.array([text for client in clients for text in client], pa.large_string())
  return rows_lib.ClientRows(pa.table({'text': texts}), np.cumsum([0, *map(len, clients)]))


def _contribute(*clients: list[str], words_per_client: int = 2) -> dict[str, int]:
  learner = vocabulary.VocabularyLearner('text', dataclasses.replace(_LEARNED, words_per_client=words_per_client))
  return _votes(learner.contribute(_rows(*clients)))


def _votes(table: pa.Table) -> dict[str, int]:
  votes = table.to_pylist()
  return {word: sum(row['votes'] for row in votes if row['entry'] == word) for word in table['entry'].to_pylist()}


def _table(**votes: int) -> pa.Table:
  return pa.table({'entry': pa.array(votes, pa.large_string()), 'votes': pa.array(votes.values(), pa.int64())})


class ContributeTest(parameterized.TestCase):
  def test_a_client_votes_once_for_each_of_its_most_frequent_words(self) -> None:
    self.assertEqual(_contribute(['d a b b', 'c c a a']), {'a': 1, 'b': 1})

  def test_among_words_as_frequent_the_earlier_ones(self) -> None:
    self.assertEqual(_contribute(['z y'], ['x', 'z y']), {'z': 2, 'y': 1, 'x': 1})

  def test_words_that_are_too_long_get_no_votes(self) -> None:
    self.assertEqual(_contribute([f'{"é" * 65} {"é" * 64}']), {'é' * 64: 1})

  @parameterized.parameters([[]], [[[], ['']]])
  def test_clients_without_words(self, clients: list[list[str]]) -> None:
    self.assertEmpty(_contribute(*clients))

  @hypothesis.settings(max_examples=100, deadline=None)
  @hypothesis.given(strategies.lists(_TEXTS, max_size=4), _TEXTS, strategies.integers(1, 3), strategies.integers(0, 4))
  def test_a_client_more_is_at_most_so_many_votes_more(
    self, clients: list[list[str]], client: list[str], words_per_client: int, place: int
  ) -> None:
    without = _contribute(*clients, words_per_client=words_per_client)
    both = _contribute(*clients[:place], client, *clients[place:], words_per_client=words_per_client)
    changes = [both[word] - without.get(word, 0) for word in both]
    self.assertContainsSubset(without, both)
    self.assertContainsSubset(set(changes), {0, 1})
    self.assertEqual(sum(changes), min(words_per_client, len(set(' '.join(client).split()))))

  def test_sums_of_parts_are_the_sum_of_all(self) -> None:
    rng = np.random.default_rng(0)
    clients = [[' '.join(rng.choice(list('abcdefgh'), 6))] for _ in range(40)]
    learner = vocabulary.VocabularyLearner('text', _LEARNED)
    total = learner.contribute(_rows())
    for client in clients:
      total = learner.add(total, learner.contribute(_rows(client)))
      self.assertLess(total.num_rows, 8 + 2 * 16)
    self.assertEqual(_votes(total), _contribute(*clients))

  def test_characters_get_votes_as_words_do_but_those_that_are_free(self) -> None:
    asked = vocabularies.Alphabet('dp', epsilon=1.0, delta=1e-9, characters_per_client=2)
    learner = vocabulary.VocabularyLearner('text', asked)
    # A woman, a joiner, a girl: code points, of which the most frequent two get votes; ASCII and newlines get none.
    votes = learner.contribute(_rows(['ааа бб в\n'], ['👩‍👧 👩👧']))
    self.assertEqual(_votes(votes), {'а': 1, 'б': 1, '👩': 1, '👧': 1})

  def test_items_get_votes(self) -> None:
    asked = vocabularies.Items('dp', epsilon=1.0, delta=1e-9, items_per_client=1)
    votes = vocabulary.VocabularyLearner('text', asked).contribute(_rows(['17', '4', '17'], ['4'], ['x' * 257]))
    self.assertEqual(_votes(votes), {'17': 1, '4': 1})


class ReleaseTest(parameterized.TestCase):
  def _release(self, max_words: int = 10, **votes: int) -> list[str]:
    asked = dataclasses.replace(_LEARNED, max_words=max_words)
    return vocabulary.VocabularyLearner('text', asked).release(_table(**votes)).value

  # Thousands of votes are hundreds of deviations of the noise apart, and a word of one client passes with a chance of
  # delta, once in a billion times.
  def test_frequent_words_first_and_rare_ones_not(self) -> None:
    self.assertEqual(self._release(rare=1, less=2000, most=9000, more=5000), ['most', 'more', 'less'])

  def test_as_many_as_were_asked_for(self) -> None:
    self.assertEqual(self._release(max_words=2, less=2000, most=9000, more=5000), ['most', 'more'])

  def test_votes_of_a_word_in_several_rows_add_up(self) -> None:
    table = pa.concat_tables([_table(a=1000, b=1500), _table(a=1000)])
    self.assertEqual(vocabulary.VocabularyLearner('text', _LEARNED).release(table).value, ['a', 'b'])

  def test_what_the_guarantee_rests_on_is_on_record(self) -> None:
    release = vocabulary.VocabularyLearner('text', _LEARNED).release(_table(a=2000))
    selection = mechanisms.calibrate_selection(1.0, 1e-9, 2)
    expected = {
      'what': 'vocabulary: the most frequent words of text',
      'source': 'dp',
      'epsilon': 1.0,
      'delta': 1e-9,
      'unit': 'client',
      'adjacency': guarantees.ADJACENCY,
      'words_per_client': 2,
      'noise_stddev': selection.stddev,
      'threshold': selection.threshold,
      'words': 1,
    }
    self.assertEqual(release.entry, release.entry | expected)
    json.dumps(release._asdict(), allow_nan=False)
    self.assertEqual(release.problem, '')
    base.check_entry(release.entry)
    self.assertEqual(_LEARNED.with_learned(release.value).words, ('a',))

  @parameterized.parameters([None], [_table()], [_table(rare=1)])
  def test_no_words_is_a_problem_and_has_its_price(self, total: pa.Table | None) -> None:
    release = vocabulary.VocabularyLearner('text', _LEARNED).release(total)
    self.assertRegex(release.problem, r'^Expected words that more than \d+ users have, found none, .* epsilon 1: set')
    self.assertNotIn('\n', release.problem)
    self.assertEqual((release.value, release.entry['epsilon'], release.entry['words']), ([], 1.0, 0))

  def test_what_to_do_if_no_word_is_frequent(self) -> None:
    learner = vocabulary.VocabularyLearner('text', _LEARNED)
    self.assertRegex(learner.release(_table(a=4)).problem, 'set a larger epsilon, or declare the words, or read them')
    # Four votes are 44 below the threshold of 48 at first and 1.5 above it then, each more than five deviations of the
    # noise: this fails once in ten million times.
    larger = dataclasses.replace(_LEARNED, epsilon=50.0)
    self.assertEqual(vocabulary.VocabularyLearner('text', larger).release(_table(a=4)).value, ['a'])
    folder = self.create_tempdir()
    folder.create_file('words.txt', 'a')
    for other in (vocabularies.Words('declared', ('a',)), vocabularies.Words('public', file='words.txt')):
      loaded = other.load(folder.full_path)
      self.assertEqual((loaded.require('text'), loaded.learner('text')), (('a',), None))


if __name__ == '__main__':
  absltest.main()
