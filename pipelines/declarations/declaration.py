"""What a data set is made of and how: the declared file, read and checked before anything runs."""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import hashlib
import json
import os
from typing import Any

from common import suggestions
from pipelines.declarations import documents
from pipelines.declarations import options
from pipelines.featurizers import base as featurizers
from pipelines.featurizers import registry as featurizer_registry
from pipelines.limits import bounds
from pipelines.limits import simulated_clients
from pipelines.limits import splits as splits_lib
from pipelines.readers import base as readers
from pipelines.readers import registry as reader_registry
from pipelines.rows import columns
from pipelines.rows import number_columns
from pipelines.rows import ordering
from pipelines.rows import time_forms
from pipelines.statistics import base as learning

_TABLES = ('input', 'client', 'partition', 'examples', 'limits', 'splits')

# Longer lists of texts, which are vocabularies, stand in the manifest as their hash.
_MOST_TEXTS = 256


@dataclasses.dataclass(frozen=True)
class Client:
  """Whose a row is, and where it stands among the client's rows.

  Attributes:
    id: The column that says whose a row is; None where a partition says it.
    order: The column that puts a client's rows in order; without it they have the order of the files.
    order_type: What that column holds: 'integer', 'number', or 'time' (see pipelines/rows/times.py).
    order_format: How the times are written, as Python's `strptime` has it; without it all known forms are read.
    public_ids: Whether the ids are public, so that their hash needs no secret key.
    drop_duplicates: Whether a client's rows that are alike in order and all columns of the log, those that no example
      is made of included, are one row (without an order no two are); or the columns in which such rows are alike.
  """

  id: str | None = None
  order: str | None = None
  order_type: str = 'integer'
  order_format: str | None = None
  public_ids: bool = False
  drop_duplicates: bool | tuple[str, ...] = True

  @property
  def compares_all(self) -> bool:
    """Whether rows are told apart by all columns of the log, those that no example is made of included."""
    # Without an order, no two rows are alike.
    return self.drop_duplicates is True and self.order is not None

  def __post_init__(self) -> None:
    if '' in (self.id, self.order):
      raise ValueError('Expected id and order to name columns, found "": write the name of the column.')
    if self.order is not None and self.order == self.id:
      raise ValueError(f'Expected order to be another column than id, found {self.id!r}: remove order.')
    if self.order_type not in ordering.TYPES:
      remedy = suggestions.suggest(self.order_type, ordering.TYPES)
      raise ValueError(f'Expected order_type to be {", ".join(ordering.TYPES)}, found {self.order_type!r}: {remedy}')
    if self.order is None and self.order_type != 'integer':
      raise ValueError(f'Expected order_type with an order, found {self.order_type!r} alone: add order = "column".')
    if self.order_format is not None and self.order_type != 'time':
      raise ValueError(f'Expected order_format with order_type = "time", found {self.order_type!r}: write "time".')
    _ = self.order_pattern
    if self.drop_duplicates == ():
      raise ValueError('Expected columns in drop_duplicates, found none: write true or false.')

  @functools.cached_property
  def order_pattern(self) -> str | None:
    """The pattern of `order_format`."""
    return None if self.order_format is None else time_forms.compile_format(self.order_format)


@dataclasses.dataclass(frozen=True)
class Declaration:
  """A data set.

  Attributes:
    name: Of the file, without its ending.
    reader: Reads the input.
    client: Whose rows they are.
    featurizer: Makes the examples.
    limits: How much one client may contribute.
    splits: Who and what is held out.
    partition: How rows of a data set without users become simulated clients.
  """

  name: str
  reader: readers.Reader
  client: Client
  featurizer: featurizers.Featurizer
  limits: bounds.Limits
  splits: splits_lib.Splits
  partition: simulated_clients.Partition | None = None

  @property
  def provenance(self) -> list[dict[str, Any]]:
    """What the data set rests on besides its users' rows, as manifest entries."""
    clients = [learning.free_entry(str(self.partition), 'simulated')] if self.partition else []
    return [*clients, *self.featurizer.provenance]

  @property
  def split_by(self) -> str | None:
    """The column with the labels by which rows become simulated clients; None if labels do not matter."""
    return self.featurizer.row_label if self.partition and self.partition.is_by_label else None

  def assign(self, counts: Mapping[str, Sequence[int]], key: bytes) -> simulated_clients.Assignment:
    """Returns which simulated client each row is of.

    Args:
      counts: How many rows have each label, by block, as `simulated_clients.Assignment` wants them.
      key: Of the hash of the client ids.

    Raises:
      ValueError: If there is no partition, or if there are more clients than rows.
    """
    if not self.partition:
      raise ValueError('Expected a partition, found a declaration of users: add [partition].')
    return simulated_clients.Assignment(self.partition, self.split_by, counts, key)

  def to_json(self) -> dict[str, Any]:
    """Returns all that is in force, defaults included, as JSON-ready values."""
    formats = {kind: name for name, kind in reader_registry.FORMATS.items()}
    reader, kind = type(self.reader), featurizer_registry.name(type(self.featurizer))
    return {
      'name': self.name,
      'input': {'format': formats.get(reader, reader.__name__), **_to_json(self.reader)},
      'client': _to_json(self.client),
      'examples': {'kind': kind, **_to_json(self.featurizer)},
      'limits': _to_json(self.limits),
      'splits': _to_json(self.splits),
      **({'partition': _to_json(self.partition)} if self.partition else {}),
    }


