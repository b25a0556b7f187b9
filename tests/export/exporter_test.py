"""Tests that one variant's failure leaves the others whole, and that bad input is refused."""

from collections.abc import Mapping
import json
import os
import pathlib
import re
import tempfile
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest

from common import files
from contracts import client_shards
from contracts import run_directory
from export import choice as choice_lib
from export import exporter
from export import guard
from export import model_folder
from export import parity
from export import request
from export import tflite
from export import timing
from export.metadata import describing
from export.metadata import packing
from export.variants import base
from export.variants import dynamic_range
from export.variants import float32
from export.variants import registry
from tests.export import exported
from tests.export import fakes
from tests.export import guarded_here

_LIMITS = guard.Limits()
_FLOAT32 = {'float32': registry.VARIANTS['float32']}
_WITHOUT_EXAMPLES = {name: each for name, each in registry.VARIANTS.items() if name not in registry.LEARNING}


class _Impossible(dynamic_range.DynamicRange):
  bounds = parity.Bounds(1.01, None)


class _Lenient(dynamic_range.DynamicRange):
  bounds = parity.Bounds(0.0, None)


class _ImpossibleReference(float32.Float32):
  bounds = parity.Bounds(1.01, None)


class _UnheardOf(float32.Float32):
  name = 'unheard_of'


class _OnlyKeras(guarded_here.Call):
  """Of these, only that of Keras returns."""

  def result(self) -> Any:
    run_dir, *rest = self.arguments
    if self.function != parity.keras_answers:
      raise guard.Failed(f'cannot read {run_dir}')
    schema, features, _ = rest
    return np.zeros((len(features), *schema.label.shape, schema.num_classes))


class _Made(_OnlyKeras):
  """A call that converts without TensorFlow."""

  def result(self) -> Any:
    return b'a file' if self.function == tflite.convert else super().result()


class _Broken(_OnlyKeras):
  """A call of which nothing returns."""

  def result(self) -> Any:
    raise guard.Failed(f'cannot read {self.arguments[0]}')


