"""What an accuracy says: beside the baselines on the same held-out users, and beside what the model can answer.

Made of the figures of `run.json`, which are missing, null or NaN where nothing was measured.
"""

from collections.abc import Mapping
import math
from typing import Any

from contracts import personalization

# Less than this above the baseline is no success.
_MARGIN = 0.01


def describe(run: Mapping[str, Any]) -> list[str]:
  """Returns the sentences that belong beside the accuracy of a run; none where nothing was measured."""
  sentences = [name_baselines(run), judge(run), describe_ranking(run), explain_coverage(run)]
  return [sentence for sentence in sentences if sentence]


def name_baselines(run: Mapping[str, Any]) -> str | None:
  """Returns a sentence with the accuracy of each baseline."""
  majority, bigram = _read(run, 'majority_accuracy'), _read(run, 'bigram_accuracy')
  if majority is None:
    return None
  always = f'Always answering {run["majority_class"]!r} is right {majority:.1%} of the time'
  if bigram is None:
    return f'{always}.'
  counted, population = run['bigram_clients'], run['population']
  sample = f' (counted on {counted:,} of {population:,} training clients)' if counted != population else ''
  return f'{always}, a bigram{sample} {bigram:.1%}.'


def judge(run: Mapping[str, Any]) -> str | None:
  """Returns a sentence for a model that is no better than the best baseline, or hardly, and None for a better one."""
  accuracy, baseline = _accuracy_in_use(run), _read(run, 'baseline_accuracy')
  if accuracy is None or baseline is None or accuracy >= baseline + _MARGIN:
    return None
  verdict = 'does not beat' if accuracy <= baseline else 'hardly beats'
  when = ' after reconstruction' if personalization.has_local_layers(run) else ''
  return f'The model{when} {verdict} the baseline ({run["baseline"]}): {accuracy:.1%} against {baseline:.1%}.'


def describe_ranking(run: Mapping[str, Any]) -> str | None:
  """Returns a sentence on the rank of the true answers, and None where the task does not measure it."""
  top, reciprocal = _read(run, 'top_10_accuracy'), _read(run, 'mean_reciprocal_rank')
  if top is None or reciprocal is None or personalization.has_local_layers(run):  # Measured before reconstruction.
    return None
  return (
    f'The true answer is among the first 10 of the model {top:.1%} of the time; the mean reciprocal rank is '
    f'{reciprocal:.3f}.'
  )


def explain_coverage(run: Mapping[str, Any]) -> str | None:
  """Returns a sentence on the answers that are outside of the model's classes, None where no answer can be."""
  accuracy, coverage = _accuracy_in_use(run), _read(run, 'coverage')
  if coverage == 1 and _read(run, 'bigram_accuracy') is not None:
    return 'Coverage: the model can give all of the true answers.'
  if coverage is None or coverage == 1:
    return None
  share = f'{coverage:.1%}' if coverage < 0.9995 else 'more than 99.9%'
  sentence = f'Coverage: the model can give {share} of the true answers, and accuracy is measured on these'
  return f'{sentence}.' if accuracy is None else f'{sentence}; {accuracy * coverage:.1%} of all answers are right.'


def _accuracy_in_use(run: Mapping[str, Any]) -> float | None:
  """Returns the accuracy of the model as it is used: with local layers, the mean over users after reconstruction."""
  return (
    _read(run[personalization.FIGURES], 'accuracy_after')
    if personalization.has_local_layers(run)
    else _read(run, 'accuracy')
  )


def _read(run: Mapping[str, Any], name: str) -> float | None:
  value = run.get(name)
  return None if value is None or math.isnan(value) else value
