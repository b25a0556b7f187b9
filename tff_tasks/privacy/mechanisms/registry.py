"""The privacy mechanisms by name. Nothing heavy is imported here: flags are checked before that."""

from collections.abc import Sequence

from common import options as options_lib
from tff_tasks.privacy.mechanisms import base
from tff_tasks.privacy.mechanisms import bisr
from tff_tasks.privacy.mechanisms import gaussian

MECHANISMS: dict[str, type[base.Mechanism]] = {
  'gaussian': gaussian.Gaussian,
  'bisr': bisr.Bisr,
}


def build(name: str, options: Sequence[str] = ()) -> base.Mechanism:
  """Returns a mechanism with its options.

  Args:
    name: A key of `MECHANISMS`, or `package.module:attribute`.
    options: Each `name=value`.

  Raises:
    ValueError: If there is no such mechanism, or its options are not these.
  """
  return options_lib.build_named('--mechanism', name, MECHANISMS, _check_kind, options)


def _check_kind(name: str, kind: type) -> None:
  if not issubclass(kind, base.Mechanism) or kind.__abstractmethods__:
    raise ValueError(
      f'Expected a mechanism, found {name!r}: derive it from Mechanism of tff_tasks/privacy/mechanisms/base.py and add '
      'the methods event and source.'
    )
