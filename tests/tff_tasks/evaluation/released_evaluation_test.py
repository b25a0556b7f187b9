import dataclasses
import functools
import os
import pathlib

from absl.testing import absltest

from contracts import personalization
from contracts import released_model
from contracts import run_directory
from models import functional_model
from models import registry
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tff_tasks.evaluation import evaluation
from tff_tasks.evaluation import released_evaluation
from tff_tasks.runtime import workers


class MeasureTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.enterContext(runs.small_model())
    self._folder = self.create_tempdir().full_path
    self._shards = fakes.write_shards(os.path.join(self._folder, 'shards'))
    task = registry.get_task(fakes.SCHEMA.task)
    self._functions = functional_model.FunctionalModel(functools.partial(task.build_model, fakes.SCHEMA, 5), 7)
    model = released_model.ReleasedModel(fakes.SCHEMA, 5, 3, self._functions.initial_weights)
    released_model.save(model, {}, self._folder)

  def test_measures_the_released_model_on_other_shards(self) -> None:
    others = fakes.write_shards(os.path.join(self._folder, 'others'), seed=5)
    found = released_evaluation.measure(self._folder, others, 'test')
    self.assertContainsSubset(found.keys(), run_directory.FIGURE_NAMES)
    threads = workers.Workers(1)
    self.addCleanup(threads.close)
    expected = evaluation.Evaluator(self._functions, others, 'test', threads).evaluate(self._functions.initial_weights)
    self.assertAlmostEqual(found['accuracy'], expected.accuracy, places=6)
    self.assertAlmostEqual(found['loss'], expected.loss, places=5)
    self.assertEqual((found['round'], found['split'], found['clients']), (3, 'test', others.num_clients('test')))
    self.assertBetween(found['baseline_accuracy'], 0.0, 1.0)

  def test_fine_tunes_as_the_clients_of_the_run_trained(self) -> None:
    flags = pathlib.Path(self._folder, 'config.flags')
    flags.write_text('--client_learning_rate=0.5\n--client_batch_size=2\n')
    self.assertNotIn('personalization', released_evaluation.measure(self._folder, self._shards, 'test'))
    for asked, rate in ((None, 0.5), (0.25, 0.25)):
      personalize = released_evaluation.Personalize(3, asked)
      found = released_evaluation.measure(self._folder, self._shards, 'test', personalize)['personalization']
      self.assertEqual((found['epochs'], found['learning_rate'], found['batch_size']), (3, rate, 2))
      self.assertEqual(found['users'], 4)
      self.assertLess(found['loss_after'], found['loss_before'])
    for text, name in (('', 'learning_rate'), ('--client_learning_rate=0.5\n--client_batch_size=x\n', 'batch_size')):
      flags.write_text(text)
      with self.assertRaisesRegex(
        ValueError, f'Expected --client_{name} in .*config.flags, found .*: repeat the train'
      ):
        released_evaluation.measure(self._folder, self._shards, 'test', released_evaluation.Personalize(3, None))

  def test_local_layers_are_reconstructed_as_the_ledger_says(self) -> None:
    tuning = personalization.FineTuning(3, 0.5, 2, ('logits',))
    model = released_model.ReleasedModel(fakes.SCHEMA, 5, 3, self._functions.initial_weights)
    released_model.save(model, personalization.to_ledger(tuning), self._folder)
    for split in ('test', 'tail'):
      found = released_evaluation.measure(self._folder, self._shards, split)
      self.assertEqual((found['personalization']['local_layers'], found['split']), (['logits'], split))
      self.assertEqual(found['personalization']['epochs'], 3)
      self.assertNotEqual(found['personalization']['loss_after'], found['personalization']['loss_before'])
    with self.assertRaisesRegex(ValueError, 'Expected no --personalize_epochs for a model with local layers'):
      released_evaluation.measure(self._folder, self._shards, 'test', released_evaluation.Personalize(3, 0.5))

  def test_needs_clients_and_the_same_schema(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected clients in the split validation .* among train, tail, test'):
      released_evaluation.measure(self._folder, self._shards, 'validation')
    self.assertEqual(released_evaluation.measure(self._folder, self._shards, 'tail')['split'], 'tail')
    schema = dataclasses.replace(fakes.SCHEMA, classes=('a', 'b'))
    other = released_model.ReleasedModel(schema, 5, 3, self._functions.initial_weights)
    released_model.save(other, {}, self._folder)
    with self.assertRaisesRegex(ValueError, 'Expected shards of the schema .* found another'):
      released_evaluation.measure(self._folder, self._shards, 'test')

  def test_a_model_without_its_ledger_is_refused(self) -> None:
    os.remove(os.path.join(self._folder, 'public/privacy.json'))
    with self.assertRaisesRegex(ValueError, 'Expected the privacy ledger of a model'):
      released_evaluation.measure(self._folder, self._shards, 'test')


if __name__ == '__main__':
  absltest.main()
