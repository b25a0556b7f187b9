"""The runtimes by name."""

import tensorflow_federated as tff

from tff_tasks.runtime import local
from tff_tasks.runtime import runtime
from tff_tasks.runtime import tff as tff_runtime


def build_runtime(
  name: str, process: tff.learning.templates.LearningProcess, use_xla: bool | None = None
) -> runtime.Runtime:
  """Returns the runtime of that name for a process; `use_xla` is for the one that has the choice."""
  if name == 'tff':
    return tff_runtime.TffRuntime(process)
  if name == 'local':
    return local.LocalRuntime(process, use_xla)
  raise ValueError(f'Expected a runtime among local, tff, found {name!r}.')
