"""Tests what a device makes of its clients; device_pool_test runs it as a process."""

from absl.testing import absltest
import numpy as np
import pytest

from export.on_device import training_file
from export.simulation import device
from tests.export.on_device import trained
from tff_tasks.population import example_order


@pytest.mark.slow
class DeviceTest(absltest.TestCase):
  def test_trains_each_client_from_the_weights_of_the_round(self) -> None:
    file = training_file.TrainingFile.open(trained.folder()[1])
    features, labels = trained.examples()
    seed, weights = np.array([-3, 5], np.int32), [2 * weight for weight in file.get_weights()]
    clients = [
      device.Client(features[:30], labels[:30], seed, epochs=2, batch_size=20),
      device.Client(features[30:], labels[30:], seed, epochs=1, batch_size=8),
    ]
    found = device.train(file, device.Work(weights, 0.25, clients))
    for vector, client in zip(found, clients, strict=True):
      file.set_weights(weights)
      orders = [example_order.draw(seed, epoch, len(client.labels)) for epoch in range(client.epochs)]
      file.train_epochs(client.features, client.labels, orders, client.batch_size, 0.25)
      np.testing.assert_array_equal(vector, np.concatenate([each.ravel() for each in file.get_weights()]))
    self.assertFalse(np.array_equal(*found))


if __name__ == '__main__':
  absltest.main()
