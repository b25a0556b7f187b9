from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import client_shards
from pipelines.limits import splits
from tests.pipelines import fakes


def _ids(count: int) -> np.ndarray:
  joined = b''.join(fakes.client_id(str(number)) for number in range(count))
  return np.frombuffer(joined, np.uint8).reshape(count, 16)


class SplitsTest(parameterized.TestCase):
  def test_holds_out_the_shares_asked_for(self) -> None:
    # Each count is binomial with a deviation below 32: 5 deviations fail once in 10^6, but the hash is fixed anyway.
    found = splits.Splits(test_users_share=0.2, validation_users_share=0.1).of_users(_ids(4_000))
    counts = {split: np.count_nonzero(found == place) for place, split in enumerate(client_shards.SPLITS)}
    self.assertAlmostEqual(counts['test'], 800, delta=160)
    self.assertAlmostEqual(counts['validation'], 400, delta=160)
    self.assertEqual(counts['tail'], 0)

  def test_a_user_stays_where_it_is_when_others_come(self) -> None:
    few, many = (splits.Splits().of_users(_ids(count)) for count in (10, 1_000))
    np.testing.assert_array_equal(many[:10], few)

  def test_a_larger_share_takes_users_from_training_only(self) -> None:
    small, large = (splits.Splits(test_users_share=share).of_users(_ids(500)) for share in (0.1, 0.3))
    test = client_shards.SPLITS.index('test')
    self.assertTrue(np.all(large[small == test] == test))

  def test_another_key_holds_out_others(self) -> None:
    found = [splits.Splits(key=key).of_users(_ids(500)) for key in ('one', 'two')]
    self.assertGreater(np.count_nonzero(found[0] != found[1]), 20)

  @parameterized.parameters((1, 0), (2, 1), (9, 2), (10, 2), (100, 20))
  def test_last_tail(self, count: int, size: int) -> None:
    mask = splits.Splits(tail_share=0.2).in_tail(_ids(2), np.array([count, 3]))
    self.assertEqual(mask.tolist(), [False] * (count - size) + [True] * size + [False, False, True])

  def test_no_tail(self) -> None:
    for tail in splits.TAILS:
      self.assertFalse(splits.Splits(tail_share=0.0, tail=tail).in_tail(_ids(2), np.array([5, 1])).any())
      self.assertFalse(splits.Splits(tail=tail).in_tail(_ids(2), np.array([0, 1])).any())

  def test_random_tail(self) -> None:
    scattered = splits.Splits(tail_share=0.2, tail='random')
    mask = scattered.in_tail(_ids(3), np.array([100, 1, 100]))
    self.assertEqual([mask[:100].sum(), mask[100], mask[101:].sum()], [20, False, 20])
    self.assertFalse(mask[80:100].all())
    self.assertNotEqual(mask[:100].tolist(), mask[101:].tolist())
    np.testing.assert_array_equal(scattered.in_tail(_ids(1), np.array([100])), mask[:100])

  def test_examples_that_end_before_the_tail(self) -> None:
    first, clients = np.array([0, 2, 4, 6, 10, 12]), np.array([0, 0, 0, 0, 1, 1])
    in_tail = np.array([False, False, False, True, False, False])
    found = splits.ends_before_tail(clients, in_tail, first, first + 3)
    self.assertEqual(found.tolist(), [True, True, False, False, True, True])
    none = np.zeros(0, np.int64)
    self.assertEqual(splits.ends_before_tail(none, none.astype(bool), none, none).tolist(), [])

  @parameterized.parameters(
    ({'test_users_share': 1.0}, 'test_users_share < 1, found 1'),
    ({'tail_share': -0.1}, '0 <= tail_share'),
    ({'test_users_share': 0.5, 'validation_users_share': 0.5}, 'leave users to train on'),
    ({'tail': 'first'}, "last or random, found 'first'"),
    ({'key': ''}, '1 to 64 bytes'),
    ({'key': 'ä' * 33}, '1 to 64 bytes'),
  )
  def test_refuses(self, values: dict, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      splits.Splits(**values)


if __name__ == '__main__':
  absltest.main()
