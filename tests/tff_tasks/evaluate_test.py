"""Tests of the program: figures for people and for programs. In a process of its own, as others define its flags."""

import json
import os
import subprocess
import sys

from absl.testing import absltest

from tests import layout
from tests.tff_tasks import fakes

# Runs the program on figures that are given.
_WITHOUT_TENSORFLOW = """
import sys
from unittest import mock

figures = {
    'task': 'next_character', 'data_set': 'plays', 'round': 3, 'split': 'test', 'clients': 4, 'examples': 1234,
    'population': 9, 'accuracy': 0.25, 'accuracy_per_user': 0.2, 'loss': float('nan'), 'baseline': 'majority',
    'baseline_accuracy': 0.3, 'majority_class': 'e', 'majority_accuracy': 0.3, 'bigram_accuracy': None,
    'bigram_clients': None, 'coverage': 1.0,
}
sys.modules['tensorflow'] = mock.Mock()
sys.modules['tff_tasks.runtime.contexts'] = mock.Mock()
sys.modules['tff_tasks.released_evaluation'] = mock.Mock(measure=lambda run_dir, shards, split: figures)
from pipelines import cli
from tff_tasks import evaluate
cli.run(evaluate.main)
"""


class EvaluateTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._shards = os.path.join(self.create_tempdir().full_path, 'shards')
    fakes.write_shards(self._shards)

  def _run(self, *flags: str) -> str:
    command = [sys.executable, '-c', _WITHOUT_TENSORFLOW, '--run_dir=run', f'--shards_dir={self._shards}', *flags]
    done = subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, timeout=120, check=False)
    self.assertEqual((done.returncode, done.stderr), (0, ''))
    return done.stdout

  def test_for_people(self) -> None:
    said = self._run()
    self.assertStartsWith(said, 'Round 3 of next_character on 4 test users of plays (1,234 examples):\naccuracy 25.0%')
    self.assertIn("Always answering 'e' is right 30.0% of the time.", said)

  def test_for_programs(self) -> None:
    found = json.loads(self._run('--json'))
    self.assertEqual((found['accuracy'], found['loss'], found['coverage']), (0.25, None, 1.0))


if __name__ == '__main__':
  absltest.main()
