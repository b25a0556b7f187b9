"""What a model reads and answers with, be it words, characters or items: where the entries of a vocabulary come from.

They are declared, stand in a public file, or are learned from the users with differential privacy. The kinds of entries
are in vocabularies.py.
"""

import abc
import dataclasses
from typing import Any, ClassVar, Self
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts import guarantees
from pipelines.rows import rows as rows_lib
from pipelines.rows import tokens
from pipelines.statistics import base
from pipelines.statistics import mechanisms
from pipelines.statistics import public_files

# Sums are added up now and then: each time costs as much as there are entries.
_MAX_CHUNKS = 16


@dataclasses.dataclass(frozen=True)
class Vocabulary(abc.ABC):
  """Where the entries come from. They are compared in Unicode form NFC, as the texts of a log are.

  A subclass adds three fields, called after its `UNIT`: the entries (`words`), `max_words` and `words_per_client`.

  Attributes:
    source: 'declared' lists the entries; 'public' has them in `file`; 'dp' learns them from the training users.
    file: Of 'public': a UTF-8 text; its entries in the order in which they appear first.
    epsilon: Of 'dp': what learning may cost.
    delta: Of 'dp': likewise; it bounds the chance that an entry of one user alone is published. Below 1 / users.
    sha256: Of 'public': of the file. Filled in by `load`, which refuses another file than a declared one.
  """

  source: str
  _: dataclasses.KW_ONLY
  file: str = ''
  epsilon: float = 0.0
  delta: float = 0.0
  sha256: str = ''

  NAME: ClassVar[str] = 'vocabulary'
  UNIT: ClassVar[str]
  SOURCES: ClassVar[tuple[str, ...]] = ('declared', 'public', 'dp')

  def __post_init__(self) -> None:
    if self.source not in self.SOURCES:
      raise ValueError(f'Expected source to be {", ".join(self.SOURCES)}, found {self.source!r}.')
    for name in (f'max_{self.UNIT}', f'{self.UNIT}_per_client'):
      if getattr(self, name) < 1:
        raise ValueError(f'Expected {name} >= 1, found {getattr(self, name)}.')
    if self.source == 'declared':
      self._check_declared()
    if (self.source == 'public') != bool(self.file):
      raise ValueError(f'Expected a file with source "public" alone, found {self.file!r} and {self.source!r}.')
    if self.source == 'dp':
      mechanisms.check_promise(self.epsilon, self.delta)

  @property
  def entries(self) -> tuple[str, ...]:
    """The entries that are declared, in the file, or were learned, in the order of their codes."""
    return tuple(unicodedata.normalize('NFC', entry) for entry in getattr(self, self.UNIT))

  @property
  def most(self) -> int:
    """The most entries of a file, or learned ones."""
    return getattr(self, f'max_{self.UNIT}')

  @property
  def per_client(self) -> int:
    """How many different entries one user votes for."""
    return getattr(self, f'{self.UNIT}_per_client')

  @abc.abstractmethod
  def cut(self, values: pa.Array | pa.ChunkedArray) -> tokens.Tokens:
    """Cuts the values of a column into entries, known or not."""

  @abc.abstractmethod
  def cut_file(self, text: str) -> pa.Array:
    """Returns the entries of a public file, in their order."""

  @abc.abstractmethod
  def is_allowed(self, entries: pa.Array) -> np.ndarray:
    """Returns which of the entries that are cut may have a code of their own: bool `[entries]`."""

  def require(self, column: str) -> tuple[str, ...]:
    """Returns all entries that have a code.

    Raises:
      ValueError: If they were not loaded or learned yet.
    """
    if not self.entries:
      raise ValueError(f'Expected the {self.UNIT} of {column} to be known, found none: load or learn them first.')
    return self.entries

  def load(self, folder: str) -> Self:
    """Returns the declared vocabulary with the entries of its file, if it has one; its path is relative to `folder`."""
    if self.entries and self.source != 'declared':
      raise ValueError(
        f'Expected {self.UNIT} with source "declared" alone, found some with {self.source!r}: remove them.'
      )
    if self.source != 'public':
      return self
    content, sha256 = public_files.read(folder, self.file, self.sha256)
    try:
      text = unicodedata.normalize('NFC', content.decode('utf-8-sig'))
    except UnicodeDecodeError as error:
      raise ValueError(
        f'Expected a file of UTF-8 text, found other bytes in {self.file}: convert it to UTF-8.'
      ) from error
    entries = self.cut_file(text).unique()
    entries = entries.filter(pa.array(self.is_allowed(entries)))[: self.most]
    if not len(entries):
      raise ValueError(f'Expected a file with {self.UNIT}, found none in {self.file}: write one a line.')
    return dataclasses.replace(self.with_learned(entries.to_pylist()), sha256=sha256)

  def learner(self, column: str) -> base.Learner | None:
    """Returns what learns the entries of a column, or None if they are known."""
    return VocabularyLearner(column, self) if self.source == 'dp' and not self.entries else None

  def with_learned(self, value: list[str]) -> Self:
    """Returns the vocabulary with what its learner released."""
    learned: dict[str, Any] = {self.UNIT: tuple(value)}
    return dataclasses.replace(self, **learned)

  def provenance(self) -> list[dict[str, Any]]:
    """Returns the manifest entries for `Featurizer.provenance`: none if it is learned, for the release has its own."""
    if self.source == 'dp':
      return []
    origin = {'file': self.file, 'sha256': self.sha256} if self.file else {}
    source = self.source if self.file else 'declared'
    return [base.free_entry(self.NAME, source) | {self.UNIT: len(self.entries)} | origin]

  def _check_declared(self) -> None:
    """Raises a ValueError unless each declared entry is one, and can occur in a log."""
    entries = self.entries
    if not entries:
      raise ValueError(f'Expected {self.UNIT}, found none: list them.')
    values = pa.array(entries, pa.large_string())
    found, is_allowed = self.cut(values), self.is_allowed(values)
    parts, starts = found.words.to_pylist(), found.row_starts.tolist()
    for entry, start, stop, allowed in zip(entries, starts, starts[1:], is_allowed, strict=False):
      if parts[start:stop] != [entry] or not allowed:
        raise self.not_an_entry(entry)
    if len(set(entries)) < len(entries):
      repeated = next(entry for entry in entries if entries.count(entry) > 1)
      raise ValueError(f'Expected each of the {self.UNIT} once, found {repeated!r} again.')

  def remedy(self) -> str:
    """Returns what to write in the declaration so that fewer values are outside of the vocabulary."""
    table = f'[examples.{self.NAME}]'
    if self.source == 'public':
      return f'Write a larger max_{self.UNIT} in {table}, or name a file with more {self.UNIT}.'
    if self.source == 'dp':
      return f'Write a larger epsilon, max_{self.UNIT} or {self.UNIT}_per_client in {table}, or take a public file.'
    return (
      f'Write more {self.UNIT} in {table} with source = "declared", or take them from a public file with source = '
      '"public", or learn them from the users at a price with source = "dp".'
    )

  @abc.abstractmethod
  def not_an_entry(self, found: str) -> ValueError:
    """Returns the error that says why what was declared is no entry."""


