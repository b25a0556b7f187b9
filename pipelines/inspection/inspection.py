"""What a data set holds, in figures: how much its users have, how their labels differ, what became of the rows.

The figures are exact, so they tell of single users: for whoever may see the data, and not private.
"""

import re
from typing import Any, NamedTuple

import numpy as np

from common import files
from contracts import client_shards
from contracts import manifests
from contracts import schema as schema_lib
from pipelines.inspection import decoding
from pipelines.inspection import label_skew

MOST_SAMPLED = 1_000

_SEED = 0
_STEPS = (1, 2, 5)  # Of the edges of a histogram, in each power of ten.
_EXAMPLES_SHOWN = 3
_LABELS_SHOWN = 5
# Of a hashed id in hexadecimal digits, as many as NumPy compares at once.
_COMPARED_DIGITS = 16


class Histogram(NamedTuple):
  """How many clients lie in each range between two edges, the lower edge included."""

  edges: tuple[int, ...]
  counts: tuple[int, ...]


class Spread(NamedTuple):
  """How many clients with examples a split has, and how many examples they have, in all and each.

  Attributes:
    clients: Those that have examples.
    examples: Of all clients; the figures that follow are of one client.
    empty: Clients that have none, which only training clients may be.
  """

  clients: int
  examples: int
  least: int
  median: float
  mean: float
  most: int
  empty: int = 0


class LabelCounts(NamedTuple):
  """How often the labels of some clients count.

  Attributes:
    clients: How many clients of each split were looked at.
    counts: By split, int64 `[classes]`.
    unknown: By split, how many labels are none of the classes, so that no model answers with them.
  """

  clients: dict[str, int]
  counts: dict[str, np.ndarray]
  unknown: dict[str, int]


class Figures(NamedTuple):
  """Everything that is said of a data set.

  Attributes:
    name: Of the folder, with the one that it is in.
    data_set: The name that was declared.
    schema: What an example holds.
    manifest: The data set's own account.
    spreads: By split, those that have clients.
    sizes: Training clients with examples by their number, log-scaled.
    skew: None if no training client has a label.
    labels: How often each label counts in each split, over the clients that were looked at.
  """

  name: str
  data_set: str
  schema: schema_lib.Schema
  manifest: dict[str, Any]
  spreads: dict[str, Spread]
  sizes: Histogram
  skew: label_skew.Skew | None
  labels: LabelCounts

  @property
  def who(self) -> str:
    """What to call one of the clients: `user`, or `client` if they are simulated."""
    return manifests.client_word(self.manifest)

  @property
  def users(self) -> int:
    """All users; those of the tail are those of the training split."""
    return sum(spread.clients + spread.empty for split, spread in self.spreads.items() if split != 'tail')

  @property
  def dropped(self) -> dict[str, int]:
    """The rows that are not used, by reason, the most frequent one first."""
    reasons = {**self.manifest.get('bounded_by', {}), **self.manifest['rows']['quarantined']}
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))


def measure(shards: client_shards.ClientShards) -> Figures:
  """Measures a data set; looks at the examples of at most `MOST_SAMPLED` clients a split, always the same ones."""
  spreads = {
    split: _spread(shards.clients(split).examples) for split in client_shards.SPLITS if shards.num_examples(split)
  }
  name = files.short_name(shards.path)
  sizes = count_by_size(_with_examples(shards, 'train'))
  found = {split: _count_labels(shards, split) for split in spreads}
  counts = {split: [count for count, _ in of_clients] for split, of_clients in found.items()}
  skew = _measure_skew(counts['train'], shards.schema) if 'train' in counts else None
  labels = LabelCounts(
    {split: len(of_clients) for split, of_clients in counts.items()},
    {split: np.sum(of_clients, axis=0, dtype=np.int64) for split, of_clients in counts.items()},
    {split: sum(unknown for _, unknown in of_clients) for split, of_clients in found.items()},
  )
  return Figures(name, shards.name, shards.schema, shards.manifest, spreads, sizes, skew, labels)


def count_by_size(sizes: np.ndarray) -> Histogram:
  """Returns how many of the sizes, which are at least 1, lie in each of the ranges from 1, 2, 5, 10, 20, ... on."""
  if not len(sizes):
    return Histogram((1,), ())
  edges = [step * 10**power for power in range(len(str(sizes.max())) + 1) for step in _STEPS]
  counts, _ = np.histogram(sizes, edges)
  found = np.flatnonzero(counts)
  first, stop = int(found[0]), int(found[-1]) + 1
  return Histogram(tuple(edges[first : stop + 1]), tuple(counts[first:stop].tolist()))


