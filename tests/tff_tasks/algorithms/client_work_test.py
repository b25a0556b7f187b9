"""Tests of the client work of algorithms whose clients train locally."""

import dataclasses
import os
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.tff_tasks import algorithm_reference
from tests.tff_tasks import algorithm_rounds
from tests.tff_tasks import fakes
from tff_tasks.algorithms import base
from tff_tasks.algorithms import client_work
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import fed_nova
from tff_tasks.algorithms import learning_process
from tff_tasks.algorithms import local_algorithm
from tff_tasks.algorithms import local_sgd
from tff_tasks.algorithms import scaffold
from tff_tasks.population import client_data
from tff_tasks.population import seeds

# With a linear schedule, the last of them has another learning rate.
_THRICE = (algorithm_rounds.COHORT,) * 3


def _context() -> base.Context:
  model = algorithm_rounds.build_model()
  trainable = tuple(tff.TensorType(np.float32, weight.shape) for weight in model.initial_weights)
  weights_type = tff.to_type(tff.learning.models.ModelWeights(trainable, ()))
  optimizer = learning_process.build_server_optimizer('sgd', 1.0)
  return base.Context(model, weights_type, fakes.SCHEMA, algorithm_rounds.TRAINING, optimizer, 8, 3)


class Short(fed_avg.FedAvg):
  """Forgets the last gradient."""

  def adjust(self, client: Any, weights: Any, gradients: Any) -> Any:
    return gradients[:-1]


class ClientWorkTest(absltest.TestCase):
  def test_an_update_has_the_type_of_the_weights(self) -> None:
    context = _context()
    parts = client_work.build_parts(context, fed_avg.FedAvg())
    update = parts.client_work.next.type_signature.result.result.member.update
    self.assertTrue(context.weights_type.trainable.is_equivalent_to(update))
    self.assertEqual(parts[2:], (0, 0, 0, context.num_weights))

  def test_counts_what_travels_beside_it(self) -> None:
    context = _context()
    size = context.num_weights
    self.assertEqual(client_work.build_parts(context, scaffold.Scaffold())[2:], (size, size, size, size))
    self.assertEqual(client_work.build_parts(context, fed_nova.FedNova())[2:], (0, 0, 0, size + 2))
    self.assertEqual(client_work.build_parts(context, fed_nova.FedNova(5.0))[2:], (0, 0, 0, size))

  def test_gradients_of_other_shapes_are_refused(self) -> None:
    with self.assertRaisesRegex(
      ValueError, r'Expected adjust of Short to return a gradient for each weight, .* found \['
    ):
      client_work.build_parts(_context(), Short())

  def test_takes_what_the_data_source_gives(self) -> None:
    shards = fakes.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    source = client_data.ClientDataSource(shards, 4, 99, seeds.Seed.from_number(1))
    cohort = source.cohort(1, np.arange(shards.num_clients('train')))
    expected = client_work.dataset_type(shards.schema).element
    for place in range(len(cohort)):
      dataset = cohort.load(place)._asdict()
      specs = {name: tff.TensorType(array.dtype.type, array.shape) for name, array in dataset.items()}
      found = tff.StructWithPythonType(list(specs.items()), client_data.ClientDataset)
      self.assertTrue(expected.is_assignable_from(found), found.compact_representation())


class Broken(scaffold.Scaffold):
  """SCAFFOLD with a number that is not finite, in another part of what each of three clients makes of a round."""

  def finish(self, client: local_algorithm.Client, trained: local_algorithm.Weights) -> local_algorithm.Update:
    update, sums, memory = super().finish(client, trained)

    def break_of(index: int, value: Any) -> Any:
      return tf.where(tf.equal(client.dataset.index, index), np.inf, value)

    update, sums = ((break_of(index, one[0]), *one[1:]) for index, one in ((1, update), (4, sums)))
    return local_algorithm.Update(update, sums, break_of(6, memory))


class RoundsTest(algorithm_rounds.RoundsTestCase):
  @parameterized.parameters('local', 'tff')
  def test_a_client_whose_numbers_are_not_finite_changes_nothing(self, runtime: str) -> None:
    expected = self.rounds.run(scaffold.Scaffold(), cohorts=((5,), (5, 7)))
    found = self.rounds.run(Broken(), runtime, cohorts=((1, 4, 5, 6), (1, 4, 5, 6, 7)))
    algorithm_rounds.assert_close(found.weights, expected.weights)
    algorithm_rounds.assert_close(found.memory, expected.memory)
    self.assertEqual(found.skipped, [1, 4, 6])

  @parameterized.parameters(('momentum', 0.1, 'linear', 0.1), ('adam', 0.01, 'constant', 0.1))
  def test_both_runtimes_take_the_same_steps(
    self, optimizer: str, rate: float, schedule: str, max_gradient_norm: float | None
  ) -> None:
    training = local_sgd.LocalTraining(rate, 4, 2, optimizer, schedule, len(_THRICE), max_gradient_norm)
    rounds = dataclasses.replace(self.rounds, training=training)
    theirs = rounds.run(fed_avg.FedAvg(), 'tff', cohorts=_THRICE).weights
    for use_xla in (False, True):
      algorithm_rounds.assert_close(rounds.run(fed_avg.FedAvg(), use_xla=use_xla, cohorts=_THRICE).weights, theirs)
    self.assertGreater(algorithm_rounds.distance(algorithm_rounds.begin(), theirs), 0.01)
    if optimizer == 'momentum':
      algorithm_rounds.assert_close(theirs, _run_reference(algorithm_reference.Toy(rounds.shards, training)))


def _run_reference(toy: algorithm_reference.Toy) -> np.ndarray:
  """Returns the weights after rounds of FedAvg."""
  weights = algorithm_rounds.begin().astype(float)
  for index, cohort in enumerate(_THRICE):
    weights = np.mean([toy.train(client, weights, index=index) for client in cohort], axis=0)
  return weights


if __name__ == '__main__':
  absltest.main()
