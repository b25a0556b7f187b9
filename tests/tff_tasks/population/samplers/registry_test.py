"""Tests of finding samplers, and of the example that says how to write one."""

import dataclasses
import sys
import textwrap
import types

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.tff_tasks.population.samplers import draws
from tff_tasks.population.samplers import base
from tff_tasks.population.samplers import cyclic
from tff_tasks.population.samplers import min_separation
from tff_tasks.population.samplers import registry
from tff_tasks.privacy import segments as segments_lib


@dataclasses.dataclass(frozen=True)
class Stranger:
  """Has the method but does not derive from Sampler."""

  def cohort(self, draw: base.Draw) -> np.ndarray:
    return np.arange(1)


@dataclasses.dataclass(frozen=True)
class Idle(base.Sampler):
  """Has no method."""


class RegistryTest(parameterized.TestCase):
  def test_built_in_ones(self) -> None:
    self.assertEqual(registry.build('cyclic'), cyclic.Cyclic())
    self.assertEqual(registry.build('min_separation', ['separation=4']), min_separation.MinSeparation(4))

  @parameterized.parameters(
    ('poison', [], 'Expected --sampling to be one of poisson, fixed, .* did you mean poisson'),
    ('json:dumps', [], "Expected a frozen dataclass, found 'json:dumps'"),
    (f'{__name__}:Stranger', [], "found '.*:Stranger': derive it from Sampler"),
    (f'{__name__}:Idle', [], "found '.*:Idle': derive it from Sampler .* and add the method cohort"),
    ('poisson', ['a=1'], "--sampling_options among none for poisson, found 'a': leave it out of --sampling_options"),
    (
      'min_separation',
      [],
      'Expected the options separation of min_separation, .*add --sampling_options=separation=VAL',
    ),
    ('min_separation', ['separation=0'], 'Expected separation of at least 1, found 0'),
    ('min_separation', ['separation=2.5'], "Expected an integer for option separation, found '2.5'"),
  )
  def test_refuses(self, name: str, options: list[str], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      registry.build(name, options)

  def test_the_example_of_the_docstring_runs(self) -> None:
    module = types.ModuleType('sampler_of_the_docstring')
    self.enterContext(absltest.mock.patch.dict(sys.modules, {module.__name__: module}))
    code = '\n'.join(line for line in (base.__doc__ or '').splitlines() if line.startswith('    ') or not line)
    exec(textwrap.dedent(code), vars(module))
    for seldom in ('true', 'false'):
      plan = draws.plan('sampler_of_the_docstring:LeastInvited', [f'seldom={seldom}'], 50, 10)
      joined = draws.joined(plan, 10).sum(axis=0)
      self.assertEqual(joined.max() - joined.min() > 1, seldom == 'false')
    private = draws.private('sampler_of_the_docstring:LeastInvited')
    self.assertEqual(
      segments_lib.epsilon_of_plan(private, 3), segments_lib.epsilon_of_plan(draws.private('fixed', (), 50), 3)
    )


if __name__ == '__main__':
  absltest.main()
