"""Tests of values of TFF types as flat lists: the order of the type, and the same containers back."""

import collections
from typing import Any, NamedTuple

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.runtime import tff_structures


class _Pair(NamedTuple):
  second: Any
  first: Any


# Keys and fields in an order that is not the alphabet's, which `tf.nest` would sort.
_NESTED: dict[str, Any] = collections.OrderedDict(
  z=np.float32(1.5),
  a=_Pair(second=np.int32(2), first=(np.float32(3), [np.int32(4), ()])),
  m=np.array([5, 6], np.int32),
)
_NESTED_TYPE = tff.to_type(
  collections.OrderedDict(
    z=np.float32,
    a=_Pair(second=np.int32, first=(np.float32, [np.int32, ()])),
    m=tff.TensorType(np.int32, (2,)),
  )
)


def _pack(leaves: list[Any], value_type: tff.Type) -> Any:
  return tff_structures.pack([tf.constant(leaf) for leaf in leaves], value_type)


class ValuesTest(parameterized.TestCase):
  def test_flattens_in_the_order_of_the_type(self) -> None:
    leaves = tff_structures.flatten(_NESTED, _NESTED_TYPE)
    self.assertEqual([np.asarray(leaf).tolist() for leaf in leaves], [1.5, 2, 3, 4, [5, 6]])

  def test_the_order_is_the_types_and_not_the_values(self) -> None:
    shuffled = {name: _NESTED[name] for name in ('m', 'z', 'a')}
    leaves = tff_structures.flatten(shuffled, _NESTED_TYPE)
    self.assertEqual([np.asarray(leaf).tolist() for leaf in leaves], [1.5, 2, 3, 4, [5, 6]])

  def test_packs_what_was_flattened(self) -> None:
    packed = _pack(tff_structures.flatten(_NESTED, _NESTED_TYPE), _NESTED_TYPE)
    self.assertIsInstance(packed, collections.OrderedDict)
    self.assertEqual(list(packed), ['z', 'a', 'm'])
    self.assertIsInstance(packed['a'], _Pair)
    self.assertEqual(packed['a'], _NESTED['a'])
    self.assertIsInstance(packed['a'].first, tuple)
    self.assertIsInstance(packed['a'].first[1], list)
    np.testing.assert_array_equal(packed['m'], _NESTED['m'], strict=True)
    self.assertEqual((packed['z'].dtype, packed['a'].second.dtype), (np.float32, np.int32))

  def test_a_placed_value_is_its_member(self) -> None:
    placed = tff.FederatedType(_NESTED_TYPE, tff.SERVER)
    leaves = tff_structures.flatten(_NESTED, placed)
    self.assertLen(leaves, 5)
    self.assertEqual(list(_pack(leaves, placed)), ['z', 'a', 'm'])

  def test_a_tensor_is_one_leaf(self) -> None:
    self.assertEqual(tff_structures.flatten(7, tff.TensorType(np.int32)), [7])
    np.testing.assert_array_equal(_pack([7], tff.TensorType(np.int32)), 7)

  @parameterized.parameters(((),), ([],))
  def test_nothing_is_no_leaf(self, nothing: Any) -> None:
    value_type = tff.to_type(nothing)
    self.assertEqual(tff_structures.flatten(nothing, value_type), [])
    self.assertEqual(_pack([], value_type), nothing)

  def test_specs_and_names_are_of_the_leaves_in_their_order(self) -> None:
    self.assertEqual(
      tff_structures.specs(tff.FederatedType(_NESTED_TYPE, tff.SERVER)),
      [
        tf.TensorSpec([], tf.float32),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([], tf.float32),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([2], tf.int32),
      ],
    )
    self.assertEqual(tff_structures.names(_NESTED_TYPE), ['z', 'second', None, None, 'm'])

  def test_a_structure_of_no_container_is_a_tuple(self) -> None:
    value_type = tff.StructType([(None, np.int32), (None, np.float32)])
    self.assertEqual(_pack([1, 2.5], value_type), (1, 2.5))

  def test_the_state_of_a_learning_process(self) -> None:
    weights = tff.learning.models.ModelWeights((np.array([1, 2], np.float32), np.array([[3]], np.float32)), ())
    state = tff.learning.templates.LearningAlgorithmState(weights, (), (), collections.OrderedDict(r=np.int32(4)), ())
    shapes = ((2,), (1, 1))
    weights_type = tff.learning.models.ModelWeights(tuple(tff.TensorType(np.float32, shape) for shape in shapes), ())
    value_type = tff.to_type(
      tff.learning.templates.LearningAlgorithmState(weights_type, (), (), collections.OrderedDict(r=np.int32), ())
    )
    packed = _pack(tff_structures.flatten(state, value_type), value_type)
    self.assertIsInstance(packed, tff.learning.templates.LearningAlgorithmState)
    self.assertIsInstance(packed.global_model_weights, tff.learning.models.ModelWeights)
    np.testing.assert_array_equal(packed.global_model_weights.trainable[1], [[3]])
    self.assertEqual(packed.aggregator, collections.OrderedDict(r=4))

  def test_a_vector_of_all_numbers_and_back(self) -> None:
    tensors = [tf.reshape(tf.range(6), [2, 3]), tf.constant(7), tf.constant([8, 9])]
    vector = tff_structures.join(tensors)
    self.assertEqual(vector.numpy().tolist(), [0, 1, 2, 3, 4, 5, 7, 8, 9])
    for one, other in zip(tff_structures.split(vector, [(2, 3), (), (2,)]), tensors, strict=True):
      self.assertEqual(one.numpy().tolist(), other.numpy().tolist())


if __name__ == '__main__':
  absltest.main()
