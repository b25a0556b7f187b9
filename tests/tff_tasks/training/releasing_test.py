"""Tests that a model is released with the ledger of everything that led to it."""

import contextlib
import csv
import dataclasses
import itertools
import json
import os
import pathlib
import shutil
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import personalization
from contracts import released_model
from contracts import schema as schema_lib
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tff_tasks import config as config_lib
from tff_tasks.privacy import segments as segments_lib
from tff_tasks.training import history as history_lib
from tff_tasks.training import releasing

_WEIGHTS = [np.arange(12, dtype=np.float32)]


class ReleasesTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._run_dir = self.create_tempdir().full_path
    self._releases = releasing.Releases(self._config(self._run_dir), fakes.SCHEMA, 5, [], 7, 'next_character')

  def _config(self, run_dir: str) -> config_lib.Config:
    return dataclasses.replace(
      fakes.CONFIG, output_dir=run_dir, algorithm='fed_prox', algorithm_options=['mu=0.1', 'nu=2']
    )

  def _release(self, history: history_lib.History) -> dict:
    self.assertFalse(self._releases.are_of(history))
    self._releases.write(history, _WEIGHTS)
    self.assertTrue(self._releases.are_of(history))
    model, ledger = released_model.load_with_ledger(self._run_dir)
    self.assertEqual((model.run, model.round_number), (history.run, history.current.last_round))
    return ledger

  def test_the_ledger_is_that_of_the_round(self) -> None:
    ledger = self._release(fakes.history().after(3))
    self.assertEqual((ledger['epsilon'], ledger['rounds']), (segments_lib.epsilon_of_plan(fakes.PLAN, 3), 3))
    self.assertEqual(ledger['algorithm'], 'fed_prox (mu=0.1, nu=2)')
    config = dataclasses.replace(self._releases.config, aggregation='krum', aggregation_options=['byzantine=1'])
    self._releases = dataclasses.replace(self._releases, config=config)
    again = self._release(fakes.history().after(4))
    self.assertEqual(again['algorithm'], 'fed_prox (mu=0.1, nu=2), krum (byzantine=1)')
    self.assertNotIn('branched', ' '.join(ledger['not_covered']))
    # Of the numbers that travel, which may be fewer than the weights.
    self.assertEqual(
      (ledger['sensitivity'], ledger['noise_stddev']), (fakes.PLAN.norm_bound(7), fakes.PLAN.noise_stddev(7))
    )
    self.assertNotEqual(ledger['sensitivity'], fakes.PLAN.norm_bound(12))

  def test_the_ledger_names_the_local_layers(self) -> None:
    self.assertNotIn('local_layers', self._release(fakes.history().after(2)))
    tuning = personalization.FineTuning(2, 0.5, 4, ('logits',))
    self._releases = dataclasses.replace(self._releases, on_device=tuning)
    ledger = self._release(fakes.history().after(3))
    self.assertStartsWith(ledger['local_layers'], 'logits: never sent by a client')
    self.assertEqual(personalization.of_ledger(ledger), tuning)
    self.assertIn('before and after reconstruction of the local layers', ledger['releases'][-1]['what'])

  def test_a_bigram_stands_in_the_ledger_of_a_sequence_alone(self) -> None:
    label = schema_lib.Feature('label', 'int8', ())
    table = schema_lib.Schema('classification', schema_lib.Feature('features', 'float32', (4,)), label, ('a', 'b'))
    text = schema_lib.Feature('characters', 'int32', (4,))
    characters = schema_lib.Schema('next_character', text, dataclasses.replace(text, name='next'), ('a', 'b'))
    for schema, has_bigram in ((table, False), (characters, True)):
      self._run_dir = self.create_tempdir().full_path
      self._releases = dataclasses.replace(self._releases, schema=schema, config=self._config(self._run_dir))
      ledger = self._release(fakes.history().after(3))
      said = [*ledger['not_covered'], *(release['what'] for release in ledger['releases'])]
      self.assertLen([line for line in said if 'bigram' in line], 2 * has_bigram)

  def test_a_branch_adds_up_and_says_what_it_does_not_know(self) -> None:
    other = dataclasses.replace(fakes.PLAN, noise_multiplier=2.0)
    parent = fakes.history().after(3)
    branch = parent.followed_by(fakes.history(plan=other), 3).after(4)
    ledger = self._release(branch)
    segments = [segments_lib.Segment(fakes.PLAN, 3), segments_lib.Segment(other, 1)]
    self.assertEqual((ledger['epsilon'], ledger['rounds']), (segments_lib.epsilon_of(segments), 4))
    self.assertIn(
      f'the rounds that the run {parent.run[0]} goes through after this one branched from it: the epsilon of its own '
      'ledger, of all its rounds, adds up',
      ledger['not_covered'],
    )

  def test_a_branch_of_a_run_without_a_promise_has_none(self) -> None:
    for change in ({'noise_multiplier': 0.0, 'delta': None}, {'is_seeded': True}):
      parent = fakes.history(plan=dataclasses.replace(fakes.PLAN, **change)).after(3)  # type: ignore[arg-type]
      ledger = self._release(parent.followed_by(fakes.history(), 3).after(4))
      self.assertIsNone(ledger['epsilon'])
      self.assertRegex(ledger['covers'], '^nothing: .*(goes on from added no noise|who knows the seed)')

  def test_another_attempt_is_another_model(self) -> None:
    history = fakes.history().after(3)
    self._release(history)
    self.assertFalse(self._releases.are_of(history.with_current(attempt=1)))
    self.assertFalse(self._releases.are_of(history.after(4)))
    self.assertFalse(self._releases.are_of(fakes.history().after(3)))


