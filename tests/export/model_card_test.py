"""Tests that the model card says what a user of the file has to know."""

from absl.testing import absltest

from contracts import held_out_figures
from contracts import personalization
from export import parity as parity_lib
from export import preprocessing
from export.metadata import facts as facts_lib
from pipelines.featurizers import characters
from pipelines.featurizers import table
from tests.export import fakes
from tests.export.card import rendered

_OF_STEP: list[parity_lib.End] = [
  ('input', 'characters', 'int32', (1,)),
  ('input', 'state_0', 'float32', (1, 64)),
  ('output', 'logits', 'float32', (1, 80)),
  ('output', 'next_state_0', 'float32', (1, 64)),
]
_TABLE = table.Table(
  label='label',
  classes=('a', 'b'),
  numbers=('age',),
  categories=(table.Category('my|os', ('ios', 'web'), other=True, missing=True),),
)


class ModelCardTest(absltest.TestCase):
  def test_files_and_their_figures(self) -> None:
    card = rendered.render()
    self.assertIn(
      '| `next_character.float32.tflite` | full precision | 293 kB | 261 kB | 100.00% | 1.9e-06 | 38.15% |', card
    )
    self.assertIn('The variant dynamic_range could not be made: crashed with SIGSEGV.', card)
    self.assertIn('1,953 examples (154,287 positions)', card)
    self.assertIn('accuracy on the same is 38.16%, that of always giving the most frequent answer 16.34%.', card)
    self.assertIn('on all users of the test split was 38.12%, as a mean over users 37.41%. Always', card)

  def test_what_was_skipped_and_dropped(self) -> None:
    record = {
      'skipped': {'qat': 'Expected layers that ... supports, found gru of kind RNN: take int8.'},
      'dropped': {'float16': 'its file has 150.0 kB'},
      'failed': {'step': 'Expected a GRU, found none: add one.'},
      'choice': 'an accuracy at most 0.005 below that of Keras',
    }
    card = rendered.render(parity=record)
    self.assertIn('The variant qat was skipped: Expected layers that ... supports, found gru of kind RNN: take', card)
    self.assertIn('The variant step could not be made: Expected a GRU, found none: add one.\n', card)
    self.assertIn('The variant float16 was dropped: its file has 150.0 kB.\n', card)
    self.assertIn('each here is the smallest of its form with an accuracy at most 0.005 below that of Keras.\n', card)
    for word in ('skipped', 'dropped', 'is the smallest'):
      self.assertNotIn(word, rendered.render())

  def test_the_code_for_steps_is_of_a_file_that_litert_runs(self) -> None:
    steps = preprocessing.describe(fakes.manifest(characters.Characters('text', 80)), {'step': _OF_STEP})
    small = {
      **rendered.VARIANT,
      'form': 'step',
      'path': 'small.tflite',
      'bytes': 5,
      'summary': 'it needs TensorFlow (Flex)',
    }
    large = {**rendered.VARIANT, 'form': 'step', 'path': 'large.tflite'}
    model = {'signatures': {'step': _OF_STEP}}
    both = {'variants': {'small': small, 'large': large}}
    self.assertIn("litert.Interpreter('large.tflite')", rendered.render(model=model, steps=steps, parity=both))
    card = rendered.render(model=model, steps=steps, parity={'variants': {'small': small}})
    self.assertIn('import tensorflow as tf\n', card)
    self.assertIn("tf.lite.Interpreter('small.tflite')", card)
    self.assertNotIn('import interpreter as litert', card)

  def test_what_files_learned_from(self) -> None:
    public = {'kind': 'public', 'statement': 'Some files learned from examples, which the exporter declared public.'}
    card = rendered.render(parity={'calibration': public})
    self.assertEqual(card.count('which the exporter declared public.'), 1)
    self.assertNotIn('Not covered either', card)
    released = {'kind': 'released', 'statement': 'The epsilon of the run does not cover it.'}
    card = rendered.render(parity={'calibration': released})
    self.assertIn(
      '\n\n**Not covered either**: The epsilon of the run does not cover it.\n', card.split('## Privacy')[1]
    )
    self.assertIn('**Not covered either**', rendered.render(privacy={}, parity={'calibration': released}))

  def test_integers_in_and_out(self) -> None:
    ends = {'input': {'dtype': 'int8', 'scale': 0.5, 'zero_point': -128}}
    card = rendered.render(parity={'variants': {'int8_io': {**rendered.VARIANT, 'quantized': ends}}})
    sentence = 'The input of `next_character.float32.tflite` is int8: an integer stands for (integer - -128) * 0.5.'
    self.assertIn(f'\n\n{sentence}\n\n', card)

  def test_time_and_memory(self) -> None:
    card = rendered.render()
    self.assertIn('| `next_character.float32.tflite` | one example a call | 1,265.2 µs | 2,000.0 µs | 8.90 MB |', card)
    self.assertIn('they rank files, and are not those of a phone.', card)

  def test_the_accuracy_stands_beside_what_it_is_compared_with(self) -> None:
    card = rendered.render()
    self.assertIn(r"Always answering '\<end\>' is right 16.3% of the time, a bigram 27.6%. Coverage: the m", card)
    self.assertIn('19.1% of all answers are right.\n\nThese accuracies and', card)
    self.assertNotIn('does not beat', card)
    self.assertIn(
      'The model does not beat the baseline (bigram): 20.0% ', rendered.render(run={**rendered.RUN, 'accuracy': 0.2})
    )

  def test_local_layers(self) -> None:
    tuning = personalization.FineTuning(2, 0.5, 4, ('logits',))
    user = personalization.User('ab' * 16, personalization.MEASURED, 3, 4, 0.25, 0.5, 2.0, 1.0)
    run = {**rendered.RUN, 'personalization': personalization.summarize([user], tuning, 'test', True)}
    card = rendered.render({**fakes.privacy(), **personalization.to_ledger(tuning)}, {**run, 'accuracy': 0.2})
    self.assertIn('**Local layers**: logits: never sent by a client', card)
    self.assertIn('Reconstruct on the device before use: 2 epochs of SGD', card)
    self.assertIn('as it is in the files, before the local layers are reconstructed. Each file was run', card)
    self.assertIn('accuracy on the other half 25.0% before, 50.0% after, as a mean over 1 users. Always ans', card)
    self.assertNotIn('does not beat', card)
    self.assertIn('a device reconstructs the local layers first.', card)
    choice = card.split('## How to choose a file')[1]
    self.assertStartsWith(choice, '\n\nThese accuracies, too, are before the local layers are reconstructed.\n\n- For ')
    figures = held_out_figures.Figures('', 200, [0.5] * 9, [], [], {})
    card = rendered.render({**fakes.privacy(), **personalization.to_ledger(tuning)}, figures=figures)
    self.assertIn('that is no guarantee.\nAll are of the model as it is in the files, before the local layers', card)
    for name in ('Local layers', 'reconstruct'):
      self.assertNotIn(name, rendered.render())

  def test_a_user_may_be_a_simulated_client(self) -> None:
    sentence = 'No person is behind a client of this data set'
    self.assertIn(sentence, rendered.render({**fakes.privacy(), 'unit': 'one of 600 simulated clients, no person'}))
    self.assertNotIn(sentence, rendered.render())
    self.assertNotIn(sentence, rendered.render({}))

  def test_positions_are_counted_where_an_example_has_several(self) -> None:
    card = rendered.render(parity={'positions': 1953})
    self.assertIn('on 1,953 examples of users', card)
    self.assertNotIn('positions', card.split('## Input')[0])

  def test_data_set(self) -> None:
    self.assertIn(r'federated learning on the data set my\_logs, after round 140', rendered.render())
    self.assertStartsWith(rendered.render(), '# next\\_character on my\\_logs, run mine/run\n')

  def test_input_and_output(self) -> None:
    card = rendered.render()
    self.assertIn('| input | `characters` | int32 | (1, 80) |', card)
    self.assertIn('| output | `logits` | float32 | (1, 80, 80) |', card)
    self.assertIn('The last dimension of the output has one logit for each of 80 classes; `classes.json`', card)

  def test_step_files(self) -> None:
    names = ('float32', 'step', 'step_dynamic_range')
    variants = {
      name: {
        **rendered.VARIANT,
        'path': f'next_character.{name}.tflite',
        'bytes': 9 - index,
        'form': name.partition('_')[0],
      }
      for index, name in enumerate(names)
    }
    variants['float32']['form'] = 'whole'
    featurizer = characters.Characters('text', 80)
    signatures = {**rendered.SIGNATURES, 'step': _OF_STEP}
    steps = preprocessing.describe(fakes.manifest(featurizer), signatures)
    card = rendered.render(model={'signatures': signatures}, parity={'variants': variants}, steps=steps)
    self.assertIn('`next_character.float32.tflite`: signature `serving_default`, one example a call, built-in', card)
    self.assertIn(
      '`next_character.step.tflite`, `next_character.step_dynamic_range.tflite`: signature `serving_default`, one '
      'element of a sequence a call, built-in operations only.\n\n| | name | type | shape |\n|---|---|---|---|\n'
      '| input | `characters` | int32 | (1,) |\n| input | `state_0` | float32 | (1, 64) |\n'
      '| output | `logits` | float32 | (1, 80) |\n| output | `next_state_0` | float32 | (1, 64) |\n\nThe last',
      card,
    )
    self.assertIn('scores the character that follows index i', card)
    self.assertRegex(card, r'states `state_0` \(next_state_0\) begin .*\n\n```python\n\"\"\"Runs next_character\.')
    self.assertIn("litert.Interpreter('next_character.step_dynamic_range.tflite')", card)
    self.assertRegex(card, r'\n```\n\n## Privacy\n')
    variants['step']['summary'] = 'small; LiteRT alone cannot run it: it needs the kernels of TensorFlow (Flex) for X'
    other = rendered.render(model={'signatures': signatures}, parity={'variants': variants}, steps=steps)
    self.assertIn('one element of a sequence a call, built-in operations only, where nothing else is said', other)
    del steps['input'], signatures['whole'], variants['float32']
    alone = rendered.render(model={'signatures': signatures}, parity={'variants': variants}, steps=steps)
    self.assertNotIn('index i', alone)
    self.assertIn('begin with zeros', alone)

  def test_says_how_to_fill_the_input(self) -> None:
    of_table = {'whole': [('input', 'features', 'float32', (1, 5)), ('output', 'logits', 'float32', (1, 2))]}
    examples = preprocessing.describe(fakes.manifest(_TABLE), of_table)['examples']
    card = rendered.render(examples=examples)
    self.assertIn('| index | column | content |\n|---|---|---|\n| 0 | age | a number |\n', card)
    self.assertIn(r'| 1 to 4 | my\|os | a category; ', card)
    self.assertIn('3: any other value; 4: no value (null) |\n\nThe numbers are not scaled.', card)
    self.assertRegex(card, r'useful answer for them\.\n\n## Privacy\n')

  def test_a_text_is_followed_by_the_next_heading(self) -> None:
    self.assertRegex(rendered.render(), r'what is not listed\.\n\n## Privacy\n')

  def test_knows_no_more_of_what_somebody_else_made(self) -> None:
    self.assertIn('were made of and how.\n\n## Privacy\n', rendered.render(examples={'kind': 'mine.of.Kind'}))

  def test_how_it_was_made(self) -> None:
    card = rendered.render()
    self.assertIn('Exported with:\n\n- tensorflow 2.14.1\n', card)
    self.assertIn('\n--seed=(withheld)\n', card)
    self.assertIn('\n--nocentered\n--options=\n```\n', card)
    self.assertIn('The value of `--seed` is secret: leave it out.', card)
    self.assertIn('\npython -m export.verify --model_dir=MODEL --run_dir=RUN\n```\n', card)
    self.assertNotIn('/srv/me', card)
    self.assertEndsWith(card, 'a folder that has it, and in which `sha256sum -c SHA256SUMS` succeeds, is complete.\n')

  def test_what_people_typed_is_no_markup(self) -> None:
    card = rendered.render(model={'stated': facts_lib.Credits('<b>|`x`', '<i>')})
    self.assertIn(r'Author: \<b\>\|\`x\`.', card)
    self.assertIn(r'Licence: \<i\>.', card)
    # In a block of code nothing is.
    self.assertIn('\n--note=<b>|`x`\n', card)

  def test_what_would_steer_a_terminal_is_shown(self) -> None:
    card = rendered.render(run={**rendered.RUN, 'majority_class': '\x1b[2J'}, model={'data_set': 'my\x1b]0;log\x9b'})
    self.assertNotRegex(card, '[\x00-\x08\x0b-\x1f\x7f-\x9f]')
    self.assertIn(r'my\\x1b\]0;log\\x9b', card)

  def test_a_run_without_final_figures(self) -> None:
    card = rendered.render(run={})
    self.assertIn('after round 140. It has 20,248 weights.', card)
    self.assertNotIn('After training', card)


if __name__ == '__main__':
  absltest.main()
