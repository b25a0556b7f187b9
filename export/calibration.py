"""The examples that some variants learn from, and what the model folder says of them.

Public ones may be used freely. No file says which data is public, so `--public_data` is the user's own statement. What
is learned from clients' data is a release of it that the guarantee of the run does not cover: the user has to accept
that, and card and parity.json say it.
"""

from collections.abc import Collection, Mapping, Sequence
import dataclasses
from typing import Any, Literal

import numpy as np

from common import files
from contracts import client_shards
from contracts import manifests
from export import parity
from export import preprocessing
from export.variants import base

_SPLIT = 'train'
_HELD_OUT = ('test', 'validation')
# What a data set may call its columns, and how often it cuts a window: the values of an example do not depend on it.
# The names of columns with numbers say their order.
_NO_MATTER = ('column', 'label', 'stride')
HOW_TO = (
  'add --public_data=SHARDS_FOLDER, a data set made as that of the run whose examples are public, or '
  "--calibration_shards=SHARDS_FOLDER with --accept_unaccounted_calibration for clients' data, which no epsilon covers"
)
_ACCEPT = '--accept_unaccounted_calibration'


@dataclasses.dataclass(frozen=True)
class Calibration:
  """Examples to learn from.

  Attributes:
    kind: `public`, or `released` if they are of clients.
    shards: The data set; its train split is used.
    unchecked: Why nobody can say whether held-out users of the run are in it; empty if there are none.
  """

  kind: Literal['public', 'released']
  shards: client_shards.ClientShards
  unchecked: str = ''
  _read: dict[int, parity.Examples] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

  @property
  def flag(self) -> str:
    """The flag that gives it."""
    return '--public_data' if self.kind == 'public' else '--calibration_shards'

  def read(self, limit: int) -> parity.Examples:
    """Reads at most so many examples, at even steps through those of all clients; once, for all variants.

    Raises:
      ValueError: If a shard is damaged.
    """
    size = min(limit, self.shards.num_examples(_SPLIT))
    if size not in self._read:
      self._read[size] = parity.read_evenly(self.shards, _SPLIT, size)
    return self._read[size]

  def describe(self, variants: Sequence[base.Variant], written: Collection[str]) -> dict[str, Any]:
    """Returns what parity.json says of it; the statement is for people.

    Args:
      variants: Those that learned from the examples, and of which parity.json has figures, or the reason of a failure.
      written: The names of those whose files are in the folder.
    """
    total, clients = self.shards.num_examples(_SPLIT), self.shards.num_clients(_SPLIT)
    word = manifests.client_word(self.shards.manifest)
    folder = files.short_name(self.shards.path)
    sizes = {variant.name: min(variant.max_examples, total) for variant in variants}
    learned = '; '.join(
      f'{variant.name}{"" if variant.name in written else ", of which only figures or a failure are here"}: '
      f'{variant.learned}, from {sizes[variant.name]:,} examples'
      for variant in variants
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
      'statement': statement + self._describe_unchecked(),
    }

  def _describe_unchecked(self) -> str:
    if not self.unchecked:
      return ''
    return (
      f' Whether data of held-out clients of the run is among them could not be checked: {self.unchecked}. If it is, '
      'the accuracy of these files is overstated.'
    )


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
  data = Calibration(
    'public' if public_data else 'released', client_shards.ClientShards(public_data or calibration_shards or '')
  )
  _check_examples(data, shards)
  return dataclasses.replace(data, unchecked=_check_clients(data, shards))


def check(variants: Mapping[str, base.Variant], data: Calibration | None) -> None:
  """Refuses variants that learn from examples that are not there, and examples that no variant learns from.

  Args:
    variants: By the names that the flag has for them.
    data: The examples.

  Raises:
    ValueError: If there is such a variant, or there are such examples.
  """
  if data and all(variant.calibration == 'none' for variant in variants.values()):
    raise ValueError(
      f'Expected a variant that learns from the examples of {data.flag}, found {", ".join(variants)}: add one, such as '
      f'int8, to --variants, or remove {data.flag}.'
    )
  for name, variant in variants.items():
    if variant.calibration != 'none' and data is None:
      raise ValueError(f'Expected examples for {name}, which learns from them, found none: {HOW_TO}.')
    if variant.calibration == 'public' and data is not None and data.kind != 'public':
      raise ValueError(
        f"Expected public examples for {name}, which takes no others, found clients' data of --calibration_shards: "
        'give --public_data instead.'
      )


