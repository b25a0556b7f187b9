"""Rounds whose clients draw their update instead of training: what an aggregator makes of it, in no time."""

from collections.abc import Callable, Sequence
import contextlib
import functools
import os
from typing import Any, NamedTuple

from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.tff_tasks import algorithm_rounds
from tests.tff_tasks import compiled_once
from tests.tff_tasks import fakes
from tff_tasks.aggregation import factory_process
from tff_tasks.algorithms import base
from tff_tasks.algorithms import client_work
from tff_tasks.algorithms import composition
from tff_tasks.population import client_data
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.runtime import registry
from tff_tasks.runtime import runtime as runtime_lib

SHAPES = ((3, 2), (4,))
RUNTIMES = (('tff', None), ('local', False), ('local', True))
PLAN = plan_lib.PrivacyPlan(len(fakes.SIZES), 4, quantization_bits=0)


def draw(dataset: client_data.ClientDataset, broken: Sequence[int] = ()) -> tuple[tf.Tensor, ...]:
  """Returns the update of a client: another one in each round.

  Args:
    dataset: Its data.
    broken: Clients whose update has NaN in its last number.
  """
  # Normals of a seed are others under XLA.
  bits = tf.random.stateless_uniform([10], dataset.seeds[0], None, None, tf.uint32, alg='philox')
  numbers = tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) / 2**23 - 1
  is_broken = tf.reduce_any(tf.equal(tf.constant(broken, tf.int32), dataset.index))
  # TFF builds graphs where `==` compares the tensors as objects.
  numbers = tf.where(tf.equal(tf.range(10), 9) & is_broken, np.nan, numbers)
  return tuple(tf.reshape(part, shape) for part, shape in zip(tf.split(numbers, [6, 4]), SHAPES, strict=True))


def build_process(
  build_aggregator: Callable[[tff.StructType], tff.templates.AggregationProcess], broken: Sequence[int] = ()
) -> tff.learning.templates.LearningProcess:
  """Returns rounds that subtract the mean of the updates from weights which begin at zero.

  Args:
    build_aggregator: Builds the aggregator for the type of an update.
    broken: As above.
  """

  @tff.tensorflow.computation
  def initial_weights() -> Any:
    return tff.learning.models.ModelWeights(tuple(tf.zeros(shape) for shape in SHAPES), ())

  weights_type, data_type = initial_weights.type_signature.result, client_work.dataset_type(fakes.SCHEMA)

  @tff.tensorflow.computation(data_type)
  def work(sequence: tf.data.Dataset) -> Any:
    dataset = sequence.get_single_element()
    return tff.learning.templates.ClientResult(draw(dataset, broken), tf.cast(dataset.num_examples, tf.float32))

  @tff.federated_computation
  def initialize() -> Any:
    return tff.federated_value((), tff.SERVER)

  @tff.federated_computation(
    initialize.type_signature.result,
    tff.FederatedType(weights_type, tff.CLIENTS),
    tff.FederatedType(data_type, tff.CLIENTS),
  )
  def next_round(state: Any, weights: Any, data: Any) -> Any:
    del weights
    measured = tff.federated_value((), tff.SERVER)
    return tff.templates.MeasuredProcessOutput(state, tff.federated_map(work, data), measured)

  optimizer = tff.learning.optimizers.build_sgdm(1.0)
  parts = base.Parts(
    tff.learning.templates.ClientWorkProcess(initialize, next_round),
    tff.learning.templates.build_apply_optimizer_finalizer(optimizer, weights_type),
  )
  return composition.compose(initial_weights, parts, build_aggregator(weights_type.trainable))


def cohort(source: client_data.ClientDataSource, clients: Sequence[int], round_number: int = 1) -> client_data.Cohort:
  """Returns the cohort of these clients, also of those without examples, which rounds usually do without."""
  return client_data.Cohort(source, round_number, np.array(clients, int))


@functools.cache
def _build_cached(
  factory: Any, broken: tuple[int, ...], plan: plan_lib.PrivacyPlan
) -> tff.learning.templates.LearningProcess:
  return build_process(functools.partial(factory_process.build_aggregator, plan=plan, factory=factory), broken)


class Round(NamedTuple):
  """A round: the update that the aggregator made, as one vector, and what else the round gave."""

  update: np.ndarray
  result: runtime_lib.RoundResult


class RoundsTestCase(parameterized.TestCase):
  """Runs rounds of factories on a small data set."""

  def setUp(self) -> None:
    super().setUp()
    compiled_once.share(self)
    shards = fakes.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    self._source = client_data.ClientDataSource(shards, 4, 24, algorithm_rounds.SEED)

  def updates(self, clients: Sequence[int]) -> np.ndarray:
    """Returns the updates of clients in the first round, a row each."""
    drawn = cohort(self._source, clients)
    return np.array([algorithm_rounds.join(draw(drawn.load(place))) for place in range(len(clients))])

  def run_rounds(
    self,
    factory: Any,
    cohorts: Sequence[Sequence[int]],
    runtime: str = 'local',
    use_xla: bool | None = False,
    broken: Sequence[int] = (),
    plan: plan_lib.PrivacyPlan = PLAN,
    state_of_factory: Any = None,
  ) -> list[Round]:
    """Runs a round for each cohort; a factory that is given again is compiled once.

    Args:
      factory: What combines the updates.
      cohorts: The clients of each round.
      runtime: Its name.
      use_xla: Whether XLA compiles the client's work.
      broken: See `draw`.
      plan: How updates are clipped and weighted.
      state_of_factory: What the first round begins with, by default what the factory says.
    """
    process = _build_cached(factory, tuple(broken), plan)
    rounds = []
    with contextlib.closing(registry.build_runtime(runtime, process, use_xla)) as ran:
      state = ran.initialize()
      if state_of_factory is not None:
        state.aggregator['factory'] = state_of_factory
      for number, clients in enumerate(cohorts, start=1):
        result = ran.next(state, cohort(self._source, clients, number))
        rounds.append(Round(algorithm_rounds.flat(state) - algorithm_rounds.flat(result.state), result))
        state = result.state
    return rounds
