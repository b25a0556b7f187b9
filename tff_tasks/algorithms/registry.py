"""The algorithms by name. No TensorFlow: flags are checked before it is loaded."""

from collections.abc import Sequence

from common import options as options_lib
from tff_tasks import config as config_lib
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import fed_dyn
from tff_tasks.algorithms import fed_nova
from tff_tasks.algorithms import fed_prox
from tff_tasks.algorithms import fed_recon
from tff_tasks.algorithms import local_algorithm
from tff_tasks.algorithms import mime_lite
from tff_tasks.algorithms import scaffold

ALGORITHMS: dict[str, type[local_algorithm.LocalAlgorithm]] = {
  'fed_avg': fed_avg.FedAvg,
  'fed_prox': fed_prox.FedProx,
  'scaffold': scaffold.Scaffold,
  'fed_nova': fed_nova.FedNova,
  'mime_lite': mime_lite.MimeLite,
  'fed_dyn': fed_dyn.FedDyn,
  'fed_recon': fed_recon.FedRecon,
}


def build(name: str, options: Sequence[str] = ()) -> local_algorithm.Algorithm:
  """Returns an algorithm with its options.

  Args:
    name: A key of `ALGORITHMS`, or `package.module:attribute`.
    options: Each `name=value`.

  Raises:
    ValueError: If there is no such algorithm, or its options are not these.
  """
  return options_lib.build_named('--algorithm', name, ALGORITHMS, _check_kind, options)


def _check_kind(name: str, kind: type) -> None:
  is_local = issubclass(kind, local_algorithm.LocalAlgorithm)
  if is_local == options_lib.takes(kind, 'build', 1):
    raise ValueError(
      'Expected an algorithm that either derives from LocalAlgorithm or has build(context), found '
      f'{"both" if is_local else "neither"} in {name!r}: derive it '
      'from LocalAlgorithm (tff_tasks/algorithms/local_algorithm.py), or add the method that '
      'tff_tasks/algorithms/base.py shows.'
    )


def check(config: config_lib.Config) -> None:
  """Checks that the algorithm of a config exists, takes its options, and works with the other flags.

  Raises:
    ValueError: If it does not.
  """
  config.check(build(config.algorithm, config.algorithm_options))
