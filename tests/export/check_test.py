"""Tests which files are accepted, of files that are made up, without TensorFlow."""

from collections.abc import Mapping
import os
from typing import Any
from unittest import mock
import zlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from export import check as check_lib
from export import guard
from export import parity
from export import quantization
from export import tflite
from export.variants import float32
from export.variants import registry
from models import unsupported
from tests.export import fakes

_LIMITS = guard.Limits()
_FLOAT32 = {'float32': registry.VARIANTS['float32']}


class _UnheardOf(float32.Float32):
  name = 'unheard_of'


class _Conversion(guard.Call):
  """One without a process."""

  def __init__(self, content: bytes | unsupported.Unsupported | guard.Failed = b'a file') -> None:
    self._content = content

  def result(self) -> bytes | unsupported.Unsupported:
    if isinstance(self._content, guard.Failed):
      raise self._content
    return self._content


class CheckTest(parameterized.TestCase):
  def _accept(
    self, end: parity.End, quantized: Mapping[str, quantization.Quantization] | None = None
  ) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Returns what is accepted, what failed, and the files, if a second variant has that input or output."""
    logits, labels = np.zeros((1, *fakes.CHARACTERS.label.shape, 20)), np.zeros((1, 12), int)
    ends: list[parity.End] = [('input', 'characters', 'int32', (1, 12)), ('output', 'logits', 'float32', (1, 12, 20))]
    others = [end if end[0] == each[0] else each for each in ends]
    variants = {**_FLOAT32, 'mine:OWN': _UnheardOf()}

    def call(limits: guard.Limits, function: object, path: str, features: object, own: str, flex: bool) -> Any:
      self.assertEqual((function, flex), (tflite.check, True))
      if own == 'float32':
        return parity.Answers(logits, ends, {'float32': 7}), 'of float32'
      return parity.Answers(logits, others, {'float32': 7}, quantized or {}), f'of {own}'

    staging = self.create_tempdir().full_path
    check = check_lib.Check(
      'mine',
      fakes.CHARACTERS,
      parity.Examples(labels, labels),
      logits,
      staging,
      _LIMITS,
      allow_flex=True,
    )
    with mock.patch.object(guard, 'call', call):
      accepted, failed = check.accept_all([(own, variant, _Conversion()) for own, variant in variants.items()])
    # In whatever order: integers stand for the numbers of the other file.
    first = dict(reversed(accepted.items())) if quantized else accepted
    self.assertEqual(check.find_signatures(first), {'whole': ends})
    alone = {name: each for name, each in accepted.items() if name != 'float32'}
    self.assertEqual(check.find_signatures(alone), {'whole': others} if alone else {})
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
    """Nobody asked for a variant of the default, which is skipped; one that somebody asked for fails."""
    labels = np.zeros((1, 12), int)
    logits = np.zeros((1, *fakes.CHARACTERS.label.shape, 20))
    check = check_lib.Check(
      'mine',
      fakes.CHARACTERS,
      parity.Examples(labels, labels),
      logits,
      self.create_tempdir().full_path,
      _LIMITS,
      is_default,
    )
    names = ('step', 'step_dynamic_range')
    accepted, failed = check.accept_all(
      [(name, registry.VARIANTS[name], _Conversion(unsupported.Unsupported('no steps'))) for name in names]
    )
    reason = 'not made: it has the graph of step, which failed'
    self.assertEqual((accepted, failed), ({}, {} if is_default else {'step': 'no steps', 'step_dynamic_range': reason}))
    self.assertEqual(check.skipped, dict.fromkeys(names, 'no steps') if is_default else {})

  def test_a_file_of_integers_that_stand_for_numbers(self) -> None:
    end = ('output', 'logits', 'int8', (1, 12, 20))
    accepted, failed, _ = self._accept(end, {'output': quantization.Quantization('int8', 0.5, 3)})
    self.assertEqual(failed, {})
    expected = {'output': {'dtype': 'int8', 'scale': 0.5, 'zero_point': 3}}
    self.assertEqual(accepted['unheard_of']['quantized'], expected)
    other = ('output', 'other', 'int8', (1, 12, 20))
    _, failed, _ = self._accept(other, {'output': quantization.Quantization('int8', 0.5, 3)})
    self.assertIn('found other of int8', failed['unheard_of'])

  def test_another_error_than_that_a_layer_is_not_supported_is_a_failure(self) -> None:
    labels = np.zeros((1, 12), int)
    reference = np.zeros((1, 12, 20))
    staging = self.create_tempdir().full_path
    check = check_lib.Check(
      'mine', fakes.CHARACTERS, parity.Examples(labels, labels), reference, staging, _LIMITS, is_default=True
    )
    contents: dict[str, unsupported.Unsupported | guard.Failed] = {
      'int8': guard.Refused('Expected a range'),
      'qat': unsupported.Unsupported('Expected no GRU'),
    }
    _, failed = check.accept_all(
      [(name, registry.VARIANTS[name], _Conversion(content)) for name, content in contents.items()]
    )
    self.assertEqual((failed, check.skipped), ({'int8': 'Expected a range'}, {'qat': 'Expected no GRU'}))

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
