"""Tests of finding algorithms and reading their options."""

import dataclasses
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized

from tff_tasks.algorithms import base
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import fed_prox
from tff_tasks.algorithms import registry


@dataclasses.dataclass(frozen=True)
class Own:
  """An algorithm with an option of each type."""

  count: int
  name: str = 'x'
  is_fast: bool = False

  def build(self, model: Any, weights_type: Any, schema: Any, training: Any, server_optimizer: Any) -> base.Parts:
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Partial:
  """One that builds nothing."""


class RegistryTest(parameterized.TestCase):
  def test_built_in_ones(self) -> None:
    self.assertEqual(registry.build('fed_avg'), fed_avg.FedAvg())
    self.assertEqual(registry.build('fed_prox', ['mu=1e-1']), fed_prox.FedProx(0.1))

  def test_one_of_the_users_own(self) -> None:
    found = registry.build(f'{__name__}:Own', ['count=3', 'name=a=b', 'is_fast=true'])
    self.assertEqual(found, Own(3, 'a=b', True))

  @parameterized.parameters(
    ('fed_porx', [], 'Expected --algorithm to be one of fed_avg, fed_prox, .* did you mean fed_prox'),
    ('json:dumps', [], "Expected a frozen dataclass, found 'json:dumps'"),
    (f'{__name__}:Partial', [], 'found .*Partial. without build: add the method'),
    ('fed_avg', ['mu=1'], "--algorithm_options among none for fed_avg, found 'mu': leave it out"),
    ('fed_prox', ['muu=1'], "among mu for fed_prox, found 'muu': did you mean mu"),
    ('fed_prox', [], 'Expected the options mu of fed_prox, found none: add --algorithm_options=mu=VALUE'),
    ('fed_prox', ['mu'], 'with one mu=VALUE, found mu'),
    ('fed_prox', ['mu=1', 'mu=2'], 'with one mu=VALUE, found mu=1, mu=2'),
    ('fed_prox', ['mu=a'], "Expected a number for option mu, found 'a'"),
    ('fed_prox', ['mu=inf'], "Expected a finite number for option mu, found 'inf'"),
    ('fed_prox', ['mu=-1'], 'Expected mu of at least 0, found -1'),
    (f'{__name__}:Own', ['count=1.5'], "Expected an integer for option count, found '1.5'"),
    (f'{__name__}:Own', ['count=1', 'is_fast=2'], "Expected true or false for option is_fast, found '2'"),
  )
  def test_refuses(self, name: str, options: list[str], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      registry.build(name, options)


if __name__ == '__main__':
  absltest.main()
