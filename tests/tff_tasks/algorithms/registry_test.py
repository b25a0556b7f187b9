"""Tests of finding algorithms and reading their options."""

import dataclasses
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized

from tff_tasks import config as config_lib
from tff_tasks.aggregation import row_aggregation
from tff_tasks.algorithms import base
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import fed_prox
from tff_tasks.algorithms import local_algorithm
from tff_tasks.algorithms import registry

_SILENT: dict[str, Any] = {'noise_multiplier': 0.0, 'target_epsilon': 0.0}
_SGD, _MOMENTUM = {'client_optimizer': 'sgd'}, {'client_optimizer': 'momentum'}
_STEPS, _ALPHA = {'algorithm_options': ['effective_steps=5']}, {'algorithm_options': ['alpha=0.1']}


@dataclasses.dataclass(frozen=True)
class Own:
  """An algorithm with an option of each type."""

  count: int
  name: str = 'x'
  is_fast: bool = False

  def build(self, context: base.Context) -> base.Parts:
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Partial:
  """One that builds nothing."""


@dataclasses.dataclass(frozen=True)
class Both(local_algorithm.LocalAlgorithm):
  """One whose methods would not be called, or whose `build` would not be."""

  def build(self, context: base.Context) -> base.Parts:
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class OfRows(row_aggregation.RowAggregation):
  """One that is an aggregation."""

  def combine(self, rows: Any) -> Any:
    return rows[0]


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
    (f'{__name__}:Partial', [], 'found neither in .*Partial.: derive it from LocalAlgorithm .*or add the method'),
    (f'{__name__}:Both', [], 'found both in .*Both.: derive it from LocalAlgorithm .*or add the method'),
    (f'{__name__}:OfRows', [], 'found neither in .*OfRows.: derive it from LocalAlgorithm .*or add the method'),
    ('fed_avg', ['mu=1'], "--algorithm_options among none for fed_avg, found 'mu': leave it out"),
    ('fed_prox', ['muu=1'], "among mu for fed_prox, found 'muu': did you mean mu"),
    ('fed_prox', [], 'Expected the options mu of fed_prox, found none: add --algorithm_options=mu=VALUE'),
    ('fed_prox', ['mu'], 'with one mu=VALUE, found mu'),
    ('fed_prox', ['mu=1', 'mu=2'], 'with one mu=VALUE, found mu=1, mu=2'),
    ('fed_prox', ['mu=a'], "Expected a number for option mu, found 'a'"),
    ('fed_prox', ['mu=inf'], "Expected a finite number for option mu, found 'inf'"),
    ('fed_prox', ['mu=-1'], 'Expected mu of at least 0, found -1.*give --algorithm_options=mu=0.1'),
    ('fed_dyn', ['alpha=0'], 'Expected alpha above 0, found 0.*give --algorithm_options=alpha=0.1'),
    ('fed_nova', ['effective_steps=-1'], 'Expected effective_steps of at least 0, found -1.*leave it out, or set one'),
    (f'{__name__}:Own', ['count=1.5'], "Expected an integer for option count, found '1.5'"),
    (f'{__name__}:Own', ['count=1', 'is_fast=2'], "Expected true or false for option is_fast, found '2'"),
  )
  def test_refuses(self, name: str, options: list[str], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      registry.build(name, options)


class CheckTest(parameterized.TestCase):
  """Of algorithms with other flags: what a message says to set is accepted."""

  def _config(self, algorithm: str, changes: dict[str, Any]) -> config_lib.Config:
    # The flags without a default are those that no algorithm looks at, but for noise and clip.
    fields = dataclasses.fields(config_lib.Config)
    flags: dict[str, Any] = {field.name: None for field in fields if field.default is dataclasses.MISSING}
    return config_lib.Config(**{**flags, 'noise_multiplier': 0.0, 'algorithm': algorithm, **changes})

  @parameterized.named_parameters(
    ('scaffold_noise', 'scaffold', {'noise_multiplier': 1.0}, 'no noise .*control variates', _SILENT),
    ('scaffold_epsilon', 'scaffold', {'noise_multiplier': None, 'target_epsilon': 2.0}, 'no noise', _SILENT),
    ('scaffold_weights', 'scaffold', {'weighting': 'examples'}, '--weighting=uniform', {'weighting': 'uniform'}),
    ('scaffold_momentum', 'scaffold', {'client_optimizer': 'momentum'}, '--client_optimizer=sgd with', _SGD),
    ('mime_lite_noise', 'mime_lite', {'noise_multiplier': 1.0, **_MOMENTUM}, "no noise .*clients' gradients", _SILENT),
    ('mime_lite_sgd', 'mime_lite', {}, '--client_optimizer=momentum or adam with', _MOMENTUM),
    ('or_adam', 'mime_lite', {}, '--client_optimizer=momentum or adam with', {'client_optimizer': 'adam'}),
    ('fed_nova_adam', 'fed_nova', {'client_optimizer': 'adam'}, '--client_optimizer=sgd or momentum with', _SGD),
    ('or_momentum', 'fed_nova', {'client_optimizer': 'adam'}, '--client_optimizer=sgd or momentum with', _MOMENTUM),
    ('fed_nova_clip', 'fed_nova', {'clip_norm': 0.1}, 'such as --algorithm_options=effective_steps=5', _STEPS),
    (
      'fed_dyn_weights',
      'fed_dyn',
      {'weighting': 'examples', **_ALPHA},
      '--weighting=uniform',
      {'weighting': 'uniform'},
    ),
    ('another', 'scaffold', {'noise_multiplier': 1.0}, 'choose another --algorithm', {'algorithm': 'fed_avg'}),
  )
  def test_refuses(self, algorithm: str, wrong: dict[str, Any], message: str, remedy: dict[str, Any]) -> None:
    config = self._config(algorithm, wrong)
    with self.assertRaisesRegex(ValueError, f'^Expected .*{message}'):
      registry.check(config)
    registry.check(dataclasses.replace(config, **remedy))

  @parameterized.named_parameters(
    ('fed_avg', 'fed_avg', {'weighting': 'examples', 'client_optimizer': 'adam'}),
    ('fed_prox', 'fed_prox', {'algorithm_options': ['mu=1'], 'client_optimizer': 'adam', 'noise_multiplier': 1.0}),
    ('fed_dyn', 'fed_dyn', {**_ALPHA, 'client_optimizer': 'adam', 'noise_multiplier': 1.0, 'clip_norm': 0.1}),
    ('fed_nova', 'fed_nova', {**_STEPS, 'noise_multiplier': 1.0, 'clip_norm': 0.1, 'weighting': 'uniform'}),
    ('fed_nova_by_examples', 'fed_nova', {'weighting': 'examples', **_MOMENTUM}),
    ('mime_lite_by_examples', 'mime_lite', {'weighting': 'examples', **_MOMENTUM}),
    ('without_check', f'{__name__}:Own', {'algorithm_options': ['count=1'], 'noise_multiplier': 1.0}),
  )
  def test_allows(self, algorithm: str, changes: dict[str, Any]) -> None:
    registry.check(self._config(algorithm, changes))


if __name__ == '__main__':
  absltest.main()
