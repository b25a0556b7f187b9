"""Runs whose rounds follow a script instead of training: what the program makes of them, in no time."""

import collections
from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from models import functional_model
from reporting import charts
from tff_tasks.aggregation import round_noise
from tff_tasks.algorithms import learning_process
from tff_tasks.evaluation import evaluation
from tff_tasks.population import client_data
from tff_tasks.population import client_report
from tff_tasks.runtime import registry
from tff_tasks.runtime import runtime as runtime_lib
from tff_tasks.training import parts

_CHOICE = 'Clients train compiled by XLA.'
# Of the model that is sent to clients, and never built.
_MODEL_WEIGHTS = 100


class _Weights(NamedTuple):
  trainable: tuple[np.ndarray, ...]


class _State(NamedTuple):
  global_model_weights: _Weights
  aggregator: collections.OrderedDict[str, np.int32]
  finalizer: np.ndarray


@dataclasses.dataclass(frozen=True)
class Script:
  """What happens in a run.

  Attributes:
    bad_clients: The clients that a round leaves out.
    error: Raised in the last round.
    step: What a round adds to every weight.
    clients: How many take part in a round.
    weights: How many weights the model has.
    choice: What there is to know of the runtime at its start.
  """

  bad_clients: Mapping[int, Sequence[int]] = dataclasses.field(default_factory=dict)
  error: BaseException | None = None
  step: float = 1.0
  clients: int = 4
  weights: int = 3
  choice: str = ''

  @contextlib.contextmanager
  def play(self) -> Iterator['Runtime']:
    """Lets what is run meanwhile follow the script; no model is built and no chart is drawn: each takes a second."""
    runtime = Runtime(self)
    evaluator = mock.Mock()
    evaluator.evaluate.return_value = evaluation.Evaluation(1.5, 0.5, 0.25, {})
    model = mock.Mock(initial_weights=[np.zeros(_MODEL_WEIGHTS, np.float32)])
    with (
      mock.patch.object(functional_model, 'FunctionalModel', return_value=model),
      mock.patch.object(charts, 'draw', return_value='<svg></svg>'),
      mock.patch.object(
        parts, 'build_learning_process', lambda *process: learning_process.Built(process, self.weights)
      ),
      mock.patch.object(registry, 'build_runtime', runtime.build),
      mock.patch.object(round_noise.RoundNoise, 'add', lambda noise, number, state: state),
      mock.patch.object(evaluation, 'Evaluator', return_value=evaluator),
    ):
      yield runtime


class Runtime:
  """A runtime whose rounds add the step of the script to every weight.

  Attributes:
    use_xla: As asked for, or settled before; chosen in the first round if that is None.
    process: What the learning process was built of.
  """

  def __init__(self, script: Script) -> None:
    self._script = script
    self.use_xla: bool | None = None
    self.choice = script.choice
    self.process: tuple[Any, ...] = ()
    self.is_closed = False

  def build(
    self, name: str, process: tuple[Any, ...], use_xla: bool | None, settled: Mapping[str, Any], options: Sequence[str]
  ) -> 'Runtime':
    """Stands in for `registry.build_runtime`."""
    del name, options
    self.process = process
    self.use_xla = settled.get('use_xla', use_xla)
    return self

  @property
  def settled(self) -> dict[str, Any]:
    return {} if self.use_xla is None else {'use_xla': self.use_xla}

  def initialize(self) -> _State:
    weights = _Weights((np.zeros(self._script.weights, np.float32),))
    return _State(weights, collections.OrderedDict(round=np.int32(0)), np.zeros(1))

  def prepare(self, state: _State, cohort: client_data.Cohort) -> None:
    del state, cohort

  def next(
    self, state: _State, cohort: client_data.Cohort, upcoming: client_data.Cohort | None
  ) -> runtime_lib.RoundResult:
    if self._script.error and upcoming is None:
      raise self._script.error
    if self.use_xla is None:
      self.use_xla, self.choice = True, _CHOICE
    bad = self._script.bad_clients.get(cohort.round_number, ())
    work = {'loss': 20.0, 'correct': 4.0, 'count': 10.0}
    norms = np.full(self._script.clients, 0.5, np.float32)
    index = np.arange(self._script.clients)
    report = client_report.ClientReport(index, np.ones_like(index), np.ones_like(index, bool), norms)
    measured = {'client_work': {'sums': work}, 'aggregator': report}
    weights = tuple(weight + self._script.step for weight in state.global_model_weights.trainable)
    errors = [client_data.ClientError(client, 'Expected data.') for client in bad]
    return runtime_lib.RoundResult(_State(_Weights(weights), *state[1:]), measured, errors, report)

  def close(self) -> None:
    self.is_closed = True


NOTHING_HAPPENS = Script()
