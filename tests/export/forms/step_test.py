"""Tests which files are step files, and that the runtime is driven over whole sequences with the state carried on."""

from collections.abc import Mapping, Sequence
import itertools
import tempfile
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest

from contracts import released_model
from export import parity
from export.forms import step
from models import unsupported
from tests.export import converted
from tests.export import fakes

_FLOAT = 'float32'
_ENDS: list[parity.End] = [
  ('input', 'state_10', _FLOAT, (1, 3)),
  ('output', 'next_state_2', _FLOAT, (1, 4)),
  ('input', 'characters', 'int32', (1,)),
  ('output', 'logits', _FLOAT, (1, 20)),
  ('input', 'state_2', _FLOAT, (1, 4)),
  ('output', 'next_state_10', _FLOAT, (1, 3)),
]


class EndsTest(parameterized.TestCase):
  def test_pairs_states_in_the_order_of_their_numbers(self) -> None:
    ends = step.find_ends(_ENDS)
    self.assertEqual((ends.input, ends.output), (_ENDS[2], _ENDS[3]))
    self.assertEqual(ends.states, [(_ENDS[4], _ENDS[1]), (_ENDS[0], _ENDS[5])])
    self.assertEqual([end[1] for end in ends.in_order()[:3]], ['characters', 'state_2', 'state_10'])
    self.assertEqual([end[1] for end in ends.in_order()[3:]], ['logits', 'next_state_2', 'next_state_10'])

  @parameterized.parameters(
    (1, None, r"Expected state_2 and next_state_2 of float32 and one shape, found \('float32', \(1, 4\)\) and none"),
    (1, ('output', 'next_state_2', _FLOAT, (1, 3)), r"found \('float32', \(1, 4\)\) and \('float32', \(1, 3\)\)"),
    (4, ('input', 'state_2', 'int8', (1, 4)), r"found \('int8', \(1, 4\)\) and"),
    (2, None, 'Expected a file with states, and one other input .* found input state_10 of float32, output next_state'),
    (3, ('output', 'logits', 'int8', (1, 20)), 'one other output of float32, found .* output logits of int8'),
    (0, None, 'one other output of float32, found .* output next_state_10 of float32: convert the model with'),
    (4, ('input', 'second', _FLOAT, (1, 4)), 'one other input and one other output of float32, found .* input second'),
  )
  def test_refuses_others(self, index: int, end: parity.End | None, message: str) -> None:
    ends = [*_ENDS[:index], *([end] if end else []), *_ENDS[index + 1 :]]
    with self.assertRaisesRegex(ValueError, message):
      step.find_ends(ends)

  def test_refuses_a_whole_model(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected a file with states'):
      step.find_ends([('input', 'characters', 'int32', (1, 12)), ('output', 'logits', _FLOAT, (1, 12, 20))])


class _Sum:
  """A file without a model: the state is the sum of the elements, and the logits are the state."""

  def __init__(self, leak: float = 0.0) -> None:
    self._leak, self._calls = leak, 0
    self._tensors: dict[int, np.ndarray] = {}

  def set_tensor(self, index: int, value: np.ndarray) -> None:
    self._tensors[index] = value

  def invoke(self) -> None:
    self._calls += 1
    total = self._tensors[5] + self._tensors[3] + self._leak * self._calls
    self._tensors[7] = self._tensors[8] = total

  def get_tensor(self, index: int) -> np.ndarray:
    return self._tensors[index]

  def __call__(self, characters: np.ndarray, state_0: np.ndarray) -> Mapping[str, np.ndarray]:
    self.set_tensor(3, characters)
    self.set_tensor(5, state_0)
    self.invoke()
    return {'logits': self._tensors[7], 'next_state_0': self._tensors[8]}


_OF_SUM: Sequence[parity.End] = [
  ('input', 'characters', 'float32', (1,)),
  ('input', 'state_0', 'float32', (1, 1)),
  ('output', 'logits', 'float32', (1, 1)),
  ('output', 'next_state_0', 'float32', (1, 1)),
]


def _drive(interpreter: Any) -> tuple[step.Ends, step._Fast]:
  ends = step.find_ends(_OF_SUM)
  given, returned = {'characters': {'index': 3}, 'state_0': {'index': 5}}, {'logits': {'index': 7}}
  return ends, step._Fast(interpreter, ends, given, {**returned, 'next_state_0': {'index': 8}})


class DriverTest(absltest.TestCase):
  def test_a_call_is_a_step(self) -> None:
    with mock.patch.object(step, '_drive', _drive):
      answers = itertools.islice(step.Step().calls(_Sum(), np.array([[1, 2], [4, 8]])), 6)
      self.assertEqual([each.item() for each in answers], [1, 3, 4, 12, 1, 3])

  def test_each_example_begins_with_zeros(self) -> None:
    _, fast = _drive(_Sum())
    for _ in range(2):
      logits = fast.run(np.array([1, 2, 4], np.float32))
      np.testing.assert_array_equal(logits, [[1], [3], [7]])

  def test_what_is_called_again_has_to_answer_alike(self) -> None:
    ends, example = step.find_ends(_OF_SUM), np.array([1, 2, 4], np.float32)
    expected = np.array([[1], [3], [7]], np.float32)
    step._check_repeated(_Sum(), ends, example, expected)
    for run, logits in ((_Sum(leak=1.0), expected), (_Sum(), expected + 1)):
      with self.assertRaisesRegex(ValueError, 'found another one: the file keeps a state between calls'):
        step._check_repeated(run, ends, example, logits)


@pytest.mark.slow
class FileTest(parameterized.TestCase):
  def test_a_step_file_gives_the_answers_of_the_whole_file(self) -> None:
    features = np.random.default_rng(2).integers(0, 20, (30, 12))
    features[:, 9:] = 0  # Padding.
    answers, whole = (converted.answer(name, fakes.CHARACTERS, 8, features) for name in ('step', 'float32'))
    self.assertEqual(answers.logits.shape, (30, 12, 20))
    np.testing.assert_allclose(answers.logits, whole.logits, atol=1e-5)
    ends: list[Any] = [
      ('input', 'characters', 'int32', (1,)),
      ('input', 'state_0', 'float32', (1, 8)),
      ('output', 'logits', 'float32', (1, 20)),
      ('output', 'next_state_0', 'float32', (1, 8)),
    ]
    self.assertEqual(answers.signature, ends)
    # Biases of zeros are stored once.
    self.assertBetween(answers.stored['float32'], 0.9 * 1_124, 1_124 + 50)

  def test_a_model_without_the_form(self) -> None:
    run_dir = self.enterContext(tempfile.TemporaryDirectory())
    fakes.release(run_dir, fakes.HANDWRITING)
    with self.assertRaisesRegex(unsupported.Unsupported, '^Expected examples that have a label for each position'):
      step.Step().build(released_model.load(run_dir), 'handwriting', run_dir)


if __name__ == '__main__':
  absltest.main()
