"""Tests of where words come from. What is learned is noisy: chances of failing are given."""

import dataclasses
import hashlib
import json
import os
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa

from pipelines import guarantees
from pipelines.learning import base
from pipelines.learning import mechanisms
from pipelines.learning import vocabulary
from pipelines.rows import rows as rows_lib

_LEARNED = vocabulary.Vocabulary('dp', epsilon=1.0, delta=1e-9, words_per_client=2)
_TEXTS = strategies.lists(strategies.text('abcd  ', max_size=20), max_size=3)


def _rows(*clients: list[str]) -> rows_lib.ClientRows:
  texts = pa.array([text for client in clients for text in client], pa.large_string())
  return rows_lib.ClientRows(pa.table({'text': texts}), np.cumsum([0, *map(len, clients)]))


def _contribute(*clients: list[str], words_per_client: int = 2) -> dict[str, int]:
  learner = vocabulary.VocabularyLearner('text', dataclasses.replace(_LEARNED, words_per_client=words_per_client))
  return _votes(learner.contribute(_rows(*clients)))


def _votes(table: pa.Table) -> dict[str, int]:
  votes = table.to_pylist()
  return {word: sum(row['votes'] for row in votes if row['word'] == word) for word in table['word'].to_pylist()}


def _table(**votes: int) -> pa.Table:
  return pa.table({'word': pa.array(votes, pa.large_string()), 'votes': pa.array(votes.values(), pa.int64())})


class VocabularyTest(parameterized.TestCase):
  def _write(self, content: str | bytes) -> vocabulary.Vocabulary:
    self._folder = pathlib.Path(self.create_tempdir().full_path)
    (self._folder / 'list.txt').write_bytes(content if isinstance(content, bytes) else content.encode())
    return vocabulary.Vocabulary('public', file='list.txt', max_words=3)

  def test_declared(self) -> None:
    declared = vocabulary.Vocabulary('declared', ('to', "don't", '.'))
    self.assertIs(declared.load('/nowhere'), declared)
    self.assertIsNone(declared.learner('text'))
    self.assertEqual([entry['source'] for entry in declared.entries()], ['declared'])

  def test_a_public_file(self) -> None:
    public = self._write(f'The\nof\n\nthe\n{"x" * 65}\nEnd.\r\nmore').load(str(self._folder))
    self.assertEqual(public.words, ('the', 'of', 'end'))
    self.assertIsNone(public.learner('text'))
    (entry,) = public.entries()
    sha256 = hashlib.sha256((self._folder / 'list.txt').read_bytes()).hexdigest()
    expected = {'source': 'public', 'words': 3, 'file': 'list.txt', 'sha256': sha256, 'epsilon': 0.0, 'delta': 0.0}
    self.assertEqual(entry, entry | expected)
    self.assertEqual(dataclasses.replace(public, words=()).load(str(self._folder)), public)

  @parameterized.parameters(
      (b'\xff\xfe', 'Expected a file of UTF-8 text, found other bytes in list.txt'),
      (b' \n', 'Expected a file with words, found none in list.txt'),
  )
  def test_a_file_without_words(self, content: bytes, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      self._write(content).load(str(self._folder))

  def test_another_file_than_the_declared_one(self) -> None:
    public = dataclasses.replace(self._write('the'), sha256='0' * 64)
    with self.assertRaisesRegex(ValueError, 'declared sha256, found another list.txt'):
      public.load(str(self._folder))

  @parameterized.parameters('dp', 'public')
  def test_nobody_declares_what_was_learned_or_read(self, source: str) -> None:
    given = vocabulary.Vocabulary(source, ('a',), 'f' if source == 'public' else '', epsilon=1.0, delta=1e-6)
    with self.assertRaisesRegex(ValueError, f'words with source "declared" alone, found some with {source!r}'):
      given.load('/nowhere')

  def test_a_missing_file_is_named(self) -> None:
    with self.assertRaises(FileNotFoundError) as caught:
      vocabulary.Vocabulary('public', file='none.txt').load(os.path.join('some', 'folder'))
    self.assertEqual(caught.exception.filename, os.path.join('some', 'folder', 'none.txt'))

  @parameterized.parameters(
      ({'source': 'exact'}, 'Expected source to be declared, public, dp'),
      ({'source': 'declared'}, 'Expected words, found none'),
      ({'source': 'declared', 'words': ('a', 'The')}, "lower case, .*'The'"),
      ({'source': 'declared', 'words': ('a', 'new york')}, "without spaces .*'new york'"),
      ({'source': 'declared', 'words': ('a', '')}, "found ''"),
      ({'source': 'declared', 'words': ('x' * 65,)}, 'found'),
      ({'source': 'declared', 'words': ('a', 'b', 'a')}, "once, found 'a' again"),
      ({'source': 'public'}, 'Expected a file'),
      ({'source': 'declared', 'words': ('a',), 'file': 'f'}, 'Expected a file with source "public" alone'),
      ({'source': 'dp', 'delta': 1e-6}, 'Expected 0 < epsilon'),
      ({'source': 'dp', 'epsilon': 1.0}, 'Expected 0 < delta < 1'),
      ({'source': 'dp', 'epsilon': 1.0, 'delta': 1e-6, 'words_per_client': 0}, 'words_per_client >= 1'),
      ({'source': 'dp', 'epsilon': 1.0, 'delta': 1e-6, 'max_words': 0}, 'max_words >= 1'),
  )
  def test_mistakes(self, fields: dict, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      vocabulary.Vocabulary(**fields)


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
        'what': 'vocabulary: the most frequent words of text', 'source': 'dp', 'epsilon': 1.0, 'delta': 1e-9,
        'unit': 'client', 'adjacency': guarantees.ADJACENCY, 'words_per_client': 2,
        'noise_stddev': selection.stddev, 'threshold': selection.threshold, 'words': 1,
    }  # fmt: skip
    self.assertEqual(release.entry, release.entry | expected)
    json.dumps(release._asdict(), allow_nan=False)
    self.assertEqual(release.problem, '')
    base.check_entry(release.entry)
    self.assertEqual(_LEARNED.with_learned(release.value).words, ('a',))

  @parameterized.parameters([None], [_table()], [_table(rare=1)])
  def test_no_words_is_a_problem_and_has_its_price(self, total: pa.Table | None) -> None:
    release = vocabulary.VocabularyLearner('text', _LEARNED).release(total)
    self.assertRegex(release.problem, r'^Expected words that more than \d+ users have, found none, .* epsilon 1 too')
    self.assertNotIn('\n', release.problem)
    self.assertEqual((release.value, release.entry['epsilon'], release.entry['words']), ([], 1.0, 0))


if __name__ == '__main__':
  absltest.main()
