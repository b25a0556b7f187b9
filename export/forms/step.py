"""step: one element of a sequence a call, which is what a keyboard does at each key.

The states of the recurrent layers are inputs and outputs: `state_0` and `next_state_0`, and so on. They begin with
zeros. The file keeps none of them, and has no unrolled graph: its size is that of its weights.
"""

from collections.abc import Iterator, Mapping, Sequence
import itertools
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from contracts import released_model
from export import flex
from export import parity
from export.forms import base

if TYPE_CHECKING:
  import tensorflow as tf

_STATE = re.compile('state_([0-9]+)')
_NEXT = 'next_'
# So many examples are run again, through the signature.
_REPEATED = 8


class Step(base.Form):
  """Models have it whose layers are recurrent, or see one position at a time."""

  name = 'step'
  reference = 'step'
  call = 'one element of a sequence a call'

  def build(self, released: released_model.ReleasedModel, task: str, run_dir: str) -> 'tf.keras.Model':
    del run_dir
    from models import registry  # Here, with TensorFlow behind it, so that only the child loads that.
    from models import step_model

    return step_model.build(registry.rebuild(released, batch_size=1, name=task), released.schema)

  def answers(self, path: str, features: np.ndarray) -> parity.Answers:
    """Feeds each example element by element, from states of zeros; see `Form.answers`.

    The padding after the end of a sequence is fed as well, as the whole model sees it. No label counts there.
    """
    interpreter = flex.open_interpreter(path)
    interpreter.allocate_tensors()
    ends, fast = _drive(interpreter)
    features = features.astype(ends.input[2])
    logits = np.stack([fast.run(example) for example in features])
    run = interpreter.get_signature_runner()
    for example, expected in zip(features[:_REPEATED], logits, strict=False):
      _check_repeated(run, ends, example, expected)
    return parity.Answers(logits, ends.in_order(), parity.count_stored(path))

  def calls(self, interpreter: Any, features: np.ndarray) -> Iterator[np.ndarray]:
    ends, fast = _drive(interpreter)
    for example in itertools.cycle(features.astype(ends.input[2])):
      yield from fast.steps(example)


def _drive(interpreter: Any) -> tuple['Ends', '_Fast']:
  given, returned = _read_ends(interpreter.get_signature_runner())
  ends = find_ends([*parity.describe_ends('input', given), *parity.describe_ends('output', returned)])
  return ends, _Fast(interpreter, ends, given, returned)


def _read_ends(run: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
  """Returns what the runtime says of the inputs and outputs; while `run` lives, it refuses calls past the signature."""
  return run.get_input_details(), run.get_output_details()


class Ends(NamedTuple):
  """The inputs and outputs of a file.

  Attributes:
    input: The element of the sequence.
    output: The logits.
    states: Of each state the input and the output.
  """

  input: parity.End
  output: parity.End
  states: Sequence[tuple[parity.End, parity.End]]

  def in_order(self) -> list[parity.End]:
    """Returns all of them, the inputs first."""
    return [self.input, *(before for before, _ in self.states), self.output, *(after for _, after in self.states)]


def find_ends(signature: Sequence[parity.End]) -> Ends:
  """Returns which inputs and outputs belong together.

  Raises:
    ValueError: If a state has no output of its own, or another one, or there is no state, or not exactly one other
      input and one other output.
  """
  inputs, outputs = ({end[1]: end for end in signature if end[0] == kind} for kind in ('input', 'output'))
  states = []
  for name in sorted(filter(_STATE.fullmatch, inputs), key=lambda name: int(name.removeprefix('state_'))):
    before, after = inputs.pop(name), outputs.pop(_NEXT + name, None)
    if after is None or after[2:] != before[2:] or after[2] != 'float32':
      raise ValueError(
        f'Expected {name} and {_NEXT}{name} of float32 and one shape, found {before[2:]} and '
        f'{after[2:] if after else "none"}: convert the model with the inputs and outputs that it has'
      )
    states.append((before, after))
  if not states or len(inputs) != 1 or [end[2] for end in outputs.values()] != ['float32']:
    found = ', '.join(f'{kind} {name} of {dtype}' for kind, name, dtype, _ in signature)
    raise ValueError(
      f'Expected a file with states, and one other input and one other output of float32, found {found}: convert the '
      'model with the inputs and outputs that it has'
    )
  (given,), (returned,) = inputs.values(), outputs.values()
  return Ends(given, returned, states)


class _Fast:
  """Runs a file by the indices of its tensors: a call through the signature takes several times as long."""

  def __init__(self, interpreter: Any, ends: Ends, given: Mapping[str, Any], returned: Mapping[str, Any]) -> None:
    self._interpreter = interpreter
    self._input, self._output = given[ends.input[1]]['index'], returned[ends.output[1]]['index']
    self._states = [(given[before[1]]['index'], returned[after[1]]['index']) for before, after in ends.states]
    self._starts = [np.zeros(before[3], np.float32) for before, _ in ends.states]

  def run(self, example: np.ndarray) -> np.ndarray:
    """Returns the logits at each position, `[positions, num_classes]`."""
    return np.concatenate(list(self.steps(example)))

  def steps(self, example: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the logits at each position, `[1, num_classes]`, from states of zeros."""
    write, read = self._interpreter.set_tensor, self._interpreter.get_tensor
    states = self._starts
    for element in example[:, np.newaxis]:
      write(self._input, element)
      for (before, _), state in zip(self._states, states, strict=True):
        write(before, state)
      self._interpreter.invoke()
      logits = read(self._output)
      states = [read(after) for _, after in self._states]
      yield logits


def _check_repeated(run: Any, ends: Ends, example: np.ndarray, expected: np.ndarray) -> None:
  """Runs an example through the signature, each step twice.

  Raises:
    ValueError: If the same inputs get other answers.
  """
  states = {before[1]: np.zeros(before[3], np.float32) for before, _ in ends.states}
  for element, logits in zip(example[:, np.newaxis], expected, strict=True):
    once, twice = (run(**{ends.input[1]: element}, **states) for _ in range(2))
    pairs = [(once[ends.output[1]][0], logits), *((once[name], twice[name]) for name in once)]
    if not all(np.array_equal(one, other, equal_nan=True) for one, other in pairs):
      raise ValueError(
        'Expected the same answer to the same inputs in every call, found another one: the file keeps a state between '
        'calls; make it an input and an output'
      )
    states = {before[1]: once[after[1]] for before, after in ends.states}
