"""Tests that FedNova ends at the minimum of the objective, however many steps each client takes."""

import dataclasses
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.tff_tasks import algorithm_reference
from tests.tff_tasks import algorithm_rounds
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import fed_nova
from tff_tasks.algorithms import local_algorithm
from tff_tasks.algorithms import local_sgd
from tff_tasks.population import capabilities

_COHORT = algorithm_rounds.COHORT
_RATE = 1e-3
# Larger steps of the server than of the clients: so few rounds lead to the end.
_SERVER_RATE = 50.0
_SGD = local_sgd.LocalTraining(_RATE, 4, 2)
_MANY = (_COHORT,) * 25
_CLASSES = capabilities.Capabilities(
  (
    capabilities.Capability('high', epochs=3, batch_size=4, examples=1.0),
    capabilities.Capability('middle', epochs=2, batch_size=8, examples=1.0),
    capabilities.Capability('low', epochs=1, batch_size=2, examples=0.5),
  ),
  np.array([1, 0, 2, 0, 2, 1, 1, 0]),
)
# One size for all: the largest.
_BY_CLASS = dataclasses.replace(_SGD, batch_size=8, is_by_client=True)
_MOMENTUM = dataclasses.replace(_SGD, optimizer='momentum')


def _pull(client: local_algorithm.Client, weights: Any) -> list[Any]:
  """Returns the gradient of `|weights - index of the client|^2 / 2`, the quadratic of the paper's section 3."""
  return [weight - tf.cast(client.dataset.index, tf.float32) for weight in weights]


class QuadraticFedAvg(fed_avg.FedAvg):
  def adjust(self, client: local_algorithm.Client, weights: Any, gradients: Any) -> list[Any]:
    return _pull(client, weights)


class QuadraticFedNova(fed_nova.FedNova):
  def adjust(self, client: local_algorithm.Client, weights: Any, gradients: Any) -> list[Any]:
    return _pull(client, weights)


class SlopeFedNova(fed_nova.FedNova):
  """The gradient is 1 everywhere: a client moves by its learning rate times the coefficients of its steps."""

  def adjust(self, client: local_algorithm.Client, weights: Any, gradients: Any) -> list[Any]:
    return [tf.ones_like(gradient) for gradient in gradients]


class FedNovaTest(algorithm_rounds.RoundsTestCase):
  training = _SGD

  def setUp(self) -> None:
    super().setUp()
    self._toy = algorithm_reference.Toy(self.shards, _SGD)
    self._steps = np.array([self._toy.steps(client) for client in _COHORT])

  def test_the_clients_take_different_numbers_of_steps(self) -> None:
    self.assertEqual(self._steps.tolist(), [12, 10, 6])

  def test_ends_at_the_minimum_where_fed_avg_does_not(self) -> None:
    """The minima are 1, 4 and 6: their mean is that of the objective."""
    rounds = dataclasses.replace(self.rounds, server_rate=_SERVER_RATE)
    ours, plain = (rounds.run(kind, cohorts=_MANY).weights for kind in (QuadraticFedNova(), QuadraticFedAvg()))
    np.testing.assert_allclose(ours, np.mean(_COHORT), atol=0.03)
    # Clients count by their steps.
    np.testing.assert_allclose(plain, np.average(_COHORT, weights=self._steps), atol=0.03)

  def test_ends_at_the_weighted_minimum_with_momentum(self) -> None:
    plan = dataclasses.replace(algorithm_rounds.PLAIN, weighting='examples')
    # A step of momentum 0.9 leads up to ten times as far.
    rounds = dataclasses.replace(self.rounds, plan=plan, training=_MOMENTUM, server_rate=_SERVER_RATE / 4)
    ours = rounds.run(QuadraticFedNova(), cohorts=_MANY).weights
    minimum = np.average(_COHORT, weights=[self._toy.examples(client) for client in _COHORT])
    np.testing.assert_allclose(ours, minimum, atol=0.03)

  @parameterized.parameters(0.0, 7.0)
  def test_a_mean_is_of_steps_of_one_length(self, effective_steps: float) -> None:
    rounds = dataclasses.replace(self.rounds, training=_MOMENTUM)
    found = rounds.run(SlopeFedNova(effective_steps), cohorts=(_COHORT,))
    length = effective_steps or np.mean([_length(steps, local_sgd.MOMENTUM) for steps in self._steps])
    np.testing.assert_allclose(algorithm_rounds.begin() - found.weights, _RATE * length, rtol=1e-4)
    if effective_steps:  # Nothing else is in the update, and every client sends the same.
      np.testing.assert_allclose(found.norms, _RATE * np.sqrt(found.weights.size), rtol=1e-4)

  def test_fewer_clients_than_expected_make_a_step_smaller_once(self) -> None:
    expected = dataclasses.replace(algorithm_rounds.PLAIN, clients_per_round=2 * len(_COHORT))
    rounds = dataclasses.replace(self.rounds, plan=expected)
    found = rounds.run(SlopeFedNova(), cohorts=(_COHORT,))
    np.testing.assert_allclose(algorithm_rounds.begin() - found.weights, _RATE * self._steps.mean() / 2, rtol=1e-4)

  def test_is_that_of_the_paper_on_both_runtimes(self) -> None:
    self._assert_is_that_of_the_paper(self._toy, self.rounds)

  def test_capability_classes_do_not_bias_it_as_they_do_fed_avg(self) -> None:
    rounds = dataclasses.replace(self.rounds, server_rate=_SERVER_RATE, training=_BY_CLASS, capabilities=_CLASSES)
    toy = dataclasses.replace(self._toy, capabilities=_CLASSES)
    steps = [toy.steps(client) for client in _COHORT]
    self.assertEqual(steps, [18, 4, 4])
    ours, plain = (rounds.run(kind, cohorts=_MANY).weights for kind in (QuadraticFedNova(), QuadraticFedAvg()))
    np.testing.assert_allclose(ours, np.mean(_COHORT), atol=0.03)
    np.testing.assert_allclose(plain, np.average(_COHORT, weights=steps), atol=0.03)

  def test_capability_classes_are_those_of_numpy_on_both_runtimes(self) -> None:
    rounds = dataclasses.replace(self.rounds, training=_BY_CLASS, capabilities=_CLASSES)
    self._assert_is_that_of_the_paper(dataclasses.replace(self._toy, capabilities=_CLASSES), rounds)

  def _assert_is_that_of_the_paper(self, toy: algorithm_reference.Toy, rounds: algorithm_rounds.Rounds) -> None:
    weights = algorithm_rounds.begin().astype(float)
    for cohort in algorithm_rounds.CHANGING:
      steps = [toy.steps(client) for client in cohort]
      moves = [(weights - toy.train(client, weights)) / count for client, count in zip(cohort, steps, strict=True)]
      weights = weights - np.mean(steps) * np.mean(moves, axis=0)
    for runtime, use_xla in (('local', False), ('local', True), ('tff', False)):
      found = rounds.run(fed_nova.FedNova(), runtime, use_xla, algorithm_rounds.CHANGING).weights
      algorithm_rounds.assert_close(found, weights)


def _length(steps: int, momentum: float) -> float:
  """Returns how far steps of gradient 1 lead, in learning rates."""
  speed = way = 0.0
  for _ in range(steps):
    speed = momentum * speed + 1
    way += speed
  return way


if __name__ == '__main__':
  absltest.main()