def _check_examples(data: Calibration, shards: client_shards.ClientShards) -> None:
  """Refuses data without examples, and examples that were made in another way than those of the run."""
  path = data.shards.path
  remedy = (
    f"preprocess the data of {data.flag} with [examples] as in the declaration of the run's {shards.path}/"
    f'{client_shards.MANIFEST_NAME}; declare what the run learned: source = "declared", with its classes or its mean '
    'and stddev'
  )
  parity.check_schema(shards.schema, data.shards.schema, f'examples in {path}', remedy)
  if not data.shards.num_examples(_SPLIT):
    raise ValueError(
      f'Expected examples of the train split in {path}, found none: preprocess it with test_users_share = 0, or give '
      f'another {data.flag}.'
    )
  given, trained = (_steps(each.manifest) for each in (data.shards, shards))
  differing = sorted(key for key in given.keys() | trained.keys() if given.get(key) != trained.get(key))
  if differing:
    raise ValueError(
      f'Expected examples in {path} made as those of the run, found another {" and ".join(differing)}: {remedy}.'
    )


def _steps(manifest: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what was done to rows to make examples of them."""
  steps = {
    key: value for key, value in preprocessing.describe(manifest, {})['examples'].items() if key not in _NO_MATTER
  }
  # Where a mean comes from does not change what is done with it.
  return steps | {key: {**value, 'source': ''} for key, value in steps.items() if key == 'scaling'}


def _check_clients(data: Calibration, shards: client_shards.ClientShards) -> str:
  """Refuses examples of held-out users, and clients' data that is called public, as far as the data sets show it.

  Returns:
    Why it cannot be said; empty if it can.
  """
  is_same_input = _is_same_input(data.shards.manifest, shards.manifest)
  other = f'give another {data.flag}, or --calibration_shards={shards.path} with {_ACCEPT}'
  if is_same_input and data.kind == 'public':
    raise ValueError(
      f'Expected public examples in {data.shards.path}, found the input of the run in it, with its users: {other}.'
    )
  # Within one data set, an id is one client.
  if data.shards.fingerprint != shards.fingerprint:
    given, own = (each.manifest.get('declaration', {}) for each in (data.shards, shards))
    is_simulated = 'partition' in given or 'partition' in own
    if is_same_input and (is_simulated or _id_column(given) != _id_column(own)):
      raise ValueError(
        f'Expected other rows than those of the run in {data.shards.path}, found the same input, split into other '
        f'clients, with rows of held-out ones: {other}.'
      )
    if is_simulated:
      return 'simulated clients have no ids of their own'
    if data.shards.manifest.get('client_id_key') != shards.manifest.get('client_id_key'):
      if data.kind == 'released':
        raise ValueError(
          f'Expected client ids made with the key of the run in {data.shards.path}, found another key, so that nobody '
          'can say whether held-out users of the run are in it: preprocess it with the --client_id_key_file of the run.'
        )
      return 'its client ids were made with another key'
  _check_ids(data, shards)
  return ''


def _id_column(declaration: Mapping[str, Any]) -> str | None:
  return declaration.get('client', {}).get('id')


def _is_same_input(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
  return 'input' in first and 'input' in second and first['input']['sha256'] == second['input']['sha256']


def _check_ids(data: Calibration, shards: client_shards.ClientShards) -> None:
  path, given = data.shards.path, _ids(data.shards, _SPLIT)
  by_chance = ''
  if shards.manifest.get('declaration', {}).get('client', {}).get('public_ids'):
    by_chance = ' If ids such as 17 are equal by chance, write others into its input, such as other-17.'
  held_out = len(np.intersect1d(given, np.concatenate([_ids(shards, split) for split in _HELD_OUT])))
  if held_out:
    raise ValueError(
      f'Expected no held-out user of the run in the train split of {path}, found {held_out}: the files are '
      f'checked on them; give another {data.flag}.{by_chance}'
    )
  trained = len(np.intersect1d(given, _ids(shards, _SPLIT))) if data.kind == 'public' else 0
  if trained:
    raise ValueError(
      f"Expected public examples in {path}, found {trained} clients of the run's training data in it: give it as "
      f'--calibration_shards, with {_ACCEPT}.{by_chance}'
    )


def _ids(shards: client_shards.ClientShards, split: str) -> np.ndarray:
  ids = np.ascontiguousarray(shards.clients(split).client_ids)
  return ids.view(f'S{ids.shape[1]}').ravel()
