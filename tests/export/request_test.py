"""Tests of what is made by default and of what is kept."""

import dataclasses
import os
from typing import Any

from absl.testing import absltest

from contracts import client_shards
from export import calibration
from export import choice
from export import request
from export.metadata import facts as facts_lib
from export.variants import registry
from tests.export import fakes

_SCHEMA = fakes.HANDWRITING
_MADE: dict[str, dict[str, Any]] = {
  'int8': {'bytes': 230_000, 'accuracy': 0.89, 'form': 'whole'},
  'float32': {'bytes': 900_000, 'accuracy': 0.9, 'form': 'whole'},
}


class RequestTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    folder = self.create_tempdir().full_path
    shards = fakes.write_shards(os.path.join(folder, 'public'), split='train', prefix='else')
    self._data = calibration.Calibration('public', client_shards.ClientShards(shards))
    self._shards = client_shards.ClientShards(fakes.write_shards(os.path.join(folder, 'shards')))
    self._run_dir = fakes.write_figures(os.path.join(folder, 'run'), self._shards.path)

  def test_by_default_what_the_data_suffice_for(self) -> None:
    wanted = request.make(None, None, _SCHEMA, None, None)
    self.assertEqual(list(wanted.variants), ['float32', 'dynamic_range'])
    self.assertStartsWith(
      wanted.skipped(), 'Skipped int8, int8_io, qat, clustered, pruned, which learn from examples: '
    )
    self.assertIn('add --public_data=SHARDS_FOLDER', wanted.skipped())
    wanted = request.make(None, None, _SCHEMA, self._data, None)
    self.assertEqual(list(wanted.variants), [*registry.DEFAULT, *registry.LEARNING])
    self.assertEqual((wanted.skipped(), wanted.is_default), ('', True))
    recurrent = request.make(None, None, fakes.CHARACTERS, None, None)
    self.assertEqual(list(recurrent.variants), ['float32', 'dynamic_range', 'step', 'step_dynamic_range'])

  def test_what_is_asked_for(self) -> None:
    wanted = request.make(['float16', 'qat'], 'mine:TASK', _SCHEMA, self._data, None)
    self.assertEqual((list(wanted.variants), wanted.is_default), (['float16', 'qat'], False))
    self.assertEqual(request.make(['float16'], None, _SCHEMA, None, None).skipped(), '')
    with self.assertRaisesRegex(ValueError, 'Expected examples for qat'):
      request.make(['float16', 'qat'], None, _SCHEMA, None, None)
    with self.assertRaisesRegex(ValueError, 'found float32, float16: add one, such as int8, to --variants, or remove'):
      request.make(['float32', 'float16'], None, _SCHEMA, self._data, None)
    with self.assertRaisesRegex(ValueError, 'found none: write --variants'):
      request.make([], None, _SCHEMA, None, None)

  def test_examples_go_to_those_that_learn(self) -> None:
    wanted = request.make(None, None, _SCHEMA, self._data, None)
    self.assertIsNone(wanted.examples_of(registry.VARIANTS['float32']))
    given = wanted.examples_of(registry.VARIANTS['int8'])
    self.assertLen(given.labels if given else (), 28)

  def test_keeps_all_or_the_best(self) -> None:
    wanted = request.make(['float32', 'int8'], None, _SCHEMA, self._data, None)
    written, dropped = wanted.select(_MADE, 0.9)
    self.assertEqual((list(written), dropped), (['float32', 'int8'], {}))
    self.assertEqual(wanted.describe(_MADE, written)['calibration']['examples'], {'int8': 28})
    wanted = dataclasses.replace(wanted, choice=choice.Choice(0.005))
    written, dropped = wanted.select(_MADE, 0.9)
    self.assertEqual((list(written), list(dropped)), (['float32'], ['int8']))
    # Its figures stand in parity.json.
    said = wanted.describe(_MADE, written)
    self.assertIn('int8, of which only figures or a failure are here', said['calibration']['statement'])
    self.assertEqual(said['choice'], 'an accuracy at most 0.005 below that of Keras')
    self.assertNotIn('published_figures', said)
    said = dataclasses.replace(wanted, publishes_figures=True).describe(_MADE, written)
    self.assertIn('No epsilon covers them.', said['published_figures'])
    # Nothing was made that learned from anybody.
    self.assertNotIn('calibration', wanted.describe(['float32'], written))

  def test_a_file_of_integers_replaces_one_of_floats_only_if_it_is_listed(self) -> None:
    made = {**_MADE, 'int8_io': {'bytes': 20_000, 'accuracy': 0.9, 'form': 'whole', 'quantized': {}}}
    wanted = request.make(None, None, _SCHEMA, self._data, choice.Choice(0.005))
    written, dropped = wanted.select(made, 0.9)
    self.assertEqual((list(written), list(dropped)), (['float32'], ['int8_io', 'int8']))
    self.assertEndsWith(dropped['int8_io'], 'list it in --variants to choose it')
    wanted = request.make(['float32', 'int8_io'], None, _SCHEMA, self._data, choice.Choice(0.005))
    self.assertEqual(list(wanted.select(made, 0.9)[0]), ['int8_io'])

  def test_the_best_of_each_form(self) -> None:
    made = {**_MADE, 'step': {'bytes': 90_000, 'accuracy': 0.9, 'form': 'step'}}
    wanted = request.make(['float32', 'int8', 'step'], None, _SCHEMA, self._data, choice.Choice(0.005))
    written, dropped = wanted.select(made, 0.9)
    self.assertEqual((list(written), list(dropped)), (['float32', 'step'], ['int8']))

  def test_the_reference_is_not_kept_unless_it_is_asked_for(self) -> None:
    self.assertEqual(list(request.make(['int8'], None, _SCHEMA, self._data, None).select(_MADE, 0.9)[0]), ['int8'])

  def test_flags_that_ask_for_the_same_again(self) -> None:
    plain = request.make(None, None, _SCHEMA, None, None)
    self.assertEmpty(plain.list_flags())
    released = calibration.Calibration('released', self._data.shards)
    cases: dict[str, dict[str, Any]] = {
      '--variants=float32,dynamic_range': {'is_default': False},
      '--public_data=EXAMPLES': {'data': self._data},
      '--calibration_shards=EXAMPLES --accept_unaccounted_calibration': {'data': released},
      '--choose_best --max_accuracy_loss=0.01': {'choice': choice.Choice(0.01)},
      '--choose_best --max_accuracy_loss=0.01 --max_kb=100': {'choice': choice.Choice(0.01, 100)},
      '--task=mine:TASK': {'task': 'mine:TASK'},
      '--model_author=Ada': {'stated': facts_lib.Credits('Ada')},
      '--model_license=MIT': {'stated': facts_lib.Credits('', 'MIT')},
      '--allow_flex': {'allow_flex': True},
      '--litert_js=LITERT_JS': {'runtime': {'litert.js': b''}},
      '--accept_unaccounted_figures': {'publishes_figures': True},
    }
    for expected, changed in cases.items():
      self.assertEqual(' '.join(dataclasses.replace(plain, **changed).list_flags()), expected)
    # One of each, so that a field that is added later is not forgotten.
    self.assertLen({*dataclasses.asdict(plain)} - {name for each in cases.values() for name in each}, 1)
    own = request.make(['float32', 'tests.export.broken_variants:CRASHES'], None, _SCHEMA, None, None)
    self.assertEqual(own.list_flags(), ['--variants=float32,tests.export.broken_variants:CRASHES'])

  def test_another_request_is_another_export(self) -> None:
    plain = request.make(['int8'], None, _SCHEMA, self._data, None)
    others = [
      dataclasses.replace(plain, data=calibration.Calibration('released', self._data.shards)),
      dataclasses.replace(plain, choice=choice.Choice(0.005)),
      dataclasses.replace(plain, choice=choice.Choice(0.005, 100)),
      dataclasses.replace(plain, is_default=True),
      dataclasses.replace(plain, data=None),
      request.make(['int8'], None, _SCHEMA, self._data, None, allow_flex=True),
      dataclasses.replace(plain, stated=facts_lib.Credits('me')),
      dataclasses.replace(plain, publishes_figures=True),
      *(request.make(['int8'], None, _SCHEMA, self._data, None, runtime={'a.js': content}) for content in (b'1', b'2')),
    ]
    hashes = {each.hash(self._run_dir, self._shards) for each in (plain, *others)}
    self.assertLen(hashes, 11)
    self.assertEqual(plain.hash(self._run_dir, self._shards), plain.hash(self._run_dir, self._shards))


if __name__ == '__main__':
  absltest.main()
