"""Tests that the model card says what a user of the file has to know."""

from typing import Any

from absl.testing import absltest

from export import model_card
from tests.export import fakes

_MODEL = {
    'task': 'next_character', 'round': 140, 'weights': 20_248, 'num_classes': 80,
    'signature': [('input', 'characters', 'int32', (1, 80)), ('output', 'logits', 'float32', (1, 80, 80))],
}  # fmt: skip
_VARIANT = {
    'path': 'next_character_float32.tflite', 'bytes': 292_832, 'summary': 'full precision', 'argmax_agreement': 1.0,
    'max_logit_difference': 1.9e-6, 'accuracy': 0.3815,
}  # fmt: skip
_PARITY = {
    'variants': {'float32': _VARIANT}, 'failed': {'dynamic_range': 'crashed with SIGSEGV'}, 'keras_accuracy': 0.3816,
    'examples': 1953, 'positions': 154_287,
}  # fmt: skip
_RUN = {'accuracy': 0.3812, 'accuracy_per_user': 0.3741, 'total_rounds': 140}


def _render(privacy: dict[str, Any] | None = None, run: dict[str, Any] | None = None) -> str:
  flags = [('seed', '(withheld)'), ('note', '<b>|`x`'), ('nocentered', '')]
  privacy = fakes.privacy() if privacy is None else privacy
  return model_card.render(_MODEL, _PARITY, privacy, _RUN if run is None else run, flags, {'tensorflow': '2.14.1'})


class ModelCardTest(absltest.TestCase):
  def test_files_and_their_figures(self) -> None:
    card = _render()
    self.assertIn('| `next_character_float32.tflite` | full precision | 293 kB | 100.00% | 1.9e-06 | 38.15% |', card)
    self.assertIn('The variant dynamic_range could not be made: crashed with SIGSEGV.', card)
    self.assertIn('1,953 examples (154,287 positions)', card)
    self.assertIn('38.12% per example and 37.41% uniform over users', card)

  def test_input_and_output(self) -> None:
    card = _render()
    self.assertIn('| input | `characters` | int32 | (1, 80) |', card)
    self.assertIn('| output | `logits` | float32 | (1, 80, 80) |', card)
    self.assertIn('each of 80 classes; `classes.json`', card)

  def test_privacy_with_what_is_not_covered(self) -> None:
    card = _render()
    self.assertIn('**(7.62, 0.0001)-differential privacy**, unit: client, adjacency: add or remove one client', card)
    self.assertIn('- the held-out users, whose data only measured the accuracy\n', card)

  def test_says_how_to_fill_the_input(self) -> None:
    self.assertIn('fill the rest up with 0', _render(fakes.privacy(private=True)))

  def test_no_privacy(self) -> None:
    card = _render(fakes.privacy(private=False))
    self.assertIn('**No privacy guarantee.** Covers nothing: this run adds no noise.', card)
    self.assertIn('gives **no privacy guarantee**', _render(privacy={}))

  def test_how_it_was_made(self) -> None:
    card = _render()
    self.assertIn('- tensorflow 2.14.1\n', card)
    self.assertIn('- seed: (withheld)\n', card)
    self.assertIn('- nocentered\n', card)

  def test_what_people_typed_is_no_markup(self) -> None:
    self.assertIn(r'- note: \<b\>\|\`x\`', _render())

  def test_a_run_without_final_figures(self) -> None:
    card = _render(run={})
    self.assertIn('after round 140. It has 20,248 weights.', card)
    self.assertNotIn('Over all held-out users', card)


if __name__ == '__main__':
  absltest.main()
