"""Tests that tasks are found by the name that a schema or a flag asks for."""

import dataclasses
import sys
import types
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from contracts import released_model
from models import registry
from models import task
from models.tasks import classification
from models.tasks import handwriting
from models.tasks import next_character
from models.tasks import next_item
from models.tasks import next_word
from tests.tff_tasks import fakes

_NOT_RIGHT: Any = 10


class RegistryTest(parameterized.TestCase):
  @parameterized.parameters(
    ('next_character', next_character.TASK),
    ('next_word', next_word.TASK),
    ('next_item', next_item.TASK),
    ('handwriting', handwriting.TASK),
    ('classification', classification.TASK),
  )
  def test_finds_a_task(self, name: str, expected: task.Task) -> None:
    self.assertIs(registry.get_task(name), expected)
    self.assertEqual(expected.name, name)

  @parameterized.parameters('', 'Handwriting', 'activity')
  def test_says_which_there_are(self, name: str) -> None:
    known = 'classification, handwriting, next_character, next_item, next_word'
    with self.assertRaisesRegex(
      ValueError, f'^Expected a task among {known}, found {name!r}: give one of your own by --task='
    ):
      registry.get_task(name)

  def test_a_task_of_ones_own(self) -> None:
    own = task.Task('mine', next_character.build_model, 4)
    module: Any = types.ModuleType('tasks_of_mine')
    module.TASK, module.OTHER, module.TAKEN = own, 3, dataclasses.replace(own, name='next_word')
    module.PATH = dataclasses.replace(own, name='../mine')
    self.enterContext(mock.patch.dict(sys.modules, {'tasks_of_mine': module}))
    self.assertIs(registry.choose(fakes.SCHEMA, 'tasks_of_mine:TASK'), own)
    self.assertIs(registry.choose(fakes.SCHEMA, 'next_word'), next_word.TASK)
    self.assertIs(registry.choose(fakes.SCHEMA, None), next_character.TASK)
    for name, message in (
      ('tasks_of_mine:OTHER', "found 'tasks_of_mine:OTHER' of type int: make it a Task"),
      ('tasks_of_mine:TAKEN', "found 'next_word' in tasks_of_mine:TAKEN"),
      ('tasks_of_mine:PATH', "found '../mine' in tasks_of_mine:PATH"),
      ('tasks_of_mine:TAKS', 'did you mean tasks_of_mine:TASK'),
      ('handwritin', "Expected --task to be one of .*, found 'handwritin': did you mean handwriting"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        registry.find(name)
    # No data set decides whose code runs.
    schema = dataclasses.replace(fakes.SCHEMA, task='tasks_of_mine:TASK')
    with self.assertRaisesRegex(
      ValueError, "Expected a task among .*, found 'tasks_of_mine:TASK': give one of your own"
    ):
      registry.choose(schema, None)

  @parameterized.parameters(
    ([], r'Expected the metrics of tasks_of_mine:TASK in a tuple, found a list: write metrics=\(METRIC,\)\.$'),
    (
      task.RANKING[0],
      r'that are each a Metric of models/task.py, found one of type str: write Metric\("name", of_rank\)',
    ),
    ((abs,), 'found one of type builtin_function_or_method'),
    ((task.Metric('top', _NOT_RIGHT),), 'found one of type Metric: .*, where of_rank is a function'),
    ((task.Metric(_NOT_RIGHT, abs),), 'found one of type Metric'),
    ((task.Metric('accuracy', abs),), "found 'accuracy': another figure may have it; choose another name.$"),
    ((task.Metric('checksum', abs),), "found 'checksum'"),
    ((task.Metric('left_out_clients', abs),), "found 'left_out_clients'"),
    ((task.Metric('top 5', abs),), "of letters, digits and underscores, found 'top 5'"),
    ((*task.RANKING, task.RANKING[0]), "found 'top_10_accuracy'"),
  )
  def test_metrics_take_no_name_of_other_figures(self, metrics: Any, message: str) -> None:
    module: Any = types.ModuleType('tasks_of_mine')
    self.enterContext(mock.patch.dict(sys.modules, {'tasks_of_mine': module}))
    module.TASK = task.Task('mine', next_character.build_model, 4, metrics)
    with self.assertRaisesRegex(ValueError, message):
      registry.find('tasks_of_mine:TASK')
    module.TASK = task.Task('mine', next_character.build_model, 4, task.RANKING)
    self.assertIs(registry.find('tasks_of_mine:TASK'), module.TASK)

  def test_rebuilds_a_released_model(self) -> None:
    tf.keras.utils.set_random_seed(4)
    trained = registry.get_task('next_character').build_model(fakes.SCHEMA, 5, False, None)
    released = released_model.ReleasedModel(fakes.SCHEMA, 5, 1, trained.get_weights())
    features = np.arange(24).reshape(2, 12) % 10
    for unroll, batch_size in ((False, None), (True, None), (False, 2)):
      model = registry.rebuild(released, unroll, batch_size)
      self.assertEqual(model.name, 'next_character')
      for weight, other in zip(model.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other, strict=True)
      np.testing.assert_allclose(model(features), trained(features), rtol=0, atol=1e-6)
    self.assertEqual(registry.rebuild(released, batch_size=2).input.shape[0], 2)


if __name__ == '__main__':
  absltest.main()
