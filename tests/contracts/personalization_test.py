"""Tests of what fine-tuning gave single users: the figures of all, and the rows on the disk."""

import json
import math
import os
import pathlib
import tempfile
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized

from contracts import personalization

_TUNING = personalization.FineTuning(2, 0.5, 4)


def _user(number: int, before: float, after: float) -> personalization.User:
  return personalization.User(f'{number:032x}', personalization.MEASURED, 3, 4, before, after, 2.0, 1.0)


def _diverged(number: int) -> personalization.User:
  return personalization.User(f'{number:032x}', personalization.DIVERGED, 3, 4, 0.9, math.nan, 2.0)


_NOT_MEASURED = personalization.User('ff' * 16, personalization.NOT_MEASURED, 0, 1)


class SummarizeTest(parameterized.TestCase):
  def _summarize(self, *users: personalization.User) -> dict[str, Any]:
    figures = personalization.summarize(users, _TUNING, 'test', True)
    json.dumps(figures, allow_nan=False)
    return figures

  def test_by_hand(self) -> None:
    users = [_user(number, 0.1 * number, 0.1 * number + 0.05) for number in range(1, 10)]
    found = self._summarize(*users, _user(10, 0.5, 0.5), _user(11, 0.8, 0.02), _NOT_MEASURED)
    self.assertAlmostEqual(found['accuracy_before'], (4.5 + 0.5 + 0.8) / 11)
    self.assertAlmostEqual(found['accuracy_after'], (4.95 + 0.5 + 0.02) / 11)
    self.assertEqual((found['loss_before'], found['loss_after']), (2.0, 1.0))
    self.assertEqual((found['users'], found['better'], found['worse'], found['not_measured']), (11, 9, 1, 1))
    # A tenth of eleven users, rounded up: not the same two before and after.
    self.assertAlmostEqual(found['worst_decile_before'], (0.1 + 0.2) / 2)
    self.assertAlmostEqual(found['worst_decile_after'], (0.02 + 0.15) / 2)
    tuning = {name: found[name] for name in _TUNING._fields}
    self.assertEqual((tuning, found['split']), (personalization.to_json(_TUNING), 'test'))

  def test_who_diverged_is_counted_and_in_no_mean(self) -> None:
    users = [_user(1, 0.2, 0.4), *map(_diverged, range(2, 7))]
    found = self._summarize(*users)
    self.assertEqual((found['users'], found['diverged'], found['better'], found['worse']), (1, 5, 1, 0))
    self.assertEqual((found['accuracy_before'], found['accuracy_after']), (0.2, 0.4))
    names = [f'{number:032x}' for number in (2, 3, 4)]
    self.assertEqual(found['diverged_clients'], names)
    said = personalization.describe({personalization.FIGURES: found})[-1]
    self.assertStartsWith(said, f'5 diverged and are in no mean (client {", ".join(names)} and 2 more): lower --pers')

  @parameterized.parameters(((),), ((_NOT_MEASURED,),), ((_diverged(1), _NOT_MEASURED),))
  def test_nobody_measured(self, users: tuple[personalization.User, ...]) -> None:
    found = self._summarize(*users)
    for name in ('accuracy', 'loss', 'worst_decile'):
      self.assertEqual((found[f'{name}_before'], found[f'{name}_after']), (None, None))
    said = personalization.describe({personalization.FIGURES: found})
    self.assertIn('of each test user: nobody could be measured.', said[0])
    self.assertNotRegex(' '.join(said), 'None|nan')

  def test_a_loss_that_overflows_is_no_number(self) -> None:
    self.assertIsNone(self._summarize(_user(1, 0.2, 0.4)._replace(loss_before=math.inf))['loss_before'])

  def test_is_said_in_sentences(self) -> None:
    figures = self._summarize(_user(1, 0.2, 0.4), _user(2, 0.2, 0.1), _user(3, 0.2, 0.2), _NOT_MEASURED)
    self.assertEqual(
      personalization.describe({personalization.FIGURES: figures}),
      [
        'Fine-tuning (2 epochs, learning rate 0.5) on the first half of the examples of each test user: accuracy on '
        'the other half 20.0% before, 23.3% after, as a mean over 3 users.',
        '1 (33.3%) got better, 1 (33.3%) got worse; the lowest tenth of the users has 20.0% before, and the lowest '
        'tenth after, perhaps other users, 10.0%.',
        '1 not measured: fewer than two examples, or no answer to measure on.',
      ],
    )
    said = personalization.describe({personalization.FIGURES: {**figures, 'epochs': 1, 'is_ordered': False}})[0]
    self.assertStartsWith(said, 'Fine-tuning (1 epoch, learning rate 0.5) on a random half of the examples')
    self.assertEmpty(personalization.describe({'accuracy': 0.5}))

  def test_reconstruction_is_said_in_sentences(self) -> None:
    tuning = _TUNING._replace(local_layers=('dense', 'logits'))
    figures = personalization.summarize([_user(1, 0.2, 0.4), _diverged(2)], tuning, 'validation', False)
    run = {personalization.FIGURES: figures}
    said = personalization.describe(run)
    self.assertEqual(
      said[0],
      'Reconstruction of the local layers dense, logits (2 epochs, learning rate 0.5) on a random half of the examples '
      'of each validation user: accuracy on the other half 20.0% before, 40.0% after, as a mean over 1 users.',
    )
    self.assertEndsWith(said[-1], 'lower --client_learning_rate, or set reconstruction_learning_rate.')
    self.assertTrue(personalization.has_local_layers(run))
    self.assertTrue(personalization.is_of(json.loads(json.dumps(run)), tuning))
    self.assertFalse(personalization.is_of(run, _TUNING))

  def test_figures_of_an_earlier_version_name_no_layers(self) -> None:
    run = {personalization.FIGURES: self._summarize(_user(1, 0.2, 0.4))}
    del run[personalization.FIGURES]['local_layers']
    self.assertTrue(personalization.is_of(run, _TUNING))
    self.assertFalse(personalization.has_local_layers(run))
    self.assertStartsWith(personalization.describe(run)[0], 'Fine-tuning (2 epochs')

  def test_knows_what_it_was_measured_with(self) -> None:
    run = {personalization.FIGURES: self._summarize(_user(1, 0.2, 0.4))}
    self.assertTrue(personalization.is_of(run, _TUNING))
    self.assertFalse(personalization.is_of(run, _TUNING._replace(epochs=3)))
    self.assertFalse(personalization.is_of(run, _TUNING._replace(learning_rate=0.25)))
    self.assertFalse(personalization.is_of({}, _TUNING))


