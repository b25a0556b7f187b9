"""How much the labels of clients differ from each other: what makes learning from many users harder than from one."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from contracts import schema as schema_lib

_SEED = 0
# Edges of the histogram of the share of a client's most frequent label.
SHARES = tuple(tenths / 10 for tenths in range(11))
QUANTILES = (0.1, 0.5, 0.9)


class Skew(NamedTuple):
  """How the labels of training clients differ, in a sample of clients.

  Attributes:
    clients: How many were looked at.
    top_shares: The quantiles `QUANTILES` over clients of the share that a client's most frequent label has.
    histogram: How many clients have such a share in each range between two of `SHARES`.
    overall_top: The most frequent label of the sample.
    overall_top_share: Its share there.
    classes_seen: Median number of different labels of a client.
    distance: Mean total-variation distance between the distribution of a client's labels and the sample's.
    distance_by_chance: What it would be if each client's labels were drawn from those of the sample.
  """

  clients: int
  top_shares: tuple[float, ...]
  histogram: tuple[int, ...]
  overall_top: str
  overall_top_share: float
  classes_seen: float
  distance: float
  distance_by_chance: float


def measure(counts: np.ndarray, classes: Sequence[str]) -> Skew:
  """Measures how the labels of clients differ.

  Args:
    counts: Integers `[clients, classes]`, how often a client has a label: at least one label for each client.
    classes: What the labels mean.
  """
  totals = counts.sum(axis=1)
  overall = counts.sum(axis=0) / totals.sum()
  top_shares = counts.max(axis=1) / totals
  stream = np.random.default_rng(_SEED)
  drawn = np.stack([stream.multinomial(total, overall) for total in totals])
  return Skew(
    clients=len(counts),
    top_shares=tuple(np.quantile(top_shares, QUANTILES).tolist()),
    histogram=tuple(np.histogram(top_shares, SHARES)[0].tolist()),
    overall_top=classes[overall.argmax()],
    overall_top_share=float(overall.max()),
    classes_seen=float(np.median(np.count_nonzero(counts, axis=1))),
    distance=_mean_distance(counts, overall),
    distance_by_chance=_mean_distance(drawn, overall),
  )


def count_labels(schema: schema_lib.Schema, labels: np.ndarray) -> np.ndarray:
  """Returns how often each label that counts occurs: int64 `[classes]`."""
  return np.bincount(labels[labels >= 0], minlength=schema.num_classes)


def _mean_distance(counts: np.ndarray, overall: np.ndarray) -> float:
  shares = counts / counts.sum(axis=1, keepdims=True)
  return float(np.abs(shares - overall).sum(axis=1).mean() / 2)
