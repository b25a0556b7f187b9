"""Checks of flags that several programs have."""

import math

from absl import flags


def must_be_finite(*names: str) -> None:
  """Refuses infinity and NaN as the value of flags of floats; a flag without a value passes.

  Args:
    names: Of flags that are defined already.
  """
  for name in names:
    flags.register_validator(name, lambda value: value is None or math.isfinite(value), 'Expected a finite number.')
