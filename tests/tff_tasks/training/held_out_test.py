"""Tests of what a run measures on held-out users, and of whole runs of a model with local layers."""

import dataclasses
import functools
import io
import os
import pathlib
from typing import Any

from absl.testing import absltest
import numpy as np

from contracts import personalization
from contracts import released_model
from contracts import run_directory
from models import functional_model
from models import registry
from pipelines.shards import shard_writing
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tff_tasks.evaluation import evaluation
from tff_tasks.evaluation import personalizer
from tff_tasks.privacy import segments
from tff_tasks.runtime import workers
from tff_tasks.training import checkpoints
from tff_tasks.training import held_out
from tff_tasks.training import metrics
from tff_tasks.training import run as run_lib

_TUNING = personalization.FineTuning(2, 0.5, 4, ('logits',))
_OPTIONS = ('local_layers=logits', 'reconstruction_epochs=2')


class HeldOutTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.enterContext(runs.small_model())
    self._shards = fakes.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    build_model = functools.partial(registry.get_task('next_character').build_model, fakes.SCHEMA, 5)
    self._model = functional_model.FunctionalModel(build_model, 1)
    self._workers = workers.Workers(1)
    self.addCleanup(self._workers.close)

  def test_a_row_has_what_the_parts_measure(self) -> None:
    weights = self._model.initial_weights
    row, plain = metrics.RoundMetrics(3), metrics.RoundMetrics(3)
    held_out.HeldOut(self._model, self._shards, self._workers, (), _TUNING).measure('test', weights, row)
    held_out.HeldOut(self._model, self._shards, self._workers).measure('test', weights, plain)
    expected = evaluation.Evaluator(self._model, self._shards, 'test', self._workers).evaluate(weights)
    self.assertEqual(plain, metrics.RoundMetrics(3, None, None, None, *expected[:3]))
    _, found = personalizer.Personalizer(self._model, self._shards, 'test', _TUNING, self._workers).measure(weights)
    self.assertEqual(
      row,
      dataclasses.replace(
        plain,
        eval_before_reconstruction=found['accuracy_before'],
        eval_after_reconstruction=found['accuracy_after'],
        eval_worst_decile_before_reconstruction=found['worst_decile_before'],
        eval_worst_decile_after_reconstruction=found['worst_decile_after'],
      ),
    )


class LocalLayersTest(absltest.TestCase):
  """Whole runs whose last layer is local."""

  def setUp(self) -> None:
    super().setUp()
    self.enterContext(runs.shared())
    folder = self.create_tempdir().full_path
    self._shards = fakes.write_shards(os.path.join(folder, 'shards'))
    self._run_dir = os.path.join(folder, 'run')

  def _train(self, **changes: Any) -> str:
    config = dataclasses.replace(
      fakes.CONFIG, output_dir=self._run_dir, **{'algorithm': 'fed_recon', 'algorithm_options': _OPTIONS, **changes}
    )
    stream = io.StringIO()
    run_lib.train(config, self._shards, ''.join(f'--{name}={value}\n' for name, value in changes.items()), stream)
    return stream.getvalue()

  def test_from_the_rounds_to_the_report(self) -> None:
    self.enterContext(runs.small_model())
    said = self._train()
    model, ledger = released_model.load_with_ledger(self._run_dir)
    num_weights = sum(weight.size for weight in model.weights)
    sent = num_weights - sum(weight.size for weight in model.weights[-2:])
    table = run_directory.read_metrics(self._run_dir)
    plan = fakes.PLAN  # Of fed_avg with the same flags.
    self.assertEqual((ledger['epsilon'], ledger['delta']), (segments.epsilon_of_plan(plan, 4), plan.delta))
    # What travels, what is noised and what the ledger says are of the numbers that are sent.
    self.assertEqual(
      (table['bytes_up_per_client'][1], table['bytes_down_per_client'][1]), (plan.update_bytes(sent), 4 * num_weights)
    )
    self.assertNotEqual(plan.update_bytes(sent), plan.update_bytes(num_weights))
    self.assertEqual((ledger['sensitivity'], ledger['noise_stddev']), (plan.norm_bound(sent), plan.noise_stddev(sent)))
    self.assertEqual(personalization.of_ledger(ledger), _TUNING)
    # The local layers are released as they were before the first round; the others have moved.
    build_model = functools.partial(registry.get_task('next_character').build_model, fakes.SCHEMA, 5)
    saved = checkpoints.load_last(os.path.join(self._run_dir, run_directory.CHECKPOINTS))
    assert saved is not None
    seed = int(saved.seed.stream('model').integers(2**31))
    begun = functional_model.FunctionalModel(build_model, seed).initial_weights
    for index, (before, after) in enumerate(zip(begun, model.weights, strict=True)):
      self.assertEqual(np.array_equal(before, after), index >= len(begun) - 2)
    figures = run_directory.read_figures(self._run_dir)
    found = figures[personalization.FIGURES]
    self.assertEqual((found['local_layers'], found['users']), (['logits'], 4))
    self.assertEqual(table['eval_after_reconstruction'][-1], found['accuracy_after'])
    self.assertLen(personalization.read(self._run_dir, figures), 4)
    for text in (said, pathlib.Path(self._run_dir, run_directory.REPORT).read_text()):
      self.assertIn('Reconstruction of the local layers logits (2 epochs, learning rate 0.5)', text)
    self.assertStartsWith(self._train(), 'Nothing to do')

  def test_users_gain_what_is_their_own(self) -> None:
    """Each user has one text again and again: only a layer of the user's own can know which."""
    stream, clients = np.random.default_rng(0), []
    (length,), classes = fakes.SCHEMA.feature.shape, fakes.SCHEMA.num_classes
    for number in range(16):
      text = np.tile(stream.integers(1, classes, length + 1), (12, 1))
      split = 'train' if number < 12 else 'test'
      features, labels = text[:, :-1].astype(np.uint8), text[:, 1:].astype(np.int8)
      clients.append(shard_writing.ClientExamples(f'user-{number:011d}'.encode(), split, features, labels))
    self._shards = fakes.write_clients(os.path.join(self.create_tempdir().full_path, 'own'), clients)
    self._train(
      seed=1,
      noise_multiplier=0.0,
      delta=None,
      clip_norm=None,
      quantization_bits=0,
      server_optimizer='sgd',
      server_learning_rate=1.0,
      model_size=16,
      algorithm_options=('local_layers=logits', 'reconstruction_epochs=30'),
    )
    found = run_directory.read_figures(self._run_dir)[personalization.FIGURES]
    self.assertGreater(found['accuracy_after'], found['accuracy_before'] + 0.3)
    self.assertEqual((found['better'], found['worse']), (4, 0))

  def test_a_wrong_layer_is_refused_before_anything_is_written(self) -> None:
    with self.assertRaisesRegex(ValueError, r"\(embedding, gru, logits\), found 'logit': did you mean logits[?]$"):
      self._train(algorithm_options=('local_layers=logit',))
    self.assertFalse(os.path.exists(self._run_dir))


if __name__ == '__main__':
  absltest.main()
