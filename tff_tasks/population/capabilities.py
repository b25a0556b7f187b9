"""Capability classes: clients whose devices do more or less work in a round, declared in a TOML file.

    [classes.fast]
    share = 0.4
    epochs = 2

    [classes.slow]
    share = 0.6
    batch_size = 4
    examples = 0.5

What a class does not say is as the flags say. Instead of shares, `clients = "FILE.csv"` above the classes names a file
with a row for each client.
"""

from collections.abc import Mapping
import dataclasses
import functools
import hashlib
import json
import math
import os
import re
import tomllib
from typing import Any

import numpy as np

from common import suggestions
from contracts import client_shards
from tff_tasks.population import client_table

_NAME = re.compile('[A-Za-z0-9_-]{1,40}')
_KEYS = ('share', 'epochs', 'batch_size', 'examples')
_MOST = 2**31 - 1
_HASH_KEY = b'capability class'


@dataclasses.dataclass(frozen=True)
class Capability:
  """What the clients of a class do in a round.

  Attributes:
    name: Of the class.
    epochs: Passes over their examples.
    batch_size: Examples a step.
    examples: The share of their examples that they use, drawn anew each round.
  """

  name: str
  epochs: int
  batch_size: int
  examples: float


@dataclasses.dataclass(frozen=True, eq=False)
class Capabilities:
  """The class of each client.

  Attributes:
    classes: In the order of the file.
    class_of: int64 `[population]`, the place in `classes` of each training client.
  """

  classes: tuple[Capability, ...]
  class_of: np.ndarray

  @property
  def names(self) -> list[str]:
    return [one.name for one in self.classes]

  @property
  def largest_batch(self) -> int:
    """The largest batch size of a class."""
    return max(one.batch_size for one in self.classes)

  @functools.cached_property
  def work(self) -> np.ndarray:
    """int32 `[population, 2]`: epochs and batch size of each client."""
    by_class = np.array([[one.epochs, one.batch_size] for one in self.classes], np.int32)
    return by_class[self.class_of]

  def limit(self, num_examples: np.ndarray) -> np.ndarray:
    """Returns how many of its examples, int64 `[population]`, each client may use: at least one."""
    shares = np.array([one.examples for one in self.classes])[self.class_of]
    return np.maximum(np.rint(shares * num_examples).astype(np.int64), 1)

  def count(self, clients: np.ndarray) -> dict[str, int]:
    """Returns how many of some clients are of each class.

    Args:
      clients: Indices into the training split.
    """
    counts = np.bincount(self.class_of[clients], minlength=len(self.classes))
    return dict(zip(self.names, counts.tolist(), strict=True))

  @property
  def name(self) -> str:
    """Says so in words, and tells capabilities apart."""
    classes = json.dumps([dataclasses.astuple(one) for one in self.classes])
    digest = hashlib.sha256(classes.encode() + self.class_of.astype('<i8').tobytes()).hexdigest()
    counts = ', '.join(f'{name} {count:,}' for name, count in self.count(np.arange(len(self.class_of))).items())
    return f'{counts} clients, SHA-256 {digest[:16]}'


def read(path: str | None, shards: client_shards.ClientShards, epochs: int, batch_size: int) -> Capabilities | None:
  """Returns what --capabilities says; None: all clients do the same.

  Args:
    path: The TOML file, or None.
    shards: The data set.
    epochs: Of a class that does not say it.
    batch_size: Of a class that does not say it.

  Raises:
    ValueError: If there is no such file, it says something else, or it does not fit the data set.
  """
  if not path:
    return None
  content = _load(path)
  _check_keys(path, '', content, ('clients', 'classes'))
  tables = content.get('classes')
  if not isinstance(tables, dict) or not tables or not all(isinstance(table, dict) for table in tables.values()):
    raise _mistake(path, 'classes', 'none', 'write a table such as [classes.slow] for each')
  classes = tuple(_read_class(path, name, table, epochs, batch_size) for name, table in tables.items())
  shares = {name: _number(path, name, table, 'share') for name, table in tables.items() if 'share' in table}
  if 'clients' not in content:
    return Capabilities(classes, _draw(_check_shares(path, shares, list(tables)), shards.clients('train').client_ids))
  if shares:
    raise _mistake(path, 'shares or clients', 'both', 'leave one out')
  if not isinstance(content['clients'], str):
    raise _mistake(path, 'clients to be the path of a file', 'something else', 'write it like clients = "classes.csv"')
  return Capabilities(classes, _read_column(path, content['clients'], list(tables), shards))


