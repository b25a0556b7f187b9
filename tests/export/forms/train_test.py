"""Tests the form of training files."""

import itertools
from unittest import mock

from absl.testing import absltest
from ai_edge_litert import interpreter as litert
import numpy as np
import pytest

from contracts import released_model
from export import parity
from export.forms import train as form
from export.on_device import training_file
from models import registry
from tests.export.on_device import trained


@pytest.mark.slow
class TrainTest(absltest.TestCase):
  def test_answers_are_those_of_keras(self) -> None:
    run_dir, path = trained.folder()
    features = trained.examples().features
    answers = form.Train().answers(path, features)
    expected = registry.rebuild(released_model.load(run_dir))(features).numpy()
    figures = parity.compare(np.zeros(len(features), int), answers.logits, expected)
    self.assertEqual(figures.argmax_agreement, 1.0)
    self.assertLess(figures.max_logit_difference, 1e-5)
    self.assertIn(('input', 'train.x', 'float32', (20, 5)), answers.signature)
    self.assertGreaterEqual(answers.stored['float32'], 5 * 6 + 6 + 6 * 3 + 3)

  def test_a_call_is_a_step_of_training(self) -> None:
    _, path = trained.folder()
    interpreter = litert.Interpreter(path)
    calls = form.Train().calls(interpreter, trained.examples().features)
    with mock.patch.object(training_file.TrainingFile, 'train', autospec=True, return_value=0.5) as train:
      self.assertEqual([float(each) for each in itertools.islice(calls, 4)], [0.5] * 4)
    self.assertEqual([len(call.args[1]) for call in train.call_args_list], [20, 20, 10, 20])


if __name__ == '__main__':
  absltest.main()