def read(path: str, overrides: Sequence[str], input_paths: Sequence[str]) -> Declaration:
  """Reads a declaration.

  Args:
    path: The TOML file.
    overrides: What holds instead of what it says, such as `limits.keep=latest`.
    input_paths: The files to be read, whose names say their format if the declaration does not.

  Raises:
    ValueError: If it cannot be read, or something in it cannot be: one line with its place and the remedy.
  """
  document = documents.read(path, overrides)
  options.check_keys(document, (), _TABLES)
  declaration = Declaration(
    name=os.path.splitext(os.path.basename(path))[0],
    reader=options.build(_find_reader(document, input_paths), document, ('input',), ['format']),
    client=_build_client(document),
    featurizer=options.build(_find_featurizer(document), document, ('examples',), ['kind']),
    limits=options.build(bounds.Limits, document, ('limits',)),
    splits=options.build(splits_lib.Splits, document, ('splits',)),
    partition=_build_partition(document),
  )
  _check_partition(declaration, document)
  _check_columns(declaration, document)
  return declaration


def _build_client(document: documents.Document) -> Client:
  if document.get(('partition',)) is None:
    client = options.build(Client, document, ('client',))
    options.require(str, document, ('client', 'id'))
    return client
  if document.get(('client',)) is not None:
    raise document.mistake(
      ('client',),
      'Expected [client], of data with users, or [partition], of data without, found both: remove one of them.',
    )
  # Nothing that the ids are made of is secret, and rows of no user are not repeated by one.
  return Client(public_ids=True, drop_duplicates=False)


def _build_partition(document: documents.Document) -> simulated_clients.Partition | None:
  path = ('partition',)
  return None if document.get(path) is None else options.build(simulated_clients.Partition, document, path)


def _find_reader(document: documents.Document, input_paths: Sequence[str]) -> type[readers.Reader]:
  path, known = ('input', 'format'), reader_registry.FORMATS
  if document.get(path) is not None:
    found = options.require(str, document, path)
  else:
    try:
      found = reader_registry.detect(input_paths)
    except ValueError as error:
      raise document.mistake(path, error) from error
  if found not in known:
    raise document.mistake(path, f'Expected a known format, found {found!r}: {suggestions.suggest(found, known)}')
  return known[found]


def _find_featurizer(document: documents.Document) -> type[featurizers.Featurizer]:
  path = ('examples', 'kind')
  kind = options.require(str, document, path)
  try:
    return featurizer_registry.find(kind)
  except ValueError as error:
    raise document.mistake(path, error) from error


def _check_partition(declaration: Declaration, document: documents.Document) -> None:
  featurizer = declaration.featurizer
  if declaration.partition is None:
    return
  kind = document.get(('examples', 'kind'))
  label = next((column for column in featurizer.columns if column.name == featurizer.row_label), None)
  if declaration.partition.is_by_label and (label is None or not isinstance(label.kind, columns.Category)):
    raise document.mistake(
      ('partition',),
      f'Expected examples of one row with a class each, to split by it, found kind = {kind!r}: declare kind = "table" '
      'or "image", or the column of the users with [client] instead of [partition].',
    )
  if not featurizer.rows_stand_alone:
    raise document.mistake(
      ('partition',),
      f'Expected examples of rows that mean the same in any order, to split them, found kind = {kind!r}: declare the '
      'column of the users with [client] instead of [partition].',
    )


def _check_columns(declaration: Declaration, document: documents.Document) -> None:
  client = declaration.client
  names = [column.name for column in declaration.featurizer.columns]
  if client.id in names:
    below = document.paths_below(('examples',))
    place = next((path for path in below if document.get(path) == client.id), ('examples',))
    raise document.mistake(
      place,
      f'Expected examples without the column of the client ids, found {client.id!r}: remove it, as examples must '
      'not identify their client.',
    )
  known = [*([client.order] if client.order else []), *names]
  for name in () if isinstance(client.drop_duplicates, bool) else client.drop_duplicates:
    if name not in known:
      raise document.mistake(
        ('client', 'drop_duplicates'),
        f'Expected drop_duplicates to name the order or columns of the examples, found {name!r}: '
        f'{suggestions.suggest(name, known)}',
      )
  if not isinstance(client.drop_duplicates, bool):
    for name in bounds.deciding_columns(declaration.featurizer):
      if name not in client.drop_duplicates:
        raise document.mistake(
          ('client', 'drop_duplicates'),
          f'Expected drop_duplicates to name {name!r} too, found it missing: add it, or write true or false, for '
          'what a row counts for depends on it.',
        )
  lists = [column.name for column in declaration.featurizer.columns if isinstance(column.kind, number_columns.Numbers)]
  if lists and declaration.reader.decimal != '.':
    raise document.mistake(
      ('input', 'decimal'),
      f'Expected numbers with a point where a column has lists of them, found decimal = "," and the lists of '
      f'{lists[0]!r}: a comma may stand between two numbers of a list. Write points in the file and leave decimal '
      'out, or give each number a column of its own.',
    )
  splits = declaration.splits
  if declaration.featurizer.examples_overlap and splits.tail == 'random' and splits.tail_share:
    raise document.mistake(
      ('splits', 'tail'),
      'Expected tail = "last" for examples that overlap, found "random", whose examples would stand in others to '
      'train on: write tail = "last", or a stride of at least the length.',
    )


def _to_json(value: Any) -> Any:
  if dataclasses.is_dataclass(value):
    return {field.name: _to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
  if isinstance(value, tuple) and len(value) > _MOST_TEXTS and all(isinstance(element, str) for element in value):
    return {'count': len(value), 'sha256': hashlib.sha256(json.dumps(value).encode()).hexdigest()}
  return [_to_json(element) for element in value] if isinstance(value, tuple) else value
