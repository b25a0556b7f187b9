"""The samplers by name. Nothing heavy is imported here: flags are checked before that."""

from collections.abc import Sequence

from common import options as options_lib
from tff_tasks.population.samplers import base
from tff_tasks.population.samplers import cyclic
from tff_tasks.population.samplers import fixed
from tff_tasks.population.samplers import min_separation
from tff_tasks.population.samplers import poisson

SAMPLERS: dict[str, type[base.Sampler]] = {
  'poisson': poisson.Poisson,
  'fixed': fixed.Fixed,
  'cyclic': cyclic.Cyclic,
  'min_separation': min_separation.MinSeparation,
}
_CHECK = options_lib.derives('a sampler', base.Sampler)


def build(name: str, options: Sequence[str] = ()) -> base.Sampler:
  """Returns a sampler with its options.

  Args:
    name: A key of `SAMPLERS`, or `package.module:attribute`.
    options: Each `name=value`.

  Raises:
    ValueError: If there is no such sampler, or its options are not these.
  """
  return options_lib.build_named('--sampling', name, SAMPLERS, _CHECK, options)
