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
_CHECK = options_lib.derives('a mechanism', base.Mechanism)


def build(name: str, options: Sequence[str] = ()) -> base.Mechanism:
  """Returns a mechanism with its options.

  Args:
    name: A key of `MECHANISMS`, or `package.module:attribute`.
    options: Each `name=value`.

  Raises:
    ValueError: If there is no such mechanism, or its options are not these.
  """
  return options_lib.build_named('--mechanism', name, MECHANISMS, _CHECK, options)
