"""What builds a runtime: a frozen dataclass whose fields are options. No TensorFlow."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
  import tensorflow_federated as tff

  from tff_tasks.runtime import runtime


class Settings(NamedTuple):
  """What a run asks of its runtime.

  Attributes:
    use_xla: What --xla says: whether XLA compiles the clients' work; None if the runtime may choose.
    settled: `Runtime.settled` of the program that the run goes on from; empty in a new run.
  """

  use_xla: bool | None = None
  settled: Mapping[str, Any] = {}


class Builder(Protocol):
  """A runtime, as a frozen dataclass with this method.

  Its fields are options: each an int, float, bool or str.

  It may have a method `check(config)` as well, which raises a `ValueError` if the runtime does not work with other
  flags of a run.
  """

  def build(self, process: 'tff.learning.templates.LearningProcess', settings: Settings) -> 'runtime.Runtime':
    """Returns what executes a learning process.

    Args:
      process: Its client data is a sequence of one `ClientDataset`.
      settings: What the run asks for.
    """
