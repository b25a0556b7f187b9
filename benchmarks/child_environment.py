"""The environment of programs that are measured from their start."""

from collections.abc import Mapping
import os


def compiled(folder: str) -> Mapping[str, str]:
  """Returns an environment in which Python finds its modules compiled, as it does wherever it was used before.

  Some machines forbid it to keep what it compiles (`PYTHONDONTWRITEBYTECODE`): then most of a start is compiling.

  Args:
    folder: Where compiled modules are kept. The first run of a program fills it and is not to be counted.
  """
  environment = {name: value for name, value in os.environ.items() if name != 'PYTHONDONTWRITEBYTECODE'}
  return environment | {'PYTHONPYCACHEPREFIX': folder}