class LedgerTest(absltest.TestCase):
  def test_says_how_a_device_reconstructs(self) -> None:
    tuning = personalization.FineTuning(1, 0.25, 4, ('logits',))
    ledger = json.loads(json.dumps(personalization.to_ledger(tuning)))
    self.assertEqual(personalization.of_ledger(ledger), tuning)
    self.assertEqual(
      ledger['local_layers'],
      'logits: never sent by a client, which reconstructs them in each round; the released model has them at the '
      'weights that the run began with. Reconstruct on the device before use: 1 epoch of SGD on its own examples, '
      'learning rate 0.25, 4 examples a step, the other layers frozen',
    )
    self.assertIsNone(personalization.of_ledger({'epsilon': 1.0}))
    del ledger[personalization.ON_DEVICE]['epochs']
    with self.assertRaisesRegex(ValueError, 'Expected on_device of a privacy ledger .* found no epochs: repeat'):
      personalization.of_ledger(ledger)


class FilesTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._run_dir = self.enterContext(tempfile.TemporaryDirectory())
    self._path = pathlib.Path(self._run_dir, 'operator/personalization.csv')
    self._users = [_user(1, 1 / 3, 0.1 + 0.2), _diverged(2), _NOT_MEASURED]

  def _write(self) -> dict[str, Any]:
    figures = personalization.summarize(self._users, _TUNING, 'test', True)
    figures['sha256'] = personalization.write(self._run_dir, self._users)
    return {personalization.FIGURES: figures}

  def test_what_is_written_is_read(self) -> None:
    run = self._write()
    self.assertEqual(str(personalization.read(self._run_dir, run)), str(self._users))  # NaN equals no other one.
    lines = self._path.read_text().splitlines()
    self.assertEqual(lines[0].split(',')[:3], ['client_id', 'outcome', 'tuning_examples'])
    self.assertEqual(lines[2], f'{2:032x},diverged,3,4,0.9,,2.0,')

  def test_figures_without_it_have_no_rows(self) -> None:
    self._write()
    self.assertEqual(personalization.read(self._run_dir, {'accuracy': 0.5}), [])

  def test_nothing_of_it_is_public(self) -> None:
    self._write()
    self.assertEmpty(os.listdir(os.path.join(self._run_dir, 'public')))

  def test_removes_the_rows_if_there_are_any(self) -> None:
    personalization.remove(self._run_dir)
    self._write()
    personalization.remove(self._run_dir)
    self.assertFalse(self._path.exists())

  @parameterized.parameters('gone', 'changed', 'cut', 'others', 'untyped')
  def test_refuses_other_rows(self, damage: str) -> None:
    run = self._write()
    text = self._path.read_text()
    if damage == 'gone':
      self._path.unlink()
    elif damage == 'untyped':
      run[personalization.FIGURES]['users'] = 'many'
    else:
      self._path.write_text({'changed': text.replace('3', '5', 1), 'cut': text[:-3], 'others': '\xff'}[damage])
    with self.assertRaisesRegex(ValueError, '^Expected the rows .*personalization.csv, found [^\n]*: repeat the train'):
      personalization.read(self._run_dir, run)


if __name__ == '__main__':
  absltest.main()
