"""Tests that a tag is what the client's data says."""

import os

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tests.tff_tasks import fakes
from tff_tasks.aggregation import tagging
from tff_tasks.algorithms import client_work
from tff_tasks.population import client_data
from tff_tasks.population import seeds
from tff_tasks.runtime import graph_import


class TaggingTest(absltest.TestCase):
  def test_is_of_the_type_that_aggregators_take(self) -> None:
    for memory_size in (0, 5):
      read_tag = tagging.build_tagging(client_work.dataset_type(fakes.SCHEMA, memory_size))
      self.assertEqual(read_tag.type_signature.result, tagging.TAG_TYPE)

  def test_reads_the_client_its_examples_and_the_seed_of_the_rounding(self) -> None:
    shards = fakes.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    cohort = client_data.ClientDataSource(shards, 4, 24, seeds.Seed.from_number(3)).cohort(2, np.array([1, 4, 6]))
    read_tag = graph_import.import_computation(tagging.build_tagging(client_work.dataset_type(fakes.SCHEMA)))
    for place, client in enumerate((1, 4, 6)):
      dataset = cohort.load(place)
      index, examples, rounding_seed = read_tag(list(map(tf.constant, dataset)))
      self.assertEqual((index, examples), (client, min(fakes.SIZES[client], 24)))
      np.testing.assert_array_equal(rounding_seed, dataset.seeds[1])
      self.assertFalse(np.array_equal(dataset.seeds[0], dataset.seeds[1]))


if __name__ == '__main__':
  absltest.main()
