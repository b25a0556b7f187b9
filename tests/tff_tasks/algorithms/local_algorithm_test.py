"""Tests of the example that says how to write an algorithm, and of what algorithms share."""

import dataclasses
import os
import sys
import textwrap
import types

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tests.tff_tasks import algorithm_reference
from tests.tff_tasks import algorithm_rounds
from tests.tff_tasks import compiled_once
from tff_tasks.algorithms import local_algorithm
from tff_tasks.algorithms import registry

_STRENGTH = 0.1


@dataclasses.dataclass(frozen=True)
class _Forgetful(local_algorithm.LocalAlgorithm):
  """One that does not say how much its clients keep."""

  def finish(self, client: local_algorithm.Client, trained: local_algorithm.Weights) -> local_algorithm.Update:
    return local_algorithm.Update(tuple(trained), memory=tf.zeros([1]))


class LocalAlgorithmTest(absltest.TestCase):
  def test_the_example_of_the_docstring_trains_on_both_runtimes(self) -> None:
    compiled_once.share(self)
    module = types.ModuleType('algorithm_of_the_docstring')
    self.enterContext(absltest.mock.patch.dict(sys.modules, {module.__name__: module}))
    text = local_algorithm.__doc__ or ''
    code = '\n'.join(line for line in text.splitlines() if line.startswith('    ') or not line)
    exec(textwrap.dedent(code), vars(module))
    algorithm = registry.build('algorithm_of_the_docstring:WeightDecay', [f'strength={_STRENGTH}'])
    shards = algorithm_rounds.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    toy, weights = algorithm_reference.Toy(shards), algorithm_rounds.begin().astype(float)
    for cohort in algorithm_rounds.TWICE:
      # Towards the weights before, and from there to zero.
      trained = [toy.train(client, weights, drift=_STRENGTH * weights, pull=_STRENGTH) for client in cohort]
      weights = np.mean(trained, axis=0)
    for runtime in ('local', 'tff'):
      algorithm_rounds.assert_close(algorithm_rounds.Rounds(shards).run(algorithm, runtime).weights, weights)

  def test_memory_of_another_size_is_refused(self) -> None:
    with self.assertRaisesRegex(
      ValueError, r'keep memory_size numbers, which is 0, found \(1,\) in what finish returns'
    ):
      algorithm_rounds.build_process(_Forgetful())

  def test_a_vector_has_the_shapes_of_weights_again(self) -> None:
    weights = [tf.reshape(tf.range(6.0), [2, 3]), tf.constant(7.0), tf.constant([8.0, 9.0])]
    vector = local_algorithm.flatten(weights)
    np.testing.assert_array_equal(vector, np.array([0, 1, 2, 3, 4, 5, 7, 8, 9], np.float32))
    for one, other in zip(local_algorithm.split(vector, weights), weights, strict=True):
      np.testing.assert_array_equal(one, other)

  def test_subtracts_tensor_by_tensor(self) -> None:
    found = local_algorithm.subtract([np.array([3.0]), np.array([5.0, 6.0])], [np.array([1.0]), np.array([2.0, 4.0])])
    self.assertEqual([one.tolist() for one in found], [[2.0], [3.0, 2.0]])


if __name__ == '__main__':
  absltest.main()
