"""What tests of single pipeline steps share: a folder with small logs, and the declaration that reads them."""

from collections.abc import Sequence
import json
import os
import pathlib
from typing import Any

from absl.testing import absltest
import apache_beam as beam

from pipelines import transforms
from pipelines.declarations import declaration
from pipelines.limits import bounds
from pipelines.limits import splits
from pipelines.readers import jsonl
from pipelines.shards import shard_building
from tests.pipelines import fakes


class SmallJobTestCase(absltest.TestCase):
  """Logs of a few rows, read and spilled into two buckets.

  Attributes:
    folder: Where the logs and what is made of them are.
  """

  def setUp(self) -> None:
    super().setUp()
    self.folder = self.create_tempdir().full_path

  def log(self, rows: Sequence[dict[str, Any]], name: str = 'log.jsonl') -> str:
    path = pathlib.Path(self.folder, name)
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return os.fspath(path)

  def declare(self, featurizer: fakes.Numbers) -> tuple[declaration.Declaration, shard_building.ShardBuilder]:
    limits, held_out = bounds.Limits(min_examples_per_client=1), splits.Splits(test_users_share=0.4)
    declared = declaration.Declaration(
      'test', jsonl.JsonLines(), declaration.Client('user', 'time'), featurizer, limits, held_out
    )
    return declared, shard_building.ShardBuilder(featurizer, limits, held_out, ())

  def slices(self, pipeline: beam.Pipeline, paths: Sequence[str], declared: declaration.Declaration) -> Any:
    rows = pipeline | transforms.ReadRows(paths, declared, fakes.KEY)
    return rows, rows.elements | transforms.SpillRows(2, self.folder)
