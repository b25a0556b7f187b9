"""Tests of what the steps of the pipeline say, and what they say if they cannot do their work."""

from collections.abc import Sequence
import functools
import json
import os
import pathlib
from typing import Any

from absl.testing import absltest
import apache_beam as beam
from apache_beam.testing import test_pipeline
import pyarrow as pa
import pytest

from contracts import client_shards
from pipelines import transforms
from pipelines.rows import client_ids
from pipelines.rows import reports
from pipelines.shards import output_folder
from tests.pipelines import fakes
from tests.pipelines import small_jobs


def _path(folder: str, shard: int) -> str:
  return os.path.join(folder, str(shard))


@pytest.mark.slow
class PipelineTest(small_jobs.SmallJobTestCase):
  def test_a_damaged_file_is_a_problem_and_the_others_are_read(self) -> None:
    whole = self.log([{'user': 'ann', 'time': 0, 'number': 1}])
    cut = pathlib.Path(self.folder, 'cut.gz')
    cut.write_bytes(b'\x1f\x8b\x08 and no more')
    result = self._result([whole, str(cut)])
    self.assertIn(['read', '', 1], result['counts'])
    self.assertRegex(result['problems'][0], r'^Expected a readable file, found .*cut.gz damaged')

  def _result(self, paths: Sequence[str]) -> dict[str, Any]:
    declared, builder = self.declare(fakes.Numbers())
    folder = os.path.join(self.folder, 'output')
    os.makedirs(folder, exist_ok=True)
    with test_pipeline.TestPipeline(runner='FnApiRunner') as pipeline:
      rows, buckets = self.slices(pipeline, paths, declared)
      written = buckets.elements | transforms.WriteShards(builder, functools.partial(_path, folder))
      (rows.reports, buckets.reports, written) | beam.Flatten() | transforms.WriteResult(folder)
    return json.loads(pathlib.Path(folder, output_folder.RESULT_NAME).read_text())

  def test_training_clients_do_not_depend_on_what_a_client_has(self) -> None:
    """A client's data replaced by none (zero-out): it has no examples, and nothing else changes."""
    users = [f'user {number}' for number in range(12)]
    rows = [{'user': user, 'time': time, 'number': 1} for user in users for time in range(3)]
    whole = self._count_training_examples(rows)
    self.assertBetween(len(whole), 4, 11)
    for victim in users[:4]:
      others = [row for row in rows if row['user'] != victim]
      client = client_ids.hash_id(victim, fakes.KEY).hex()
      unusable: list[dict[str, Any]] = [{'number': None}, {'time': None, 'number': 1}]
      for values in unusable:
        found = self._count_training_examples([*others, {'user': victim, 'time': 0, **values}])
        self.assertEqual(found, {**whole, client: 0} if client in whole else whole)

  def _count_training_examples(self, rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    self._result([self.log(rows)])
    index = pa.ipc.open_file(os.path.join(self.folder, 'output', 'index.arrow')).read_all().to_pylist()
    return {entry['client_id'].hex(): entry['examples'] for entry in index if entry['split'] == 'train'}

  def test_the_result_says_all_that_a_manifest_needs(self) -> None:
    rows = [{'user': user, 'time': 0, 'number': 1} for user in 'abcdef']
    result = self._result([self.log([*rows, {'user': 'a'}, {}])])
    self.assertEqual(
      [count for count in result['counts'] if count[0] not in (reports.OBSERVED, reports.NAMES)],
      [['quarantined', 'no_client_id', 1], ['quarantined', 'no_order', 1], ['read', '', 8], ['used', '', 6]],
    )
    self.assertEqual(sum(counts['clients'] for counts in result['splits'].values()), 6)
    self.assertCountEqual(result['splits'], client_shards.SPLITS)
    self.assertEqual({entry.get('shard') for entry in result['files'].values()}, {0, 1, None})

  def test_a_folder_that_cannot_be_written_is_a_problem(self) -> None:
    _, builder = self.declare(fakes.Numbers())
    nowhere = os.path.join(self.folder, 'nowhere', 'shard')
    writer = transforms._WriteShards(builder, lambda _: nowhere)
    rows = fakes.make_rows(('ann', 0, 1))
    spilled = transforms.spill.write(rows, 1, os.path.join(self.folder, 'rows.arrow'))
    (report,) = writer.process([(0, [spilled[0][1]])])
    self.assertRegex(report.problems[0], '^Expected to write .*nowhere/shard, found No such file')
    spill = transforms._Spill(1, os.path.join(self.folder, 'nowhere'))
    tagged: Any
    (tagged,) = spill.process(transforms.NamedRows('0', rows))
    self.assertRegex(tagged.value.problems[0], '^Expected to write .*nowhere/0.arrow, found No such file')


if __name__ == '__main__':
  absltest.main()
