"""The step of the pipeline that learns from all training users before there are examples.

A pipeline of its own runs it, since all shards are made with what was learned.
"""

import collections
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from contracts import client_shards
from pipelines.execution import storage
from pipelines.rows import spill
from pipelines.shards import shard_building
from pipelines.statistics import base

_CLIENTS = 'clients'


class Learn(beam.PTransform):
  """`(bucket, slices)` -> a file with the sum of what all training users contribute to what a learner learns.

  Another file gets the number of clients of each split. The noise is not drawn here: a runner may
  repeat a step, and noise that is drawn twice is paid for twice.
  """

  def __init__(self, builder: shard_building.ShardBuilder, learner: base.Learner, total_path: str, clients_path: str):
    super().__init__()
    self._builder = builder
    self._learner = learner
    self._total_path = total_path
    self._clients_path = clients_path

  def expand(
    self, input_or_inputs: beam.PCollection[tuple[int, Iterable[spill.Slice]]]
  ) -> tuple[beam.PCollection[None], beam.PCollection[None]]:
    contributed = input_or_inputs | 'Contribute' >> beam.ParDo(_Contribute(self._builder, self._learner)).with_outputs(
      _CLIENTS, main='contributions'
    )
    total = (
      contributed['contributions']
      | 'AddUp' >> beam.CombineGlobally(_AddUp(self._learner))
      | 'WriteTotal' >> beam.Map(_write_total, self._learner, self._total_path)
    )
    clients = (
      contributed[_CLIENTS]
      | 'CountClients' >> beam.CombineGlobally(_add_numbers)
      | 'WriteClients' >> beam.Map(storage.write_json, self._clients_path)
    )
    return total, clients


class _Contribute(beam.DoFn):
  """The rows of a bucket -> what its training users contribute, and how many clients each split has."""

  def __init__(self, builder: shard_building.ShardBuilder, learner: base.Learner):
    self._builder = builder
    self._learner = learner

  def process(self, element: tuple[int, Iterable[spill.Slice]]) -> Iterator[Any]:
    bucket, _ = self._builder.gather(spill.read(element[1]))
    yield beam.pvalue.TaggedOutput(_CLIENTS, self._builder.count_clients(bucket))
    rows = self._builder.training_rows(bucket)
    if len(rows.starts) > 1:
      yield self._learner.contribute(rows)


class _AddUp(beam.CombineFn):
  """Adds what the buckets contribute."""

  def __init__(self, learner: base.Learner):
    self._learner = learner

  def create_accumulator(self) -> Any:
    return None

  def add_input(self, mutable_accumulator: Any, element: Any) -> Any:
    return element if mutable_accumulator is None else self._learner.add(mutable_accumulator, element)

  def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
    total = self.create_accumulator()
    for accumulator in accumulators:
      if accumulator is not None:
        total = self.add_input(total, accumulator)
    return total

  def extract_output(self, accumulator: Any) -> Any:
    return accumulator


def _write_total(total: Any, learner: base.Learner, path: str) -> None:
  with storage.open_atomically(path, is_durable=False) as file:
    base.write_total(learner, total, file)


def _add_numbers(counts: Iterable[dict[str, int]]) -> dict[str, int]:
  total = collections.Counter(dict.fromkeys(client_shards.SPLITS, 0))
  for some in counts:
    total.update(some)
  return dict(total)