def _load(path: str) -> dict[str, Any]:
  try:
    with open(path, 'rb') as file:
      return tomllib.loads(file.read().decode('utf-8-sig'))
  except OSError as error:
    raise ValueError(
      f'Expected --capabilities to be the path of a TOML file, found {error.strerror} at {path}: correct it.'
    ) from error
  except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
    raise _mistake(path, 'TOML', f'a mistake ({error})', 'correct it') from error


def _read_class(path: str, name: str, table: Mapping[str, Any], epochs: int, batch_size: int) -> Capability:
  if not _NAME.fullmatch(name):
    raise _mistake(path, 'names of classes of letters, digits, _ and -', 'another', 'rename it')
  _check_keys(path, name, table, _KEYS)
  return Capability(
    name,
    _integer(path, name, table, 'epochs', epochs),
    _integer(path, name, table, 'batch_size', batch_size),
    _number(path, name, table, 'examples'),
  )


def _check_keys(path: str, name: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
  for key in table:
    if key not in known:
      where = f'a key of [classes.{name}]' if name else 'clients or classes'
      raise ValueError(f'Expected {where} in {path}, found {key[:40]!r}: {suggestions.suggest(key, known)}')


def _integer(path: str, name: str, table: Mapping[str, Any], key: str, default: int) -> int:
  value = table.get(key, default)
  if type(value) is not int or not 1 <= value <= _MOST:
    raise _mistake(path, f'{key} of [classes.{name}] to be an integer of at least 1', _show(value), f'set {key} = 1')
  return value


def _number(path: str, name: str, table: Mapping[str, Any], key: str) -> float:
  value = table.get(key, 1.0)
  if type(value) not in (int, float) or not 0 < value <= 1:
    expected = f'{key} of [classes.{name}] to be above 0 and at most 1'
    raise _mistake(path, expected, _show(value), f'set {key} = 0.5 or the like')
  return float(value)


def _check_shares(path: str, shares: Mapping[str, float], names: list[str]) -> list[float]:
  missing = [name for name in names if name not in shares]
  if missing:
    remedy = 'add share = 0.5 or the like to each class, or a line clients = "classes.csv" above all classes'
    raise _mistake(path, f'a share of [classes.{missing[0]}]', 'none', remedy)
  total = math.fsum(shares.values())
  if abs(total - 1) > 1e-9:
    last = shares[names[-1]] + 1 - total
    remedy = f'set share = {last:.9g} in [classes.{names[-1]}]' if last > 1e-9 else 'set smaller ones'
    raise _mistake(path, 'shares that add up to 1', f'{total:.9g}', remedy)
  return [shares[name] for name in names]


def _draw(shares: list[float], client_ids: np.ndarray) -> np.ndarray:
  """Returns the class of each client, by a keyed hash of its id: whoever else there is, and in every run."""
  hashes = [hashlib.blake2b(row.tobytes(), key=_HASH_KEY, digest_size=8) for row in client_ids]
  uniform = np.array([int.from_bytes(one.digest(), 'little') >> 11 for one in hashes]) * 2.0**-53
  return np.searchsorted(np.cumsum(shares)[:-1], uniform, side='right')


def _read_column(path: str, column: str, names: list[str], shards: client_shards.ClientShards) -> np.ndarray:
  found = os.path.join(os.path.dirname(path), column)
  try:
    table = client_table.read(found, 'column of classes', 'a column "class"', shards)
  except OSError as error:
    raise _mistake(
      path, 'clients to be the path of a CSV file', f'{error.strerror} at {found}', 'correct it'
    ) from error
  if table.columns != ['class']:
    raise client_table.misfit(table.what, 'a first line "client,class"', 'another', 'write it')
  splits = (shards.clients(split).client_ids for split in client_shards.SPLITS)
  known = {bytes(row).hex() for ids in splits for row in ids}
  class_of = np.zeros(shards.num_clients('train'), np.int64)
  for row in table.rows:
    if row.client_id not in known:
      expected, problem = 'clients that the shards have', f'another in line {row.line}'
      raise client_table.misfit(table.what, expected, problem, 'remove that line, or use the shards that it is for')
    name = row.cells[0].strip() if len(row.cells) == 1 else ''
    if name not in names:
      raise client_table.misfit(
        table.what, f'a class ({", ".join(names)})', f'another in line {row.line}', 'correct it'
      )
    if row.client is not None:
      class_of[row.client] = names.index(name)
  return class_of


def _show(value: Any) -> str:
  return json.dumps(value)[:40] if isinstance(value, str | bool | int | float) else 'something else'


def _mistake(path: str, expected: str, found: str, remedy: str) -> ValueError:
  return ValueError(f'Expected {expected} in {path}, found {found}: {remedy}.')
