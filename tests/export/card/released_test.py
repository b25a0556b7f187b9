"""Tests of what the model card says, and does not say, of clients' data."""

import dataclasses

from absl.testing import absltest

from contracts import guarantees
from contracts import held_out_figures
from export.card import released
from tests.export import fakes
from tests.export.card import rendered


class ReleasedTest(absltest.TestCase):
  def test_task_and_data(self) -> None:
    card = rendered.render()
    self.assertIn(
      '| input of an example | characters, int32 \\[12\\] |\n| answers | the 20 classes in `classes.json`;', card
    )
    padded = dataclasses.replace(fakes.CHARACTERS, classes=('<pad>', '<unknown>', *'abc'))
    self.assertIn('| answers | 3 of the 5 classes in `classes.json`;', rendered.render(model={'schema': padded}))
    self.assertIn(r'| data set | my\_logs, SHA-256 f00d |', card)
    self.assertIn('| training clients | 915, a number that is taken as public; 100 take part in a round |', card)
    self.assertNotIn('Author', card)

  def test_figures_of_users_are_not_published(self) -> None:
    card = rendered.render()
    self.assertIn('They are not in this card but in the report of the run (`operator/report.html`)', card)
    self.assertNotIn('taken for |', card)
    self.assertNotIn('split train', card)

  def test_figures_of_users_if_that_is_accepted(self) -> None:
    cells = [held_out_figures.Cell(0, 1, 40, 6), held_out_figures.Cell(1, 0, 30, 4)]
    cells.append(held_out_figures.Cell(2, 2, 10, 6))
    classes = [held_out_figures.Class(0, 100, 60, 6, 6, 6), held_out_figures.Class(1, 90, 60, 6, 1, 6)]
    classes.append(held_out_figures.Class(2, 10, 10, 6, 6, 0))
    accuracies = [0.25] * 5 + [0.75] * 5
    figures = held_out_figures.Figures('', 200, accuracies, classes, cells, {'0': '|', '1': 'b', '2': 'c'})
    counts = {'train': {'clients': 915, 'examples': 12_345}}
    card = rendered.render(parity={'published_figures': 'No epsilon covers them.'}, figures=figures, counts=counts)
    self.assertIn('| split train | 915 clients (taken as public), 12,345 examples: exact, **not private** |', card)
    self.assertIn('**Not private**: exact figures of the data of held-out users, which no epsilon covers.', card)
    self.assertIn('| accuracy | held-out users |\n|---|---:|\n| 20% to 30% | 5 |\n| 70% to 80% | 5 |\n\n', card)
    self.assertIn('| \\| | 50.0% | 60.0% |\n', card)
    # Only one user has right answers.
    self.assertIn('| b | 45.0% | omitted |\n', card)
    # The other way around was of 4 users.
    self.assertIn('|---|---|---:|\n| \\| | b | 40.0% |\n\n## Time', card)
    self.assertIn('\n\n**Not covered either**: No epsilon covers them.\n', card)
    ledger, here = card.split('Released by this export; the ledger of the run does not list it:')
    self.assertIn('as the ledger says:', ledger)
    self.assertIn(
      'taken for which | exact, in this card; figures from fewer than 5 users are omitted | **no** |\n', here
    )
    self.assertIn('So these counts are not for the operator only', here)
    self.assertNotIn('not in this card', card)

  def test_what_was_released(self) -> None:
    card = rendered.render()
    ledger, here = card.split('Released by this export; the ledger of the run does not list it:')
    self.assertIn('| vocabulary | fixed and public | yes |\n| training metrics | exact sums | **no** |\n\n', ledger)
    self.assertIn('| hash of the data set | exact, published with the model | **no** |\n\n## Limits', here)
    self.assertNotIn('operator only', here)
    listed = [{'what': what, 'mechanism': 'exact', 'private': False} for what in guarantees.EXPORTED]
    card = rendered.render({**fakes.privacy(), 'releases': listed})
    self.assertIn('| hash of the data set | exact | **no** |\n', card)
    self.assertNotIn('Released by this export', card)

  def test_what_files_learned_from_clients_is_a_release_of_the_export(self) -> None:
    for kind in ('public', 'released'):
      found = released.list_here({'calibration': {'kind': kind}}, {})
      self.assertEqual(any('learned from clients' in each.what for each in found), kind == 'released')

  def test_privacy_with_what_is_not_covered(self) -> None:
    card = rendered.render()
    self.assertIn('**(7.62, 0.0001)-differential privacy**, unit: client, adjacency: one client', card)
    self.assertIn('data replaced by none (zero-out)', card)
    self.assertIn('- the held-out users, whose data only measured the accuracy\n', card)

  def test_privacy_says_who_sees_what_and_who_accounted(self) -> None:
    card = rendered.render()
    self.assertIn('Who sees what: simulated on one machine, which sees everything in the clear.\n', card)
    self.assertIn('Assumption: the number of client ids is public.\n', card)
    self.assertIn(r'Accounted by dp\_accounting PLD, version 0.6.0, neighboring relation REPLACE\_SPECIAL, grid', card)
    self.assertNotIn('Bound:', card)
    self.assertIn('Bound: with fixed cohorts.', rendered.render({**fakes.privacy(), 'bound': 'with fixed cohorts'}))
    self.assertNotIn('Accounted by', rendered.render(fakes.privacy(private=False)))

  def test_epsilon_is_rounded_up_and_never_to_nothing(self) -> None:
    self.assertIn('**(7.01, 0.0001)-diff', rendered.render({**fakes.privacy(), 'epsilon': 7.0001}))
    self.assertIn('**(0.0011, 0.0001)-diff', rendered.render({**fakes.privacy(), 'epsilon': 0.00101}))

  def test_what_the_data_set_has_spent_is_told_apart(self) -> None:
    spent = {'learned_epsilon': 1.25, 'learned_delta': 2e-6, 'training_epsilon': 6.37, 'training_delta': 9.8e-5}
    card = rendered.render({**fakes.privacy(), **spent})
    self.assertIn('(1.25, 2e-06) paid for what the data set was made with and (6.37, 9.8e-05) for training', card)
    self.assertNotIn('paid for', rendered.render({**fakes.privacy(), 'learned_epsilon': 0.0}))

  def test_no_privacy(self) -> None:
    card = rendered.render(fakes.privacy(private=False))
    self.assertIn('**No privacy guarantee**: this run adds no noise.\n', card)
    self.assertNotIn('Not covered', card)
    self.assertIn('**No privacy guarantee**: the run has no record of its privacy.\n', rendered.render(privacy={}))


if __name__ == '__main__':
  absltest.main()