class RepairTest(runs.RunsTestCase):
  """What is damaged, or was not finished, is written again by the same command."""

  @parameterized.parameters(
    'operator/metrics.csv',
    'public/privacy.json',
    'operator/run.json',
    'public/model.npz',
    'operator/report.html',
    'config.flags',
  )
  def test_a_damaged_or_missing_file_is_written_again_by_the_same_command(self, name: str) -> None:
    self.train('run')
    path = pathlib.Path(self.path('run', name))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (whole[: len(whole) // 2], bytes(flipped), b'', None):
      if content is None:
        path.unlink()
      else:
        path.write_bytes(content)
      self.train('run')
      released_model.load(self.path('run'))
      self.stream.truncate(0)
      self.train('run')
      self.assertIn('Nothing to do', self.stream.getvalue())

  def test_noise_that_promises_nothing_is_said_before_and_epsilon_is_null_everywhere(self) -> None:
    self.train('run', noise_multiplier=0.001)
    said = self.stream.getvalue()
    self.assertLess(said.index('epsilon is above 100'), said.index('round '))
    self.assertIsNone(self.ledger('run')['epsilon'])
    figures = json.loads(pathlib.Path(self.path('run', 'operator/run.json')).read_text())
    self.assertEqual((figures['epsilon'], figures['training_epsilon'], figures['rounds']), (None, None, 6))
    with open(self.path('run', 'operator/metrics.csv'), newline='', encoding='utf-8') as file:
      self.assertEqual([row['epsilon'] for row in csv.DictReader(file)], [''] * 7)

  def test_rows_that_are_missing_or_doubled_come_back(self) -> None:
    self.train('run', total_rounds=4)
    path = pathlib.Path(self.path('run', 'operator/metrics.csv'))
    lines = path.read_text().splitlines(keepends=True)
    for content in (lines[:-1], [*lines, lines[-1]], [*lines[:2], *lines[3:]]):
      path.write_text(''.join(content))
      self.train('run', total_rounds=4)
      self.assertEqual(path.read_text(), ''.join(lines))

  def test_a_kill_between_model_and_ledger_is_repaired(self) -> None:
    self.train('run', total_rounds=4)
    with mock.patch.object(released_model, 'save', side_effect=KeyboardInterrupt), self.assertRaises(KeyboardInterrupt):
      self.train('run')
    model = pathlib.Path(self.path('run', 'public/model.npz')).read_bytes()
    self.train('run')
    ledger = pathlib.Path(self.path('run', 'public/privacy.json')).read_bytes()
    self.assertEqual(self.ledger('run')['rounds'], 6)
    pathlib.Path(self.path('run', 'public/model.npz')).write_bytes(model)
    with self.assertRaisesRegex(ValueError, 'released together, found the model of round 4 and a ledger of round 6'):
      released_model.load(self.path('run'))
    self.train('run')
    self.assertEqual(released_model.load(self.path('run')).round_number, 6)
    self.assertEqual(pathlib.Path(self.path('run', 'public/privacy.json')).read_bytes(), ledger)


class _Killed(Exception):
  pass


class KillTest(runs.RunsTestCase):
  """A run that ends before any of its files gets its name, and is then repeated."""

  def _train(self, name: str, total_rounds: int) -> None:
    self.train(name, total_rounds=total_rounds, rounds_per_checkpoint=1, noise_multiplier=0.0)

  def _train_killed(self, name: str, total_rounds: int, place: int) -> bool:
    """Returns whether the run ended before it wrote so many files."""
    calls, replace = itertools.count(), os.replace

    def replace_or_die(*paths: str) -> None:
      if next(calls) == place:
        raise _Killed
      replace(*paths)

    with mock.patch('os.replace', replace_or_die), contextlib.suppress(_Killed):
      self._train(name, total_rounds)
      return True
    return False

  @parameterized.named_parameters(('new', 0, 0, 2, 2), ('resumed', 2, 0, 4, 4), ('restarted', 3, 1, 4, 5))
  def test_every_round_counts_wherever_it_ends(self, before: int, lost: int, total: int, expected: int) -> None:
    """`before`: the rounds of an earlier session, of which the last checkpoints are `lost`."""
    if before:
      self._train('begun', before)
    for number in range(before - lost + 1, before + 1):
      os.remove(self.path('begun', 'secret/checkpoints', f'round_{number:06d}.ckpt'))
    for place in itertools.count():
      name = f'run_{place}'
      if before:
        shutil.copytree(self.path('begun'), self.path(name))
      is_over = self._train_killed(name, total, place)
      self._train(name, total)
      model, ledger = released_model.load_with_ledger(self.path(name))
      self.assertEqual((model.round_number, ledger['rounds']), (total, expected), f'before file {place}')
      self.assertEqual(model.run, self.saved(name).history.run)
      if is_over:
        break
    self.assertGreater(place, 5)


if __name__ == '__main__':
  absltest.main()
