"""Tests of finding aggregations, and of what a run may combine with them."""

import dataclasses
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import tensorflow_federated as tff

from tests.tff_tasks import fakes
from tff_tasks import config as config_lib
from tff_tasks.aggregation import krum
from tff_tasks.aggregation import mean
from tff_tasks.aggregation import registry
from tff_tasks.aggregation import row_aggregation
from tff_tasks.aggregation import trimmed_mean

_PLAIN = {'compression': 'quantization'}
_FEW = {'noise_multiplier': 0.0, 'quantization_bits': 0}
_MEAN: dict[str, Any] = {'aggregation': 'mean', 'aggregation_options': []}
_UNIFORM, _BY_EXAMPLES = {'weighting': 'uniform'}, {'weighting': 'examples'}
_SHARE = {'aggregation_options': ['share=0.2']}


@dataclasses.dataclass(frozen=True)
class Weighted:
  """A factory with weights."""

  def build(self) -> tff.aggregators.WeightedAggregationFactory:
    return tff.aggregators.MeanFactory()


@dataclasses.dataclass(frozen=True)
class Unweighted:
  """A factory without weights, which has something against Adam."""

  def build(self) -> tff.aggregators.UnweightedAggregationFactory:
    return tff.aggregators.UnweightedMeanFactory()

  def check(self, config: config_lib.Config) -> None:
    if config.client_optimizer == 'adam':
      raise ValueError('Expected another client optimizer.')


@dataclasses.dataclass(frozen=True)
class Nothing:
  """One whose `build` returns no factory."""

  def build(self) -> Any:
    return 3


@dataclasses.dataclass(frozen=True)
class Partial:
  """One that has no `build`."""


@dataclasses.dataclass(frozen=True)
class Abstract(row_aggregation.RowAggregation):
  """One that has no `combine`."""


@dataclasses.dataclass(frozen=True)
class OfContext:
  """One that is an algorithm."""

  def build(self, context: Any) -> Any:
    return context


class BuildTest(parameterized.TestCase):
  def test_built_in_ones(self) -> None:
    self.assertEqual(registry.build('mean'), mean.Mean())
    self.assertEqual(registry.build('krum', ['byzantine=2', 'selected=3']), krum.Krum(2, 3))
    self.assertEqual(registry.build('trimmed_mean', ['share=0.25']), trimmed_mean.TrimmedMean(0.25))

  def test_one_of_the_users_own(self) -> None:
    self.assertEqual(registry.build(f'{__name__}:Unweighted'), Unweighted())

  @parameterized.parameters(
    ('medain', [], 'Expected --aggregation to be one of mean, median, .* did you mean median'),
    ('json:dumps', [], "Expected a frozen dataclass, found 'json:dumps'"),
    (f'{__name__}:Partial', [], "Expected an aggregation, found .*Partial': derive it .* or add the method build"),
    (f'{__name__}:Abstract', [], "Expected an aggregation, found .*Abstract': derive it .* add the method combine"),
    (f'{__name__}:OfContext', [], "Expected an aggregation, found .*OfContext': derive it .* add the method build"),
    ('median', ['share=0.1'], "--aggregation_options among none for median, found 'share': leave it out"),
    ('krum', [], 'Expected the options byzantine of krum, found none: add --aggregation_options=byzantine=VALUE'),
    ('krum', ['byzantine=0.1'], "Expected an integer for option byzantine, found '0.1'"),
  )
  def test_refuses(self, name: str, options: list[str], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      registry.build(name, options)


class CheckTest(parameterized.TestCase):
  """Of aggregations with other flags: what a message says to set is accepted."""

  def _config(self, **changes: Any) -> config_lib.Config:
    return dataclasses.replace(fakes.CONFIG, **{**_FEW, **changes})

  @parameterized.named_parameters(
    ('noise', 'median', {'noise_multiplier': 1.0}, 'no noise with', {'noise_multiplier': 0.0}),
    ('noise_of_the_mean', 'median', {'noise_multiplier': 1.0}, 'set --aggregation=mean, or', _MEAN),
    (
      'epsilon',
      'median',
      {'noise_multiplier': None, 'target_epsilon': 2.0},
      '--target_epsilon=0',
      {
        'noise_multiplier': 0.0,
        'target_epsilon': 0.0,
      },
    ),
    ('bits', 'trimmed_mean', {'quantization_bits': 8, **_SHARE}, '--quantization_bits=0 with .*, found 8', _FEW),
    ('compression', 'trimmed_mean', {'compression': 'a:B', **_SHARE}, '--compression=quantization with', _FEW | _PLAIN),
    ('bits_of_the_mean', 'trimmed_mean', {'quantization_bits': 8, **_SHARE}, 'or --aggregation=mean', _MEAN),
    ('weights', 'median', _BY_EXAMPLES, '--weighting=uniform with .*, found examples: .* set it so', _UNIFORM),
    ('weights_of_the_mean', 'median', _BY_EXAMPLES, 'set it so, or --aggregation=mean', _MEAN),
    ('own_noise', f'{__name__}:Weighted', {'noise_multiplier': 1.0}, 'no noise with', {'noise_multiplier': 0.0}),
    ('own_weights', f'{__name__}:Unweighted', _BY_EXAMPLES, '--weighting=uniform with .*Unweighted', _UNIFORM),
    (
      'own_check',
      f'{__name__}:Unweighted',
      {'client_optimizer': 'adam'},
      'another client',
      {'client_optimizer': 'sgd'},
    ),
    (
      'few_clients',
      'krum',
      {'aggregation_options': ['byzantine=1']},
      'of at least 5 .* more',
      {'clients_per_round': 5},
    ),
    (
      'no_factory',
      f'{__name__}:Nothing',
      {},
      'build of .*Nothing to return a factory .* found int: return one',
      {'aggregation': f'{__name__}:Weighted'},
    ),
  )
  def test_refuses(self, name: str, wrong: dict[str, Any], message: str, remedy: dict[str, Any]) -> None:
    config = self._config(aggregation=name, **wrong)
    with self.assertRaisesRegex(ValueError, f'^Expected .*{message}'):
      registry.check(config)
    registry.check(dataclasses.replace(config, **remedy))

  @parameterized.named_parameters(
    ('mean', 'mean', {'noise_multiplier': 1.0, 'quantization_bits': 8}),
    ('mean_by_examples', 'mean', _BY_EXAMPLES),
    ('own_by_examples', f'{__name__}:Weighted', _BY_EXAMPLES),
    ('own', f'{__name__}:Unweighted', {}),
  )
  def test_allows(self, name: str, changes: dict[str, Any]) -> None:
    registry.check(self._config(aggregation=name, **changes))


if __name__ == '__main__':
  absltest.main()
