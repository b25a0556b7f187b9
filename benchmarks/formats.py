"""What client shards could have been: four formats, written and read client by client.

  python -m benchmarks.formats
  python -m benchmarks.formats --clients=1000000

Without --clients: 100,000 clients in each format, written and then read at random, the formats in turn, as a markdown
table of medians. With it: only ours, with so many clients, opened in a process of its own.

ArrayRecord is compared if its package is there. It is none of our dependencies: `pip install array-record` in an
environment of your own, as a copy of the one of this project.
"""

from collections.abc import Callable, Sequence
import importlib.util
import multiprocessing
import os
import pathlib
import statistics
import tempfile
import time
from typing import Any

from absl import flags
import numpy as np
import psutil
import pyarrow as pa

from benchmarks import format_choices as choices
from common import cli
from contracts import client_shards
from pipelines.shards import shard_writing

_CLIENTS = flags.DEFINE_integer('clients', None, 'Open ours with so many clients, instead of comparing.', lower_bound=1)
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'How often each format is written and read.', lower_bound=1)

_COMPARED_CLIENTS = 100_000
_CLIENTS_READ = 100
_CLIENTS_PER_SHARD = 50_000


def compare(rounds: int) -> list[str]:
  """Returns the lines of a table of the formats, measured in turn."""
  formats: list[choices.Format] = [choices.Packed(), choices.BatchPerClient(), choices.TfRecord()]
  if importlib.util.find_spec('array_record'):
    formats.append(choices.ArrayRecord('ArrayRecord', 'group_size:1'))
    formats.append(choices.ArrayRecord('ArrayRecord, uncompressed', 'group_size:1,uncompressed'))
  for form in formats:  # What only the first one pays, such as the import of TensorFlow.
    with tempfile.TemporaryDirectory() as folder:
      _measure(form, folder, _content(_CLIENTS_READ, seed=0), range(_CLIENTS_READ))
  content = _content(_COMPARED_CLIENTS, seed=0)
  figures: dict[str, list[Sequence[float]]] = {form.name: [] for form in formats}
  for number in range(rounds):
    chosen = np.random.default_rng(number).choice(_COMPARED_CLIENTS, _CLIENTS_READ, replace=False).tolist()
    for form in formats:
      with tempfile.TemporaryDirectory() as folder:
        figures[form.name].append(_measure(form, folder, content, chosen))
  head = ['| format | write, s | size, MB | open, ms | first read, µs | read again, µs |', '|---|---|---|---|---|---|']
  return [*head, *(_row(name, np.median(rows, axis=0).tolist()) for name, rows in figures.items())]


def _measure(
  form: choices.Format, folder: str, content: shard_writing.ShardContent, chosen: Sequence[int]
) -> tuple[float, float, float, float, float]:
  written, _ = _timed(form.write, folder, content)
  sizes = [_forget_cached(path) for path in pathlib.Path(folder).iterdir()]
  opened, read = _timed(form.open, folder)
  first, again = (statistics.median(_timed(read, client)[0] for client in chosen) for _ in range(2))
  _check(read, content, chosen)
  return written, sum(sizes) / 1e6, opened * 1e3, first * 1e6, again * 1e6


def _row(name: str, medians: Sequence[float]) -> str:
  written, size, opened, first, again = medians
  return f'| {name} | {written:.2f} | {size:.0f} | {opened:.1f} | {first:.0f} | {again:.0f} |'


def _check(read: choices.ReadClient, content: shard_writing.ShardContent, chosen: Sequence[int]) -> None:
  for client in chosen:
    part = slice(content.starts[client], content.starts[client + 1])
    for found, written in zip(read(client), (content.features, content.labels), strict=True):
      np.testing.assert_array_equal(found, written[part], strict=True)


def open_large(clients: int) -> list[str]:
  """Returns lines on what it takes to open a data set of ours with so many clients, and to read some of them."""
  with tempfile.TemporaryDirectory() as folder:
    sizes = [min(_CLIENTS_PER_SHARD, clients - first) for first in range(0, clients, _CLIENTS_PER_SHARD)]
    contents = [_content(size, shard) for shard, size in enumerate(sizes)]
    shard_writing.write_data_set(folder, choices.SCHEMA, contents)
    # Nothing that was written is in the memory of a new process.
    with multiprocessing.get_context('spawn').Pool(1) as pool:
      return pool.apply(_open_and_read, (folder,))


def _open_and_read(folder: str) -> list[str]:
  before = _resident()
  seconds, shards = _timed(client_shards.ClientShards, folder)
  opened = _resident()
  clients = np.random.default_rng(1).choice(shards.num_clients('train'), 10_000).tolist()
  first, again = ([_timed(shards.read, 'train', client)[0] * 1e6 for client in clients] for _ in range(2))
  return [
    f'open    {seconds:.2f} s, {opened - before:.0f} MB more in memory',
    f'first   {statistics.median(first):.0f} µs a client, {np.quantile(first, 0.99):.0f} µs for one in 100',
    f'again   {statistics.median(again):.0f} µs a client, {np.quantile(again, 0.99):.0f} µs for one in 100',
    f'then    {_resident() - before:.0f} MB more in memory than before, after {len(clients):,} clients',
  ]


def _resident() -> float:
  return psutil.Process().memory_info().rss / 1e6


def _content(clients: int, seed: int) -> shard_writing.ShardContent:
  """Returns clients with random text of about 15 examples, some with far more."""
  rng = np.random.default_rng(seed)
  sizes = np.minimum(1 + rng.lognormal(2.05, 1.1, clients), 1_000).astype(np.int64)
  starts = np.concatenate([[0], np.cumsum(sizes)])
  text = rng.integers(0, choices.CLASSES, (starts[-1], choices.LENGTH + 1), np.uint8)
  features, labels = np.ascontiguousarray(text[:, :-1]), text[:, 1:].astype(np.int8)
  ids = np.sort(rng.integers(0, 2**63, clients)).astype('>u8').repeat(2)
  client_ids = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), clients, [None, pa.py_buffer(ids.tobytes())])
  return shard_writing.ShardContent(client_ids, np.zeros(clients, np.int8), starts, features, labels, sizes)


def _forget_cached(path: pathlib.Path) -> int:
  """Takes a file out of the page cache, as far as the system follows the advice, and returns its size."""
  with path.open('rb') as file:
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
  return path.stat().st_size


def _timed(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
  started = time.perf_counter()
  result = function(*arguments)
  return time.perf_counter() - started, result


def main() -> None:
  """Prints the table, or the figures of a large data set."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  lines = open_large(_CLIENTS.value) if _CLIENTS.value else compare(_ROUNDS.value)
  print(*lines, sep='\n')


if __name__ == '__main__':
  cli.run(main)
