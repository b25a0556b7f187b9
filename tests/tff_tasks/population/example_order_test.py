"""Tests that a device draws the order that a client of a round has."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tff_tasks.algorithms import local_sgd
from tff_tasks.population import client_data
from tff_tasks.population import example_order
from tff_tasks.population import seeds


def _of_rounds(seed: np.ndarray, epoch: int, count: int, capacity: int) -> list[int]:
  """Returns the order that `LocalSgd` draws."""
  dataset = client_data.ClientDataset(
    features=tf.zeros([capacity, 1]),
    first=tf.constant(0),
    index=tf.constant(0),
    labels=tf.zeros([capacity], tf.int32),
    memory=tf.zeros([0]),
    num_examples=tf.constant(count),
    seeds=tf.constant(seed),
    work=tf.zeros([2], tf.int32),
  )
  model = lambda weights, features: features  # noqa: E731
  sgd = local_sgd.LocalSgd(model, local_sgd.LocalTraining(0.1, 4, 3), dataset)
  return sgd._order(tf.constant(epoch))[:count].numpy().tolist()


class ExampleOrderTest(parameterized.TestCase):
  @parameterized.product(number=(1, 2, 3), epoch=(0, 1, 7), count=(1, 4, 5, 37))
  def test_is_that_of_a_client_of_a_round(self, number: int, epoch: int, count: int) -> None:
    seed = seeds.Seed.from_number(number).client_seeds(5, b'client')
    found = example_order.draw(seed[0], epoch, count).tolist()
    self.assertEqual(found, _of_rounds(seed, epoch, count, 40))
    self.assertCountEqual(found, range(count))

  def test_epochs_and_seeds_have_orders_of_their_own(self) -> None:
    first, second = np.array([1, -2], np.int32), np.array([1, 2], np.int32)
    orders = {tuple(example_order.draw(seed, epoch, 20)) for seed in (first, second) for epoch in range(3)}
    self.assertLen(orders, 6)

  def test_known_answers_of_philox(self) -> None:
    ones = np.full((1, 4), 0xFFFFFFFF, np.uint64)
    self.assertEqual(
      [hex(word) for word in example_order._philox(ones, ones[0, :2])[0]],
      ['0x408f276d', '0x41c83b0e', '0xa20bc7c6', '0x6d5451fd'],
    )


if __name__ == '__main__':
  absltest.main()
