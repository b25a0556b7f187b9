"""What a run goes on from: everything that the next round depends on. On disk it is a checkpoint."""

import collections
from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tff_tasks.population import seeds
from tff_tasks.training import history as history_lib
from tff_tasks.training import metrics

_ROUND = 'round'  # In the state of our aggregators, whichever factory they are made of.


@dataclasses.dataclass(frozen=True)
class ProgramState:
  """Everything that the next round depends on, and what became of the rounds before.

  Attributes:
    round_number: The last finished round.
    seed: The seed of the run.
    settled: `Runtime.settled` of the runtime of these rounds.
    state: The state of the learning process, a nested structure of NumPy arrays; a flat list of them when just loaded.
    history: What the run is, and what it has released.
    rows: The figures of all rounds.
  """

  round_number: int
  seed: seeds.Seed
  settled: Mapping[str, Any]
  state: Any
  history: history_lib.History
  rows: metrics.Rows

  def shaped_like(self, state: Any) -> 'ProgramState':
    """Returns what was loaded, with its state in the structure of another state of the same learning process.

    Raises:
      ValueError: If it is of another learning process.
    """
    if _types(tf.nest.flatten(state)) != _types(self.state):
      raise ValueError(
        'Expected a checkpoint of this model and optimizer, found one of another: choose another --output_dir.'
      )
    return dataclasses.replace(self, state=tf.nest.pack_sequence_as(state, self.state))

  def branched(self, initial: Any) -> 'ProgramState':
    """Returns what was loaded as the beginning of another run, of which only the weights are taken.

    The state of the server's optimizer is not: it holds the learning rate, and that of Adam looks like that of Yogi.

    Args:
      initial: The initial state of the learning process of the other run.

    Raises:
      ValueError: If the weights are of another model.
    """
    weights = tf.nest.flatten(initial.global_model_weights)
    if _types(weights) != _types(self.state[: len(weights)]):
      raise ValueError(
        'Expected a run of this model to branch from, found one of another: leave --branch_from out to start anew.'
      )
    taken = tf.nest.pack_sequence_as(initial.global_model_weights, self.state[: len(weights)])
    return self._with_secret_of(initial, initial._replace(global_model_weights=taken))

  def restarted(self, initial: Any) -> 'ProgramState':
    """Returns what was loaded as the beginning of rounds of the same run with another secret.

    Args:
      initial: The initial state of the learning process with that secret.

    Raises:
      ValueError: If what was loaded is of another learning process.
    """
    return self._with_secret_of(initial, self.shaped_like(initial).state)

  def _with_secret_of(self, initial: Any, state: Any) -> 'ProgramState':
    # What is drawn from the secret is in the state of our aggregators. Rounds are counted on.
    if isinstance(initial.aggregator, Mapping) and _ROUND in initial.aggregator:
      aggregator = collections.OrderedDict(initial.aggregator, **{_ROUND: np.int32(self.round_number)})
      state = state._replace(aggregator=aggregator)
    return dataclasses.replace(self, state=state)


def _types(leaves: Any) -> list[tuple[tuple[int, ...], np.dtype]]:
  return [(np.shape(leaf), np.asarray(leaf).dtype) for leaf in leaves]
