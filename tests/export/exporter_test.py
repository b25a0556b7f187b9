"""Tests that one variant's failure leaves the others whole, and that bad input is refused."""

from collections.abc import Mapping
import json
import os
import pathlib
import re
import tempfile
from typing import Any
from unittest import mock
import zlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest

from common import files
from contracts import client_shards
from contracts import run_directory
from export import exporter
from export import guard
from export import parity
from export import quantization
from export import request
from export import tflite
from export.forms import base as forms
from export.variants import base
from export.variants import dynamic_range
from export.variants import float32
from export.variants import registry
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
    return parity.Reference(np.zeros((len(features), *schema.label.shape, schema.num_classes)), 772, 140)


class _Broken(_OnlyKeras):
  """A call of which nothing returns."""

  def result(self) -> Any:
    raise guard.Failed(f'cannot read {self.arguments[0]}')


@pytest.mark.slow
class ExporterTest(absltest.TestCase):
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
    return exporter.export(self._run_dir, self._shards, self._staging, limits, request.Request(variants, **options))

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
      os.listdir(self._staging),
      ['next_character.float32.tflite', 'parity.json', 'classes.json', 'preprocessing.json', 'MODEL_CARD.md'],
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

  def test_leaves_nothing_when_all_fail(self) -> None:
    with mock.patch.object(guard, 'Call', side_effect=_OnlyKeras) as calls:
      record = self._export(allow_flex=True)
    allowed = {call.args[-1] for call in calls.call_args_list if call.args[1] == tflite.convert}
    self.assertEqual((allowed, record['variants']), ({True}, {}))
    expected = {
      name: f'cannot read {self._run_dir}'
      if name == (reference := registry.reference_of(variant).name)
      else f'not made: it has the graph of {reference}, which failed'
      for name, variant in _WITHOUT_EXAMPLES.items()
    }
    self.assertEqual(record['failed'], expected)
    self.assertEmpty(os.listdir(self._staging))

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
    with self.assertRaisesRegex(ValueError, '^Expected a released model at .*, found a damaged file'):
      self._export()
    self.assertEmpty(pathlib.Path(f'/proc/self/task/{os.getpid()}/children').read_text().split())

  def test_a_keras_model_that_needs_too_much_fails(self) -> None:
    with self.assertRaisesRegex(guard.Failed, 'its limit of 0.2 s'):
      self._export(limits=guard.Limits(seconds=0.2))


class _Conversion(guard.Call):
  """One without a process."""

  def __init__(self, content: bytes | forms.Unsuitable | guard.Failed = b'a file') -> None:
    self._content = content

  def result(self) -> bytes | forms.Unsuitable:
    if isinstance(self._content, guard.Failed):
      raise self._content
    return self._content


class _Learning(dynamic_range.DynamicRange):
  name = 'learning'
  calibration = 'public'


class StartTest(absltest.TestCase):
  def test_conversions_start_a_few_at_a_time(self) -> None:
    started: list[str] = []

    def start(own: str) -> guard.Call:
      started.append(own)
      return _Conversion()

    variants = dict.fromkeys('abcde', registry.VARIANTS['float32'])
    with mock.patch.object(exporter, '_AT_ONCE', 2):
      conversions = exporter._start_in_turn(start, variants)
      seen = [(own, len(started)) for own, _, _ in conversions]
    self.assertEqual(seen, [('a', 2), ('b', 3), ('c', 4), ('d', 5), ('e', 5)])
    self.assertEqual(started, list('abcde'))


