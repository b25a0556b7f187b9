"""The runtimes by name. TensorFlow is imported only when one is built: flags are checked before it is loaded."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING, Any

from common import options as options_lib
from tff_tasks import config as config_lib
from tff_tasks.runtime import base

if TYPE_CHECKING:
  import tensorflow_federated as tff

  from tff_tasks.runtime import runtime


@dataclasses.dataclass(frozen=True)
class Local:
  """Threads of this process.

  Attributes:
    threads: Blocks of clients that train at the same time; 0: one a core.
  """

  threads: int = 0

  def __post_init__(self) -> None:
    if self.threads < 0:
      raise ValueError(f'Expected threads of at least 0, found {self.threads}: give --runtime_options=threads=2.')

  def build(self, process: 'tff.learning.templates.LearningProcess', settings: base.Settings) -> 'runtime.Runtime':
    from tff_tasks.runtime import local

    return local.LocalRuntime(process, settings.settled.get(local.USE_XLA, settings.use_xla), self.threads or None)


@dataclasses.dataclass(frozen=True)
class Tff:
  """TFF's own runtime, the reference."""

  def build(self, process: 'tff.learning.templates.LearningProcess', settings: base.Settings) -> 'runtime.Runtime':
    del settings
    from tff_tasks.runtime import tff as tff_runtime

    return tff_runtime.TffRuntime(process)


# Of `runtime.Runtime`.
_METHODS = ('initialize', 'prepare', 'next', 'close')
RUNTIMES: dict[str, Any] = {'local': Local, 'tff': Tff}


def build(name: str, options: Sequence[str] = ()) -> base.Builder:
  """Returns the builder of a runtime with its options.

  Args:
    name: A key of `RUNTIMES`, or `package.module:attribute`.
    options: Each `name=value`.

  Raises:
    ValueError: If there is no such runtime, or its options are not these.
  """
  builder: base.Builder = options_lib.build_named('--runtime', name, RUNTIMES, _check_kind, options)
  return builder


def build_runtime(
  name: str,
  process: 'tff.learning.templates.LearningProcess',
  use_xla: bool | None = None,
  settled: Mapping[str, Any] | None = None,
  options: Sequence[str] = (),
) -> 'runtime.Runtime':
  """Returns the runtime of that name for a process.

  Args:
    name: As in `build`.
    process: What to run.
    use_xla: Whether XLA compiles the clients' work; None if the runtime may choose.
    settled: What the runtime has settled before, if the run goes on.
    options: As in `build`.

  Raises:
    ValueError: As in `build`, or if what is built has not all methods of a runtime.
  """
  built = build(name, options).build(process, base.Settings(use_xla, settled or {}))
  missing = [method for method in _METHODS if not callable(getattr(built, method, None))]
  if missing:
    raise ValueError(
      f'Expected a runtime with {", ".join(_METHODS)} from {name!r}, found none of {", ".join(missing)}: add what '
      'tff_tasks/runtime/runtime.py shows.'
    )
  return built


def check(config: config_lib.Config) -> None:
  """Checks that the runtime of a config exists, takes its options, and works with the other flags.

  Raises:
    ValueError: If it does not.
  """
  config.check(build(config.runtime, config.runtime_options))


def _check_kind(name: str, kind: type) -> None:
  if not options_lib.takes(kind, 'build', 2):
    raise ValueError(
      f'Expected a runtime, found {name!r}: add the method build(process, settings) that tff_tasks/runtime/base.py '
      'shows.'
    )
