"""Tests of the sentences beside an accuracy."""

import math
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized

from contracts import comparison

_RUN: dict[str, Any] = {
  'accuracy': 0.3812,
  'baseline': 'bigram',
  'baseline_accuracy': 0.2763,
  'majority_class': ' ',
  'majority_accuracy': 0.1635,
  'bigram_accuracy': 0.2763,
  'bigram_clients': 928,
  'population': 928,
  'coverage': 1.0,
}


class ComparisonTest(parameterized.TestCase):
  def test_a_better_model_stands_beside_its_baselines(self) -> None:
    self.assertEqual(
      comparison.describe(_RUN),
      [
        "Always answering ' ' is right 16.4% of the time, a bigram 27.6%.",
        'Coverage: the model can give all of the true answers.',
      ],
    )

  def test_ranks_of_tasks_that_measure_them(self) -> None:
    run = {**_RUN, 'top_10_accuracy': 0.341, 'mean_reciprocal_rank': 0.2131}
    self.assertIn(
      'The true answer is among the first 10 of the model 34.1% of the time; the mean reciprocal rank is 0.213.',
      comparison.describe(run),
    )
    self.assertIsNone(comparison.describe_ranking({**run, 'top_10_accuracy': math.nan}))
    self.assertIsNone(comparison.describe_ranking(_RUN))

  def test_a_sample_is_named(self) -> None:
    said = comparison.name_baselines({**_RUN, 'population': 120_000, 'bigram_clients': 10_000})
    self.assertEqual(
      said,
      "Always answering ' ' is right 16.4% of the time, a bigram (counted on 10,000 of 120,000 training clients) "
      '27.6%.',
    )

  def test_without_a_sequence(self) -> None:
    run = {**_RUN, 'majority_class': '\x1b[2Jwalk', 'bigram_accuracy': None, 'bigram_clients': None}
    self.assertEqual(comparison.name_baselines(run), "Always answering '\\x1b[2Jwalk' is right 16.4% of the time.")

  @parameterized.parameters(
    (0.2763, 'does not beat the baseline (bigram): 27.6% against 27.6%.'),
    (0.1, 'does not beat the baseline (bigram): 10.0% against 27.6%.'),
    (0.28, 'hardly beats the baseline (bigram): 28.0% against 27.6%.'),
  )
  def test_a_model_that_is_no_better(self, accuracy: float, expected: str) -> None:
    self.assertEqual(comparison.judge({**_RUN, 'accuracy': accuracy}), f'The model {expected}')

  def test_a_model_that_is_better(self) -> None:
    self.assertIsNone(comparison.judge({**_RUN, 'accuracy': 0.2864}))

  def test_coverage(self) -> None:
    half = {**_RUN, 'accuracy': 0.285, 'coverage': 0.502}
    self.assertEqual(
      comparison.explain_coverage(half),
      'Coverage: the model can give 50.2% of the true answers, and accuracy is measured on these; 14.3% of all '
      'answers are right.',
    )
    self.assertEqual(
      comparison.explain_coverage({'coverage': 0.99999}),
      'Coverage: the model can give more than 99.9% of the true answers, and accuracy is measured on these.',
    )
    self.assertIsNone(comparison.explain_coverage({**_RUN, 'bigram_accuracy': None}))

  def test_a_model_with_local_layers_is_judged_after_their_reconstruction(self) -> None:
    found = {'local_layers': ['logits'], 'accuracy_before': 0.1, 'accuracy_after': 0.3}
    run = {**_RUN, 'accuracy': 0.1, 'coverage': 0.5, 'personalization': found}
    ranks = {'top_10_accuracy': 0.341, 'mean_reciprocal_rank': 0.2131}
    self.assertIsNone(comparison.judge(run))
    self.assertIn('; 15.0% of all answers are right.', comparison.describe({**run, **ranks})[-1])
    self.assertIsNone(comparison.describe_ranking({**run, **ranks}))
    worse = {**run, 'personalization': {**found, 'accuracy_after': 0.2}}
    self.assertEqual(
      comparison.judge(worse),
      'The model after reconstruction does not beat the baseline (bigram): 20.0% against 27.6%.',
    )
    self.assertIsNone(comparison.judge({**run, 'personalization': {**found, 'accuracy_after': None}}))

  @parameterized.parameters(None, math.nan)
  def test_nothing_is_said_of_what_was_not_measured(self, value: float | None) -> None:
    names = [name for name, known in _RUN.items() if isinstance(known, float)]
    self.assertEmpty(comparison.describe({**_RUN, **dict.fromkeys(names, value)}))
    self.assertEmpty(comparison.describe({}))


if __name__ == '__main__':
  absltest.main()