@dataclasses.dataclass(frozen=True)
class VocabularyLearner(base.Learner):
  """Counts how many users vote for each entry, and publishes those of many, the most frequent first.

  A user votes once for each of the `per_client` entries that are most frequent in the user's own data, the earlier
  ones first among equals. Nobody else's data has a say in it, so one user changes as many counts by 1, and no more:
  that is what `mechanisms.calibrate_selection` builds on, and ranking and cutting come after it. (Votes for words
  chosen at random from the text spread over rare words that then miss the threshold: on Shakespeare's speakers, the
  best vocabularies for an epsilon of 1, 2 and 4, at a delta of 1e-5, then cover 54, 66 and 72% of what others say
  instead of 62, 68 and 73%.)

  Attributes:
    column: The text, or the items.
    vocabulary: What is asked for.
  """

  column: str
  vocabulary: Vocabulary

  @property
  def cost(self) -> guarantees.Cost:
    return guarantees.Cost(self.vocabulary.epsilon, self.vocabulary.delta)

  def contribute(self, rows: rows_lib.ClientRows) -> pa.Table:
    """Returns the votes of the clients: `entry` and `votes`."""
    found, row_starts = self.vocabulary.cut(rows.table[self.column])
    encoded = found.dictionary_encode()
    clients = np.repeat(np.arange(len(rows.starts) - 1), np.diff(row_starts[rows.starts]))
    chosen = self._choose(clients, encoded.indices.to_numpy(), self.vocabulary.is_allowed(encoded.dictionary))
    votes = np.bincount(chosen, minlength=len(encoded.dictionary))
    voted = np.flatnonzero(votes)
    return pa.table({'entry': encoded.dictionary.take(pa.array(voted)), 'votes': pa.array(votes[voted], pa.int64())})

  def _choose(self, clients: np.ndarray, entries: np.ndarray, is_allowed: np.ndarray) -> np.ndarray:
    """Returns the entries voted for, each as often as it has votes, from the client and the entry of each token."""
    kept = np.flatnonzero(is_allowed[entries])
    table = pa.table({'client': clients[kept], 'entry': entries[kept], 'place': kept})
    pairs = table.group_by(['client', 'entry'], use_threads=False).aggregate([([], 'count_all'), ('place', 'min')])
    client, entry, count, place = (pairs[name].to_numpy() for name in ('client', 'entry', 'count_all', 'place_min'))
    order = np.lexsort((place, -count, client))
    client = client[order]
    rank = np.arange(len(client)) - np.searchsorted(client, client)
    return entry[order[rank < self.vocabulary.per_client]]

  def add(self, first: pa.Table, second: pa.Table) -> pa.Table:
    """Returns the votes of both; an entry may stand in several rows, whose votes add up."""
    both = pa.concat_tables([first, second])
    return both if both['entry'].num_chunks < _MAX_CHUNKS else _add_up(both)

  def release(self, total: pa.Table | None) -> base.Release:
    asked, unit = self.vocabulary, self.vocabulary.UNIT
    selection = mechanisms.calibrate_selection(asked.epsilon, asked.delta, asked.per_client)
    entries = [] if total is None else self._publish(_add_up(total), selection)
    problem = ''
    if not entries:
      problem = (
        f'Expected {unit} that more than {selection.threshold:.0f} users have, found none, at a cost of epsilon '
        f'{asked.epsilon:g}: set a larger epsilon, or declare the {unit}, or read them from a public file.'
      )
    entry = base.paid_entry(
      f'{asked.NAME}: the most frequent {unit} of {self.column}',
      f'Gaussian noise on the number of clients that have one of the {unit}, those above a threshold',
      self.cost,
    ) | {
      f'{unit}_per_client': asked.per_client,
      'noise_stddev': selection.stddev,
      'threshold': selection.threshold,
      unit: len(entries),
    }
    return base.Release(entries, entry, problem)

  def _publish(self, votes: pa.Table, selection: mechanisms.Selection) -> list[str]:
    noisy = mechanisms.add_noise(votes['votes'].to_numpy(), selection.stddev)
    table = pa.table({'entry': votes['entry'], 'votes': noisy}).filter(pc.field('votes') > selection.threshold)
    ranked = table.sort_by([('votes', 'descending'), ('entry', 'ascending')])
    return ranked['entry'][: self.vocabulary.most].to_pylist()


def _add_up(votes: pa.Table) -> pa.Table:
  added = votes.group_by('entry', use_threads=False).aggregate([('votes', 'sum')])
  return added.rename_columns({'votes_sum': 'votes'}).combine_chunks()
