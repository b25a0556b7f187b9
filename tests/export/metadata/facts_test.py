"""Tests of what is known of a data set before anything is converted."""

import pickle

from absl.testing import absltest

from contracts import client_shards
from export.metadata import facts
from tests.export import fakes


class FactsTest(absltest.TestCase):
  def test_of_a_data_set(self) -> None:
    shards = client_shards.ClientShards(fakes.write_shards(f'{self.create_tempdir().full_path}/shards'))
    found = facts.collect(shards, facts.Credits('Ada'), 'public')
    self.assertEqual((found.data_set, found.fingerprint), ('shards', shards.fingerprint))
    # Neither the list of its files nor what it counted: they are no business of whoever gets the file.
    self.assertEqual(set(found.manifest), {'schema', 'learned'} & shards.manifest.keys())
    self.assertEqual(pickle.loads(pickle.dumps(found)), found)

  def test_a_name_that_would_steer_a_terminal(self) -> None:
    shards = client_shards.ClientShards(fakes.write_shards(f'{self.create_tempdir().full_path}/a\x1b'))
    self.assertEqual(facts.collect(shards).data_set, r'a\x1b')


if __name__ == '__main__':
  absltest.main()
