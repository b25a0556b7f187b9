"""The algorithms by name. No TensorFlow: flags are checked before it is loaded."""

from collections.abc import Sequence

from common import loading
from common import options as options_lib
from tff_tasks.algorithms import base
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import fed_prox

ALGORITHMS: dict[str, type[base.Algorithm]] = {
  'fed_avg': fed_avg.FedAvg,
  'fed_prox': fed_prox.FedProx,
}


def build(name: str, options: Sequence[str] = ()) -> base.Algorithm:
  """Returns an algorithm with its options.

  Args:
    name: A key of `ALGORITHMS`, or `package.module:attribute`.
    options: Each `name=value`.

  Raises:
    ValueError: If there is no such algorithm, or its options are not these.
  """
  kind = loading.find('--algorithm', name, ALGORITHMS)
  loading.check_dataclass(name, kind)
  if not callable(getattr(kind, 'build', None)):
    raise ValueError(
      f'Expected an algorithm, found {name!r} without build: add the method that tff_tasks/algorithms/base.py shows.'
    )
  return options_lib.build('--algorithm_options', name, kind, options)
