"""A runtime of one's own: the local one, which writes the seconds of each round to a file.

python -m tff_tasks.train --flagfile=configs/shakespeare_quickstart.flags --output_dir=runs/timed_rounds \
    --runtime=examples.extensions.timed_rounds:TimedRounds --runtime_options=path=runs/seconds.csv
"""

from collections.abc import Mapping
import dataclasses
import time
from typing import Any

import tensorflow_federated as tff

from tff_tasks.population import client_data
from tff_tasks.runtime import base
from tff_tasks.runtime import registry
from tff_tasks.runtime import runtime


@dataclasses.dataclass(frozen=True)
class TimedRounds:
  """Any runtime, with a line `round,clients,seconds` for each round.

  Attributes:
    path: The file, which is appended to.
    inner: The name of the runtime that executes the rounds.
  """

  path: str
  inner: str = 'local'

  def build(self, process: tff.learning.templates.LearningProcess, settings: base.Settings) -> runtime.Runtime:
    return _Timed(self.path, registry.build(self.inner).build(process, settings))


class _Timed:
  def __init__(self, path: str, inner: runtime.Runtime) -> None:
    self._path, self._inner = path, inner

  @property
  def choice(self) -> str:
    return self._inner.choice

  @property
  def settled(self) -> Mapping[str, Any]:
    return self._inner.settled

  def initialize(self) -> Any:
    return self._inner.initialize()

  def prepare(self, state: Any, cohort: client_data.Cohort) -> None:
    self._inner.prepare(state, cohort)

  def next(
    self, state: Any, cohort: client_data.Cohort, upcoming: client_data.Cohort | None = None
  ) -> runtime.RoundResult:
    started = time.monotonic()
    result = self._inner.next(state, cohort, upcoming)
    with open(self._path, 'a', encoding='utf-8') as file:
      file.write(f'{cohort.round_number},{len(cohort)},{time.monotonic() - started:.4f}\n')
    return result

  def close(self) -> None:
    self._inner.close()
