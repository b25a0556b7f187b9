"""The examples that some variants learn from, and what the model folder says of them.

Public ones may be used freely. No file says which data is public, so `--public_data` is the user's own statement. What
is learned from clients' data is a release of it that the guarantee of the run does not cover: the user has to accept
that, and card and parity.json say it.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, Literal

import numpy as np

from common import files
from contracts import client_shards
from contracts import manifests
from export import parity
from export.variants import base

# Held-out users are what the files are checked on.
_SPLIT = 'train'
HOW_TO = (
  'add --public_data=SHARDS_FOLDER, a data set of the same schema whose examples are public, or '
  "--calibration_shards=SHARDS_FOLDER with --accept_unaccounted_calibration for clients' data, which no epsilon covers"
)
_ACCEPT = '--accept_unaccounted_calibration'


@dataclasses.dataclass(frozen=True)
class Calibration:
  """Examples to learn from.

  Attributes:
    kind: `public`, or `released` if they are of clients.
    shards: The data set; its train split is used.
  """

  kind: Literal['public', 'released']
  shards: client_shards.ClientShards

  def read(self, limit: int) -> parity.Examples:
    """Reads at most so many examples, at even steps through those of all clients.

    Raises:
      ValueError: If a shard is damaged.
    """
    return parity.read_evenly(self.shards, _SPLIT, limit)

  def describe(self, variants: Sequence[base.Variant]) -> dict[str, Any]:
    """Returns what parity.json says of it; the statement is for people.

    Args:
      variants: Those that learned from the examples and are in the folder.
    """
    total, clients = self.shards.num_examples(_SPLIT), self.shards.num_clients(_SPLIT)
    word = manifests.client_word(self.shards.manifest)
    folder = files.short_name(self.shards.path)
    sizes = {variant.name: min(variant.max_examples, total) for variant in variants}
    learned = '; '.join(
      f'{variant.name}: {variant.learned}, from {sizes[variant.name]:,} examples' for variant in variants
    )
    of_whom = f'{folder} ({total:,} examples of {clients:,} {word}s)'
    statement = (
      f'Some files learned from examples of {of_whom}, which the exporter declared public ({learned}).'
      if self.kind == 'public'
      else f"Some files learned from clients' training data, examples of {of_whom} ({learned}). This is a release "
      'without noise: the epsilon of the run does not cover what these files say about those clients.'
    )
    return {
      'kind': self.kind,
      'folder': folder,
      'fingerprint': self.shards.fingerprint,
      'examples': sizes,
      'statement': statement,
    }


def open_data(
  public_data: str | None,
  calibration_shards: str | None,
  is_accepted: bool,
  shards: client_shards.ClientShards,
) -> Calibration | None:
  """Returns the examples that the flags name; None if they name none.

  Args:
    public_data: The value of `--public_data`.
    calibration_shards: The value of `--calibration_shards`.
    is_accepted: The value of `--accept_unaccounted_calibration`.
    shards: The data of the run, with the held-out users that files are checked on.

  Raises:
    ValueError: If the flags contradict each other, or the data set does not fit.
  """
  if public_data and calibration_shards:
    raise ValueError(
      'Expected one data set to learn from, found --public_data and --calibration_shards: remove one of them.'
    )
  if is_accepted and not calibration_shards:
    raise ValueError(f'Expected --calibration_shards with {_ACCEPT}, found none: add it, or remove {_ACCEPT}.')
  if calibration_shards and not is_accepted:
    raise ValueError(
      "Expected public examples to learn from, found clients' data in --calibration_shards: what a file learns from it "
      f'is a release that the epsilon of the run does not cover; add {_ACCEPT} to make it, or give --public_data.'
    )
  if not public_data and not calibration_shards:
    return None
  flag, path = ('--public_data', public_data) if public_data else ('--calibration_shards', calibration_shards)
  data = client_shards.ClientShards(str(path))
  parity.check_schema(
    shards.schema, data.schema, f'examples in {path}', f'preprocess the data of {flag} as that of the run'
  )
  if not data.num_examples(_SPLIT):
    raise ValueError(
      f'Expected examples of the train split in {path}, found none: preprocess it with test_users_share = 0, or give '
      f'another {flag}.'
    )
  _check_clients(flag, data, shards, is_public=bool(public_data))
  return Calibration('public' if public_data else 'released', data)


def check(variants: Mapping[str, base.Variant], data: Calibration | None) -> None:
  """Refuses variants that learn from examples which are not there.

  Args:
    variants: By the names that the flag has for them.
    data: The examples.

  Raises:
    ValueError: If there is such a variant.
  """
  for name, variant in variants.items():
    if variant.calibration != 'none' and data is None:
      raise ValueError(f'Expected examples for {name}, which learns from them, found none: {HOW_TO}.')
    if variant.calibration == 'public' and data is not None and data.kind != 'public':
      raise ValueError(
        f"Expected public examples for {name}, which takes no others, found clients' data of --calibration_shards: "
        'give --public_data instead.'
      )


def _check_clients(
  flag: str, data: client_shards.ClientShards, shards: client_shards.ClientShards, is_public: bool
) -> None:
  """Refuses examples of held-out users, and clients' data that is called public, as far as equal ids show it."""
  given = _ids(data, _SPLIT)
  held_out = len(np.intersect1d(given, _ids(shards, parity.SPLIT)))
  if held_out:
    raise ValueError(
      f'Expected no held-out user of the run in the train split of {data.path}, found {held_out}: the files are '
      f'checked on them; give another {flag}.'
    )
  trained = len(np.intersect1d(given, _ids(shards, _SPLIT))) if is_public else 0
  if trained:
    raise ValueError(
      f"Expected public examples in {data.path}, found {trained} clients of the run's training data in it: give it as "
      f'--calibration_shards, with {_ACCEPT}.'
    )


def _ids(shards: client_shards.ClientShards, split: str) -> np.ndarray:
  ids = np.ascontiguousarray(shards.clients(split).client_ids)
  return ids.view(f'S{ids.shape[1]}').ravel()