@pytest.mark.slow
class ExporterTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self._shards = client_shards.ClientShards(fakes.write_shards(os.path.join(folder, 'shards')))
    self._run_dir = os.path.join(folder, 'run')
    fakes.release(self._run_dir)
    self._staging = os.path.join(folder, 'staging')
    os.makedirs(self._staging)

  def _export(
    self, variants: Mapping[str, base.Variant] = _WITHOUT_EXAMPLES, limits: guard.Limits = _LIMITS, **options: Any
  ) -> dict[str, Any]:
    wanted = request.Request(variants, **options)
    return exporter.export(self._run_dir, self._shards, self._staging, limits, wanted).record

  def _export_here(self, variants: Mapping[str, base.Variant]) -> dict[str, Any]:
    with mock.patch.object(guard, 'Call', guarded_here.Call):
      return self._export(variants)

  def test_the_others_go_on(self) -> None:
    # No registry has such a variant.
    variants = {'unheard_of': _UnheardOf(), 'dynamic_range': _Impossible(), **_FLOAT32}
    record = self._export_here(variants)
    self.assertEqual(list(record['variants']), ['float32'])
    self.assertStartsWith(record['failed']['unheard_of'], 'Expected --variants to be one of')
    self.assertRegex(record['failed']['dynamic_range'], '^Expected the same answer as Keras at 101.0% .* found')
    self.assertCountEqual(
      model_folder.find_files(self._staging),
      [
        'next_character.float32.tflite',
        *exported.CONTENTS,
      ],
    )
    written = run_directory.read_parity(self._staging)
    self.assertIn('checksum', written)
    self.assertEqual({key: value for key, value in written.items() if key != 'checksum'}, record)
    self.assertEqual(written['source'], request.Request(variants).hash(self._run_dir, self._shards))
    self.assertEqual((written['examples'], written['positions']), (28, 28 * 11))
    figures = written['variants']['float32']
    self.assertEqual(figures['accuracy'], written['keras_accuracy'])
    self.assertEqual(figures['bytes'], os.path.getsize(os.path.join(self._staging, figures['path'])))
    classes = json.loads(pathlib.Path(self._staging, 'classes.json').read_text())
    self.assertEqual(tuple(classes), fakes.CHARACTERS.classes)

  def test_says_what_the_examples_were_made_of(self) -> None:
    examples = {'kind': 'characters', 'column': 'text', 'window_length': 12, 'end_token': True}
    self._shards.manifest['declaration'] = {'name': 'déclaré', 'examples': examples}
    self._export_here(_FLOAT32)
    steps = json.loads(pathlib.Path(self._staging, 'preprocessing.json').read_text())
    described = {key: value for key, value in examples.items() if key != 'end_token'}
    self.assertContainsSubset(described.items(), steps['examples'].items())
    self.assertEqual(steps['input'], {'name': 'characters', 'dtype': 'int32', 'shape': [1, 12]})
    card = pathlib.Path(self._staging, 'MODEL_CARD.md').read_text()
    self.assertIn('on the data set déclaré, after round 140', card)
    run = files.short_name(self._run_dir).replace('_', r'\_')
    self.assertStartsWith(card, f'# next\\_character on déclaré, run {run}\n')
    self.assertIn('scores the character that follows index i', card)
    # The file says the same of itself.
    content = pathlib.Path(self._staging, 'next_character.float32.tflite').read_bytes()
    entry = json.loads(packing.read_entries(content)['POCKETFED'])
    self.assertEqual(entry['preprocessing'], {**steps, 'classes': 'labels.txt'})
    self.assertEqual((entry['round'], entry['data']['sha256']), (140, self._shards.fingerprint))
    self.assertEqual(packing.read_standard(content).name, 'next_character on déclaré'.encode())
    self.assertEqual(packing.read_files(content), {'labels.txt': describing.write_labels(self._shards.schema.classes)})

  def test_a_variant_of_the_default_that_does_not_support_a_layer(self) -> None:
    variants = {**_FLOAT32, 'qat': registry.VARIANTS['qat']}
    examples = fakes.make_examples(count=2)
    with (
      mock.patch.object(request.Request, 'examples_of', return_value=examples),
      mock.patch.object(guard, 'Call', guarded_here.Call),
    ):
      record = self._export(variants, is_default=True)
    self.assertEqual((list(record['variants']), record['failed']), (['float32'], {}))
    self.assertRegex(record['skipped'].pop('qat'), '^Expected layers that quantization-aware training supports, found')
    self.assertEqual(record['skipped'], {})
    card = pathlib.Path(self._staging, 'MODEL_CARD.md').read_text()
    self.assertIn('The variant qat was skipped: Expected layers that', card)

  def test_a_variant_that_failed_may_have_learned_from_examples(self) -> None:
    examples = fakes.make_examples(count=2)
    with (
      mock.patch.object(request.Request, 'examples_of', return_value=examples),
      mock.patch.object(request.Request, 'describe', return_value={}) as describe,
      mock.patch.object(guard, 'Call', guarded_here.Call),
    ):
      record = self._export({**_FLOAT32, 'qat': registry.VARIANTS['qat']})
    made, written = describe.call_args.args
    self.assertEqual((list(record['failed']), sorted(made), list(written)), (['qat'], ['float32', 'qat'], ['float32']))

  def test_leaves_nothing_when_all_fail(self) -> None:
    with mock.patch.object(guard, 'Call', side_effect=_OnlyKeras) as calls:
      record = self._export(allow_flex=True)
    allowed = {call.args[-2] for call in calls.call_args_list if call.args[1] == tflite.convert}
    self.assertEqual((allowed, record['variants']), ({True}, {}))
    expected = {
      name: f'cannot read {self._run_dir}'
      if name == (reference := registry.reference_of(variant).name)
      else f'not made: it has the graph of {reference}, which failed'
      for name, variant in _WITHOUT_EXAMPLES.items()
    }
    self.assertEqual(record['failed'], expected)
    self.assertEmpty(os.listdir(self._staging))

  @parameterized.parameters(None, choice_lib.Choice(1.0))
  def test_a_file_that_cannot_be_timed_fails_as_others_do(self, choice: choice_lib.Choice | None) -> None:
    ends: list[parity.End] = [('input', 'characters', 'int32', (1, 12)), ('output', 'logits', 'float32', (1, 12, 20))]

    def call(limits: guard.Limits, function: object, path: str, features: np.ndarray, own: str, *_: bool) -> Any:
      if function is tflite.check:
        return parity.Answers(np.zeros((len(features), 12, 20)), ends, {'float32': 7}), f'of {own}'
      self.assertIs(function, timing.measure)
      if 'dynamic_range' in path:
        raise guard.Failed('crashed with SIGSEGV')
      return timing.Cost(12.5, 20.0, 200, 3_000_000)

    variants = {name: registry.VARIANTS[name] for name in ('float32', 'dynamic_range')}
    # Of the two, which are of one size and of one accuracy, the first would be chosen.
    variants = dict(reversed(variants.items())) if choice else variants
    with mock.patch.object(guard, 'Call', _Made), mock.patch.object(guard, 'call', call):
      record = self._export(variants, choice=choice)
    self.assertEqual((record['dropped'], list(record['variants'])), ({}, ['float32']))
    self.assertEqual(record['failed'], {'dynamic_range': 'its calls could not be timed: crashed with SIGSEGV'})
    self.assertEqual(
      [name for name in os.listdir(self._staging) if '.tflite' in name], ['next_character.float32.tflite']
    )
    (figures,) = run_directory.read_parity(self._staging)['variants'].values()
    self.assertEqual(figures['latency_us'], {'median': 12.5, 'p95': 20.0, 'calls': 200})
    self.assertEqual(figures['peak_memory_mb'], 3.0)
    card = pathlib.Path(self._staging, 'MODEL_CARD.md').read_text()
    self.assertIn('| `next_character.float32.tflite` | one example a call | 12.5 µs | 20.0 µs | 3.00 MB |', card)

  def test_a_message_names_the_run_directory_that_was_given(self) -> None:
    with (
      mock.patch.object(guard, 'Call', _Broken),
      self.assertRaisesRegex(guard.Failed, f'^cannot read {re.escape(self._run_dir)}$'),
    ):
      self._export()

  def test_no_variant_of_a_graph_that_full_precision_shows_to_be_wrong(self) -> None:
    with mock.patch.dict(registry.VARIANTS, {'float32': _ImpossibleReference()}):
      record = self._export_here({'dynamic_range': _Lenient()})
    self.assertEmpty(record['variants'])
    self.assertStartsWith(record['failed']['float32'], 'Expected the same answer as Keras at 101.0%')
    self.assertEqual(record['failed']['dynamic_range'], 'not made: it has the graph of float32, which failed')
    self.assertEmpty(os.listdir(self._staging))

  def test_refuses_a_damaged_model_and_leaves_no_child(self) -> None:
    path = pathlib.Path(self._run_dir, 'public/model.npz')
    path.write_bytes(path.read_bytes()[:-200])
    children = pathlib.Path(f'/proc/self/task/{os.getpid()}/children')
    before = children.read_text()  # A Python of other tests may be among them.
    with self.assertRaisesRegex(ValueError, '^Expected a released model at .*, found a damaged file'):
      self._export()
    self.assertEqual(children.read_text(), before)

  def test_a_keras_model_that_needs_too_much_fails(self) -> None:
    with self.assertRaisesRegex(guard.Failed, 'its limit of 0.2 s'):
      self._export(limits=guard.Limits(seconds=0.2))


class StartTest(absltest.TestCase):
  def test_conversions_start_a_few_at_a_time(self) -> None:
    started: list[str] = []

    def start(own: str) -> guard.Call:
      started.append(own)
      return _OnlyKeras(_LIMITS, len)

    variants = dict.fromkeys('abcde', registry.VARIANTS['float32'])
    with mock.patch.object(exporter, '_AT_ONCE', 2):
      conversions = exporter._start_in_turn(start, variants)
      seen = [(own, len(started)) for own, _, _ in conversions]
    self.assertEqual(seen, [('a', 2), ('b', 3), ('c', 4), ('d', 5), ('e', 5)])
    self.assertEqual(started, list('abcde'))


if __name__ == '__main__':
  absltest.main()
