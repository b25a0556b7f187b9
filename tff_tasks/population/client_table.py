"""CSV files of the user's own that say something of each training client: a header, and a row for each."""

import csv
import dataclasses
import hashlib
import os
import re
from typing import NamedTuple

from contracts import client_shards

_ID = re.compile('[0-9a-f]{32}')


class Row(NamedTuple):
  """A row that is not empty.

  Attributes:
    line: Its number, from 1.
    client_id: 32 hexadecimal digits.
    client: The index of that client in the training split; None if it is not there.
    cells: What follows the id.
  """

  line: int
  client_id: str
  client: int | None
  cells: list[str]


@dataclasses.dataclass(frozen=True)
class Table:
  """What such a file says; there is exactly one row for each training client.

  Attributes:
    what: The file for messages, as in `the trace trace.csv`.
    columns: What the header has after `client`.
    rows: In the order of the file; rows of other ids are there, too.
    digest: Of the content.
  """

  what: str
  columns: list[str]
  rows: list[Row]
  digest: str


def read(path: str, kind: str, columns: str, shards: client_shards.ClientShards) -> Table:
  """Reads a file.

  Args:
    path: The file.
    kind: What such a file is called, for messages.
    columns: What the header has to have after `client`, for messages.
    shards: The data set.

  Raises:
    OSError: If it cannot be read.
    ValueError: If it is no such file, or it does not fit the data set.
  """
  with open(path, 'rb') as file:
    content = file.read()
  what = f'the {kind} {os.path.basename(path)}'
  try:
    header, *lines = list(csv.reader(content.decode('utf-8-sig').splitlines())) or [[]]
  except UnicodeDecodeError as error:
    raise misfit(what, 'text in UTF-8', 'other bytes', 'save it as CSV') from error
  except csv.Error as error:
    raise misfit(what, 'a CSV file', f'another ({error})', 'save it as CSV') from error
  if len(header) < 2 or header[0].strip() != 'client':
    raise misfit(what, f'a first line with "client" and {columns}', 'another', 'write it')
  indices = {bytes(row).hex(): index for index, row in enumerate(shards.clients('train').client_ids)}
  rows = [_read_row(what, number, line, indices) for number, line in enumerate(lines, start=2) if line]
  _check_clients(what, rows, shards)
  return Table(what, [name.strip() for name in header[1:]], rows, hashlib.sha256(content).hexdigest()[:16])


def misfit(what: str, expected: str, found: str, remedy: str) -> ValueError:
  """Returns the error of a file that is not as expected."""
  return ValueError(f'Expected {expected} in {what}, found {found}: {remedy}.')


def _read_row(what: str, number: int, line: list[str], indices: dict[str, int]) -> Row:
  client_id = line[0].strip().lower()
  if not _ID.fullmatch(client_id):
    found = f'something else in line {number}'
    raise misfit(what, 'ids of clients', found, 'write them as docs/train.md shows')
  return Row(number, client_id, indices.get(client_id), line[1:])


def _check_clients(what: str, rows: list[Row], shards: client_shards.ClientShards) -> None:
  seen = set()
  for row in rows:
    if row.client is not None and row.client in seen:
      raise misfit(what, 'one line for each client', f'one again in line {row.line}', 'leave one line out')
    seen.add(row.client)
  population = shards.num_clients('train')
  missing = [client for client in range(population) if client not in seen]
  if missing:
    found = f'none for {len(missing)}, such as {shards.client_id("train", missing[0])}'
    raise misfit(what, f'a line for each of {population} training clients', found, 'add them')
