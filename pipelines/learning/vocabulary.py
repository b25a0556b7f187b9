"""The words that a model knows: declared, from a public file, or learned from the users with differential privacy."""

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import guarantees
from pipelines.featurizers import tokens
from pipelines.learning import base
from pipelines.learning import mechanisms
from pipelines.learning import public_files
from pipelines.rows import rows as rows_lib

SOURCES = ('declared', 'public', 'dp')

# Whoever writes longer ones would make the vocabulary as large as they like.
_MAX_CHARACTERS = 64
# Sums are added up now and then: each time costs as much as there are words.
_MAX_CHUNKS = 16


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """Where the words come from; all are lower case, as `tokens.split` cuts them, and of at most 64 characters.

  Attributes:
    source: 'declared' says them in `words`; 'public' has them in `file`; 'dp' learns them from the training users.
    words: In the order of their codes; what `file` holds or the users had, once known.
    file: Of 'public': a UTF-8 text with one word a line; its words in the order in which they appear first.
    epsilon: Of 'dp': what learning may cost.
    delta: Of 'dp': likewise; it bounds the chance that a word of one user alone is published. Below 1 / users.
    max_words: Of 'public' and 'dp': the most words that are kept, the first of the file or the most frequent.
    words_per_client: Of 'dp': how many different words one user votes for. More votes take more noise on each.
    sha256: Of 'public': of the file. Filled in by `load`, which refuses another file than a declared one.
  """

  source: str
  words: tuple[str, ...] = ()
  file: str = ''
  epsilon: float = 0.0
  delta: float = 0.0
  max_words: int = 10_000
  words_per_client: int = 100
  sha256: str = ''

  def __post_init__(self) -> None:
    if self.source not in SOURCES:
      raise ValueError(f'Expected source to be {", ".join(SOURCES)}, found {self.source!r}.')
    for name in ('max_words', 'words_per_client'):
      if getattr(self, name) < 1:
        raise ValueError(f'Expected {name} >= 1, found {getattr(self, name)}.')
    if self.source == 'declared':
      _check_words(self.words)
    if (self.source == 'public') != bool(self.file):
      raise ValueError(f'Expected a file with source "public" alone, found {self.file!r} and {self.source!r}.')
    if self.source == 'dp':
      mechanisms.check_promise(self.epsilon, self.delta)

  def load(self, folder: str) -> 'Vocabulary':
    """Returns the declared vocabulary with the words of its file, if it has one; its path is relative to `folder`."""
    if self.words and self.source != 'declared':
      raise ValueError(f'Expected words with source "declared" alone, found some with {self.source!r}: leave them out.')
    if self.source != 'public':
      return self
    content, sha256 = public_files.read(folder, self.file, self.sha256)
    try:
      text = content.decode()
    except UnicodeDecodeError as error:
      raise ValueError(f'Expected a file of UTF-8 text, found other bytes in {self.file}: convert it.') from error
    words = tokens.split(pa.array([text], pa.large_string())).words.unique()
    words = words.filter(pa.array(_is_short(words)))[: self.max_words]
    if not len(words):
      raise ValueError(f'Expected a file with words, found none in {self.file}: write one a line.')
    return dataclasses.replace(self, words=tuple(words.to_pylist()), sha256=sha256)

  def learner(self, column: str) -> base.Learner | None:
    """Returns what learns the words of a text column, or None if they are known."""
    if self.source != 'dp' or self.words:
      return None
    return VocabularyLearner(column, self)

  def with_learned(self, value: list[str]) -> 'Vocabulary':
    """Returns the vocabulary with what its learner released."""
    return dataclasses.replace(self, words=tuple(value))

  def entries(self) -> list[dict[str, Any]]:
    """Returns the manifest entries for `Featurizer.provenance`: none if it is learned, for the release has its own."""
    if self.source == 'dp':
      return []
    origin = {'file': self.file, 'sha256': self.sha256} if self.file else {}
    return [base.free_entry('vocabulary', self.source) | {'words': len(self.words)} | origin]


