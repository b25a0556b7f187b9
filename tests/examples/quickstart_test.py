"""Tests of the figures that the quickstart gathers. The way itself is walked by .ci/run, with few rounds."""

import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from absl.testing import absltest

from contracts import run_directory
from tests import layout
from tests.export import fakes

# In a process of its own: it defines flags that other programs define too.
_CALL = """
import json, sys
from examples import quickstart
print(json.dumps(getattr(quickstart, sys.argv[1])(*json.loads(sys.argv[2]))))
"""
_RUN = {
  'task': 'next_character',
  'rounds': 4,
  'total_rounds': 4,
  'clients_per_round': 250,
  'population': 932,
  'accuracy': 0.3812,
  'accuracy_per_user': 0.3741,
  'loss': 2.2,
  'epsilon': 6.987,
  'delta': 1e-4,
  'seconds': 100.5,
  'baseline': 'bigram',
  'baseline_accuracy': 0.2763,
  'majority_class': ' ',
  'majority_accuracy': 0.1634,
  'bigram_accuracy': 0.2763,
  'bigram_clients': 932,
  'coverage': 1.0,
}
_PRIVACY = {'covers': 'the models of all 4 rounds', 'scaling': 'With 9,320 users, epsilon 2.', 'epsilon': 6.987}
_VARIANTS = {
  name: {
    'path': f'next_character.{name}.tflite',
    'bytes': size,
    'argmax_agreement': agreement,
    'max_logit_difference': difference,
    'accuracy': 0.38,
    'reference_accuracy': 0.3812,
    'seconds': 0.1,
  }
  for name, size, agreement, difference in (
    ('float32', 98_765, 1.0, 0.00000123),
    ('dynamic_range', 43_210, 0.99876, 0.0345),
    ('step_dynamic_range', 23_456, 0.99881, 0.0346),
  )
}


def _call(function: str, *arguments: Any) -> Any:
  command = [sys.executable, '-c', _CALL, function, json.dumps(arguments)]
  return json.loads(subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, check=True).stdout)


class QuickstartTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._folder = self.enterContext(tempfile.TemporaryDirectory())
    self._run_dir, self._model_dir = (os.path.join(self._folder, name) for name in ('run', 'model'))
    run_directory.make(self._run_dir)
    os.makedirs(self._model_dir)
    pathlib.Path(self._run_dir, 'operator/run.json').write_text(json.dumps(_RUN))
    fakes.write_parity(self._model_dir, {'variants': _VARIANTS})

  def _summarize(self, train_seconds: float = 120.0) -> dict[str, Any]:
    seconds = {'preprocess': 3.0, 'train': train_seconds, 'export': 30.0}
    return _call('summarize', self._run_dir, self._model_dir, seconds)

  def test_summary_holds_the_figures(self) -> None:
    summary = self._summarize()
    self.assertEqual(
      {name: value for name, value in summary.items() if name not in ('seconds', 'tflite')},
      {
        'accuracy': 0.3812,
        'accuracy_per_user': 0.3741,
        'baseline': 'bigram',
        'baseline_accuracy': 0.2763,
        'coverage': 1.0,
        'epsilon': 6.987,
        'delta': 1e-4,
        'rounds': 4,
        'clients_per_round': 250,
      },
    )
    self.assertEqual(summary['seconds'], {'preprocess': 3.0, 'train': 120.0, 'export': 30.0})

  def test_summary_says_where_each_file_is(self) -> None:
    tflite = self._summarize()['tflite']
    self.assertCountEqual(tflite, ['float32', 'dynamic_range', 'step_dynamic_range'])
    expected = copy.deepcopy(_VARIANTS['dynamic_range'])
    del expected['reference_accuracy'], expected['seconds']
    expected['path'] = os.path.join(self._model_dir, 'next_character.dynamic_range.tflite')
    self.assertEqual(tflite['dynamic_range'], expected)

  def test_a_finished_run_says_how_long_it_once_took(self) -> None:
    self.assertEqual(self._summarize(train_seconds=8.0)['seconds']['train'], 100.5)

  def test_describes_the_same_for_people(self) -> None:
    text = _call('describe', self._summarize(), _RUN, _PRIVACY, self._run_dir, 'summary.json')
    model, by_key = (
      os.path.join(self._model_dir, f'next_character.{name}.tflite') for name in ('dynamic_range', 'step_dynamic_range')
    )
    self.assertEqual(
      text.splitlines(),
      [
        f'Model      {model}  (43 kB; float32 beside it)',
        f'By key     {by_key}  (23 kB; one character a call)',
        'Accuracy   38.1% of the next characters of held-out users, 37.4% as a mean over them',
        "Baseline   Always answering ' ' is right 16.3% of the time, a bigram 27.6%.",
        'Coverage   100.0% of the next characters are ones that the model can give',
        'Privacy    epsilon 6.99 at delta 0.0001, for the models of all 4 rounds',
        '           With 9,320 users, epsilon 2.',
        'Agreement  float32: the same character as Keras at 100.00% of positions, logits within 1.2e-06',
        'Agreement  dynamic_range: the same character as Keras at 99.88% of positions, logits within 0.035',
        'Agreement  step_dynamic_range: the same character as Keras at 99.88% of positions, logits within 0.035',
        f'Report     {os.path.join(self._run_dir, "operator/report.html")}',
        'Summary    summary.json',
      ],
    )

  def test_says_if_the_model_is_no_better_than_the_baseline(self) -> None:
    text = _call('describe', self._summarize(), {**_RUN, 'accuracy': 0.1}, _PRIVACY, self._run_dir, 'summary.json')
    self.assertIn('\n           The model does not beat the baseline (bigram): 10.0% against 27.6%.\n', text)


if __name__ == '__main__':
  absltest.main()