class CheckTest(parameterized.TestCase):
  """Of files that are made up, without TensorFlow."""

  def _accept(
    self, end: parity.End, quantized: Mapping[str, quantization.Quantization] | None = None
  ) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Returns what is accepted, what failed, and the files, if a second variant has that input or output."""
    logits, labels = np.zeros((1, *fakes.CHARACTERS.label.shape, 20)), np.zeros((1, 12), int)
    ends: list[parity.End] = [('input', 'characters', 'int32', (1, 12)), ('output', 'logits', 'float32', (1, 12, 20))]
    others = [end if end[0] == each[0] else each for each in ends]
    variants = {**_FLOAT32, 'mine:OWN': _UnheardOf()}

    def call(limits: guard.Limits, function: object, path: str, features: object, own: str) -> Any:
      self.assertIs(function, tflite.check)
      if own == 'float32':
        return parity.Answers(logits, ends, {'float32': 7}), 'of float32'
      return parity.Answers(logits, others, {'float32': 7}, quantized or {}), f'of {own}'

    staging = self.create_tempdir().full_path
    check = exporter._Check(
      'mine', fakes.CHARACTERS, parity.Examples(labels, labels), parity.Reference(logits, 7, 1), staging, _LIMITS
    )
    with mock.patch.object(guard, 'call', call):
      accepted, failed = check.accept_all([(own, variant, _Conversion()) for own, variant in variants.items()])
    self.assertEqual(check.signatures, {'whole': ends})
    self.assertEqual(accepted['float32']['summary'], 'of float32')
    self.assertEqual(accepted['float32']['compressed_bytes'], len(zlib.compress(b'a file', 9)))
    return accepted, failed, os.listdir(staging)

  def test_files_of_one_signature(self) -> None:
    accepted, failed, written = self._accept(('input', 'characters', 'int32', (1, 12)))
    self.assertEqual((list(accepted), failed), (['float32', 'unheard_of'], {}))
    self.assertNotIn('quantized', accepted['unheard_of'])
    self.assertLen(written, 2)

  @parameterized.parameters(False, True)
  def test_a_model_without_a_form(self, is_default: bool) -> None:
    """Nobody asked for a variant of the default; one that somebody asked for fails with the reason."""
    labels = np.zeros((1, 12), int)
    logits = np.zeros((1, *fakes.CHARACTERS.label.shape, 20))
    check = exporter._Check(
      'mine',
      fakes.CHARACTERS,
      parity.Examples(labels, labels),
      parity.Reference(logits, 7, 1),
      self.create_tempdir().full_path,
      _LIMITS,
      is_default,
    )
    names = ('step', 'step_dynamic_range')
    accepted, failed = check.accept_all(
      [(name, registry.VARIANTS[name], _Conversion(forms.Unsuitable('no steps'))) for name in names]
    )
    reason = 'not made: it has the graph of step, which failed'
    self.assertEqual((accepted, failed), ({}, {} if is_default else {'step': 'no steps', 'step_dynamic_range': reason}))

  def test_a_file_of_integers_that_stand_for_numbers(self) -> None:
    end = ('output', 'logits', 'int8', (1, 12, 20))
    accepted, failed, _ = self._accept(end, {'output': quantization.Quantization('int8', 0.5, 3)})
    self.assertEqual(failed, {})
    expected = {'output': {'dtype': 'int8', 'scale': 0.5, 'zero_point': 3}}
    self.assertEqual(accepted['unheard_of']['quantized'], expected)
    other = ('output', 'other', 'int8', (1, 12, 20))
    _, failed, _ = self._accept(other, {'output': quantization.Quantization('int8', 0.5, 3)})
    self.assertIn('found other of int8', failed['unheard_of'])

  def test_knows_which_of_those_that_learn_refused_the_model(self) -> None:
    labels = np.zeros((1, 12), int)
    reference = parity.Reference(np.zeros((1, 12, 20)), 7, 1)
    staging = self.create_tempdir().full_path
    check = exporter._Check('mine', fakes.CHARACTERS, parity.Examples(labels, labels), reference, staging, _LIMITS)
    conversions = [('float16', registry.VARIANTS['float16']), ('learning', _Learning())]
    _, failed = check.accept_all(
      [(own, each, _Conversion(guard.Refused('Expected no GRU'))) for own, each in conversions]
    )
    self.assertEqual(failed, {'float16': 'Expected no GRU', 'learning': 'Expected no GRU'})
    self.assertEqual(check.refused, ['learning'])

  @parameterized.parameters(
    (
      ('input', 'characters', 'int8', (1, 12)),
      'input of float32, characters of int32 .1, 12., found characters of int8',
    ),
    (('input', 'other', 'int32', (1, 12)), r'input of float32, .*, found other of int32 \[1, 12\]: convert the model'),
    (('input', 'characters', 'int32', (1, 6)), r'input of float32, .*, found characters of int32 \[1, 6\]'),
    (('output', 'other', 'float32', (1, 12, 20)), 'output of float32, logits of float32 .*, found other of float32'),
  )
  def test_a_file_of_another_signature_fails_alone(self, end: parity.End, message: str) -> None:
    accepted, failed, written = self._accept(end)
    self.assertEqual((list(accepted), written), (['float32'], ['mine.float32.tflite']))
    self.assertRegex(failed['unheard_of'], f'^Expected the {message}')


if __name__ == '__main__':
  absltest.main()
