"""Tests of what is raised where a model is not supported."""

import pickle

from absl.testing import absltest

from models import unsupported


class UnsupportedTest(absltest.TestCase):
  def test_a_child_process_can_return_it(self) -> None:
    found = pickle.loads(pickle.dumps(unsupported.Unsupported('found embedding of kind Embedding')))
    self.assertIsInstance(found, unsupported.Unsupported)
    self.assertEqual(str(found), 'found embedding of kind Embedding')

  def test_where_nobody_catches_it_it_is_a_mistake_of_the_user(self) -> None:
    with self.assertRaisesRegex(ValueError, 'found embedding'):
      raise unsupported.Unsupported('found embedding')


if __name__ == '__main__':
  absltest.main()