def _count_labels(shards: client_shards.ClientShards, split: str) -> list[tuple[np.ndarray, int]]:
  """Returns how often each label counts for each client with examples that is looked at, and how many are unknown."""
  clients = np.flatnonzero(shards.clients(split).examples)
  if len(clients) > MOST_SAMPLED:
    clients = np.sort(np.random.default_rng(_SEED).choice(clients, MOST_SAMPLED, replace=False))
  labels = (shards.read(split, int(client))[1] for client in clients)
  return [
    (label_skew.count_labels(shards.schema, some), int(np.count_nonzero(some == schema_lib.UNKNOWN_LABEL)))
    for some in labels
  ]


def _measure_skew(counts: list[np.ndarray], schema: schema_lib.Schema) -> label_skew.Skew | None:
  counted = [count for count in counts if count.any()]
  return label_skew.measure(np.stack(counted), schema.classes) if counted else None


def _with_examples(shards: client_shards.ClientShards, split: str) -> np.ndarray:
  """Returns the numbers of examples of the clients that have some."""
  examples = shards.clients(split).examples
  return examples[examples > 0]


def _spread(all_examples: np.ndarray) -> Spread:
  examples = all_examples[all_examples > 0]
  return Spread(
    len(examples),
    int(examples.sum()),
    int(examples.min()),
    float(np.median(examples)),
    float(examples.mean()),
    int(examples.max()),
    len(all_examples) - len(examples),
  )


def verify(shards: client_shards.ClientShards) -> int:
  """Checks every file's hash and every client's checksum, and returns how many entries of clients there are.

  Raises:
    ValueError: Naming the first file that is not what was written.
  """
  shards.verify()
  entries = 0
  for split in client_shards.SPLITS:
    for index in range(shards.num_clients(split)):
      shards.read(split, index)
      entries += 1
  return entries


def find_client(shards: client_shards.ClientShards, wanted: str) -> str:
  """Returns the hashed id of one client.

  Args:
    shards: Where to look.
    wanted: The client's place among the training clients, from 0, or the beginning of its hashed id.

  Raises:
    ValueError: If there is none, or more than one.
  """
  number = shards.num_clients('train')
  if re.fullmatch('[0-9]+', wanted) and int(wanted) < number:
    return shards.client_id('train', int(wanted))
  found = sorted({shards.client_id(*place) for place in _places(shards, wanted.lower())})
  if len(found) != 1:
    raise ValueError(
      f'Expected --client to be a number below {number} or the beginning of one hashed id, found {wanted!r}, which '
      f'{len(found) or "no"} clients have: give {"more of its digits" if found else "another"}.'
    )
  return found[0]


def _places(shards: client_shards.ClientShards, prefix: str) -> list[tuple[str, int]]:
  """Returns split and place of each entry whose client's id begins so."""
  if not re.fullmatch('[0-9a-f]+', prefix):
    return []
  compared = prefix[:_COMPARED_DIGITS]
  places = []
  for split in client_shards.SPLITS:
    digits = np.ascontiguousarray(shards.clients(split).client_ids).view('>u8')[:, 0]
    alike = np.flatnonzero(digits >> np.uint64(4 * (_COMPARED_DIGITS - len(compared))) == int(compared, 16))
    places += [(split, int(index)) for index in alike if shards.client_id(split, int(index)).startswith(prefix)]
  return places


def describe_client(shards: client_shards.ClientShards, client_id: str) -> str:
  """Returns what one client has, its first examples decoded."""
  lines = [f'client {client_id}']
  for split, index in _places(shards, client_id):
    features, labels = shards.read(split, index)
    counts = label_skew.count_labels(shards.schema, labels)
    most = [label for label in np.argsort(-counts, kind='stable')[:_LABELS_SHOWN] if counts[label]]
    named = ', '.join(f'{shards.schema.classes[label]!r} {counts[label] / counts.sum():.0%}' for label in most)
    examples = f'{len(features):,} example{"s" * (len(features) != 1)}'
    lines.append(f'\n{split}: {examples}; most frequent labels: {named or "none"}')
    for example in range(min(len(features), _EXAMPLES_SHOWN)):
      lines.append(f'\n--- {split} {example}')
      lines.append(decoding.decode(shards.schema, features[example], labels[example]))
  return '\n'.join(lines)
