"""Tests of finding mechanisms, and of the example that says how to write one."""

import dataclasses
import sys
import textwrap
import types

from absl.testing import absltest
from absl.testing import parameterized
import dp_accounting
import numpy as np

from tests.tff_tasks.population.samplers import draws
from tff_tasks.privacy import segments as segments_lib
from tff_tasks.privacy.mechanisms import base
from tff_tasks.privacy.mechanisms import bisr
from tff_tasks.privacy.mechanisms import gaussian
from tff_tasks.privacy.mechanisms import registry


@dataclasses.dataclass(frozen=True)
class Stranger:
  """Has the methods but does not derive from Mechanism."""

  def event(self, noise_multiplier: float, rounds: base.Rounds) -> dp_accounting.DpEvent:
    return dp_accounting.NoOpDpEvent()


@dataclasses.dataclass(frozen=True)
class Silent(base.Mechanism):
  """Draws nothing."""

  def event(self, noise_multiplier: float, rounds: base.Rounds) -> dp_accounting.DpEvent:
    return dp_accounting.NoOpDpEvent()


@dataclasses.dataclass(frozen=True)
class ByExample(gaussian.Gaussian):
  """Protects examples, it says."""

  @property
  def unit(self) -> str:
    return 'example'


@dataclasses.dataclass(frozen=True)
class Laplace(gaussian.Gaussian):
  """Costs what nobody here can account for."""

  def event(self, noise_multiplier: float, rounds: base.Rounds) -> dp_accounting.DpEvent:
    return rounds.independent(dp_accounting.LaplaceDpEvent(noise_multiplier))


class RegistryTest(parameterized.TestCase):
  def test_built_in_ones(self) -> None:
    self.assertEqual(registry.build('gaussian'), gaussian.Gaussian())
    self.assertEqual(registry.build('bisr', ['bandwidth=7']), bisr.Bisr(7))

  @parameterized.parameters(
    ('gausian', [], 'Expected --mechanism to be one of gaussian, bisr, .* did you mean gaussian'),
    ('json:dumps', [], "Expected a frozen dataclass, found 'json:dumps'"),
    (f'{__name__}:Stranger', [], "found '.*:Stranger': derive it from Mechanism"),
    (f'{__name__}:Silent', [], "found '.*:Silent': derive it from Mechanism .* and add the methods event and source"),
    ('gaussian', ['a=1'], "--mechanism_options among none for gaussian, found 'a': leave it out"),
    ('bisr', ['bandwidth=many'], "Expected an integer for option bandwidth, found 'many'"),
  )
  def test_refuses(self, name: str, options: list[str], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      registry.build(name, options)

  @parameterized.parameters(
    ('ByExample', 'Expected a mechanism for the unit client, found example'),
    ('Laplace', 'Expected rounds that are a Gaussian, .*: this accountant has no proof'),
  )
  def test_a_plan_refuses_what_it_cannot_account_for(self, name: str, message: str) -> None:
    plan = draws.plan('poisson')
    with self.assertRaisesRegex(ValueError, message):
      dataclasses.replace(plan, mechanism=f'{__name__}:{name}', clip_norm=0.1, noise_multiplier=2.0, delta=1e-3)

  def test_the_example_of_the_docstring_runs(self) -> None:
    module = types.ModuleType('mechanism_of_the_docstring')
    self.enterContext(absltest.mock.patch.dict(sys.modules, {module.__name__: module}))
    code = '\n'.join(line for line in (base.__doc__ or '').splitlines() if line.startswith('    ') or not line)
    exec(textwrap.dedent(code), vars(module))
    plain = draws.private('poisson')
    louder = dataclasses.replace(
      plain, mechanism='mechanism_of_the_docstring:Louder', mechanism_options=('factor=3.0',)
    )
    as_loud = dataclasses.replace(plain, noise_multiplier=6.0)
    self.assertEqual(segments_lib.epsilon_of_plan(louder, 5), segments_lib.epsilon_of_plan(as_loud, 5))
    self.assertEqual(louder.noise_stddev(50), as_loud.noise_stddev(50))
    loud, expected = (plan.noise.source(bytes(32), plan.noise_levels(50), 50, 1).draw(2) for plan in (louder, as_loud))
    np.testing.assert_allclose(loud, expected, rtol=1e-6)


if __name__ == '__main__':
  absltest.main()