@dataclasses.dataclass(frozen=True)
class VocabularyLearner(base.Learner):
  """Counts how many users vote for each word, and publishes those of many, the most frequent first.

  A user votes once for each of the `words_per_client` words that are most frequent in the user's own text, the earlier
  ones first among equals. Nobody else's text has a say in it, so one user changes as many counts by 1, and no more:
  that is what `mechanisms.calibrate_selection` builds on, and ranking and cutting come after it. (Votes for words
  chosen at random from the text spread over rare words that then miss the threshold: on Shakespeare's speakers, the
  best vocabularies for an epsilon of 1, 2 and 4, at a delta of 1e-5, then cover 54, 66 and 72% of what others say
  instead of 62, 68 and 73%.)

  Attributes:
    column: The text.
    vocabulary: What is asked for.
  """

  column: str
  vocabulary: Vocabulary

  def contribute(self, rows: rows_lib.ClientRows) -> pa.Table:
    """Returns the votes of the clients: `word` and `votes`."""
    words, row_starts = tokens.split(rows.table[self.column])
    encoded = words.dictionary_encode()
    clients = np.repeat(np.arange(len(rows.starts) - 1), np.diff(row_starts[rows.starts]))
    chosen = self._choose(clients, encoded.indices.to_numpy(), _is_short(encoded.dictionary))
    votes = np.bincount(chosen, minlength=len(encoded.dictionary))
    voted = np.flatnonzero(votes)
    return pa.table({'word': encoded.dictionary.take(pa.array(voted)), 'votes': pa.array(votes[voted], pa.int64())})

  def _choose(self, clients: np.ndarray, words: np.ndarray, is_word: np.ndarray) -> np.ndarray:
    """Returns the words voted for, each as often as it has votes, from the client and the word of each token."""
    kept = np.flatnonzero(is_word[words])
    table = pa.table({'client': clients[kept], 'word': words[kept], 'place': kept})
    pairs = table.group_by(['client', 'word'], use_threads=False).aggregate([([], 'count_all'), ('place', 'min')])
    client, word, count, place = (
        pairs[name].to_numpy() for name in ('client', 'word', 'count_all', 'place_min')
    )
    order = np.lexsort((place, -count, client))
    client = client[order]
    rank = np.arange(len(client)) - np.searchsorted(client, client)
    return word[order[rank < self.vocabulary.words_per_client]]

  def add(self, first: pa.Table, second: pa.Table) -> pa.Table:
    """Returns the votes of both; a word may stand in several rows, whose votes add up."""
    both = pa.concat_tables([first, second])
    return both if both['word'].num_chunks < _MAX_CHUNKS else _add_up(both)

  def release(self, total: pa.Table | None) -> base.Release:
    asked = self.vocabulary
    selection = mechanisms.calibrate_selection(asked.epsilon, asked.delta, asked.words_per_client)
    words = [] if total is None else self._publish(_add_up(total), selection)
    problem = ''
    if not words:
      problem = (
          f'Expected words that more than {selection.threshold:.0f} users have, found none, which has cost epsilon '
          f'{asked.epsilon:g} too: allow a larger one, or declare the words or take them from a public file.'
      )
    entry = base.paid_entry(
        f'vocabulary: the most frequent words of {self.column}',
        'Gaussian noise on the number of clients that have a word, words above a threshold',
        guarantees.Cost(asked.epsilon, asked.delta),
    ) | {
        'words_per_client': asked.words_per_client,
        'noise_stddev': selection.stddev,
        'threshold': selection.threshold,
        'words': len(words),
    }
    return base.Release(words, entry, problem)

  def _publish(self, votes: pa.Table, selection: mechanisms.Selection) -> list[str]:
    noisy = mechanisms.add_noise(votes['votes'].to_numpy(), selection.stddev)
    table = pa.table({'word': votes['word'], 'votes': noisy}).filter(pc.field('votes') > selection.threshold)
    ranked = table.sort_by([('votes', 'descending'), ('word', 'ascending')])
    return ranked['word'][: self.vocabulary.max_words].to_pylist()


def _add_up(votes: pa.Table) -> pa.Table:
  added = votes.group_by('word', use_threads=False).aggregate([('votes', 'sum')])
  return added.rename_columns({'votes_sum': 'votes'}).combine_chunks()


def _is_short(words: pa.Array) -> np.ndarray:
  return pc.less_equal(pc.utf8_length(words), _MAX_CHARACTERS).to_numpy(zero_copy_only=False)


def _check_words(words: tuple[str, ...]) -> None:
  """Raises a ValueError unless each is a word of its own that text can hold."""
  if not words:
    raise ValueError('Expected words, found none: list them.')
  found = tokens.split(pa.array(words))
  parts, starts = found.words.to_pylist(), found.row_starts.tolist()
  for word, start, stop in zip(words, starts, starts[1:], strict=False):
    if parts[start:stop] != [word] or len(word) > _MAX_CHARACTERS:
      raise ValueError(f'Expected words in lower case, without spaces and marks inside, found {word!r:.80}.')
  if len(set(words)) < len(words):
    repeated = next(word for word in words if words.count(word) > 1)
    raise ValueError(f'Expected each of the words once, found {repeated!r} again.')
