"""Tests that variants are found by name, and that what is none is refused with a remedy."""

import sys
import types
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from export import parity
from export.variants import base
from export.variants import registry
from tests.export import fakes


class _Own(base.Variant):
  name = 'own'
  summary = 'own'
  bounds = parity.Bounds(0.9, None)

  def convert(self, model: object, calibration: object) -> bytes:
    return b''


def _make(**changes: Any) -> _Own:
  variant = _Own()
  for name, value in changes.items():
    setattr(variant, name, value)
  return variant


class _Bare(base.Variant):
  def convert(self, model: object, calibration: object) -> bytes:
    return b''


class RegistryTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._module: Any = types.ModuleType('variants_of_mine')
    self.enterContext(mock.patch.dict(sys.modules, {'variants_of_mine': self._module}))

  def test_built_in_variants_are_found_by_their_names(self) -> None:
    found = registry.find_all(['float16', 'float32', 'dynamic_range'])
    self.assertEqual(list(found), ['float16', 'float32', 'dynamic_range'])
    self.assertEqual([variant.name for variant in found.values()], list(found))
    self.assertContainsSubset(registry.DEFAULT, registry.VARIANTS)
    for name in found:
      self.assertEqual(registry.reference_of(registry.VARIANTS[name]).name, 'float32')

  def test_the_default_depends_on_what_is_learned(self) -> None:
    self.assertEqual(registry.choose_default(fakes.HANDWRITING), ('float32', 'dynamic_range'))
    self.assertEqual(
      registry.choose_default(fakes.CHARACTERS), ('float32', 'dynamic_range', 'step', 'step_dynamic_range')
    )
    self.assertContainsSubset(registry.DEFAULT_OF_SEQUENCES, registry.VARIANTS)
    self.assertEqual(registry.LEARNING, ('int8', 'int8_io', 'qat', 'clustered', 'pruned'))

  def test_one_of_ones_own_is_found(self) -> None:
    self._module.OWN = _make()
    self.assertIs(registry.find_all(['float32', 'variants_of_mine:OWN'])['variants_of_mine:OWN'], self._module.OWN)
    self._module.OWN = _make(calibration='public')
    self.assertIs(registry.find('variants_of_mine:OWN'), self._module.OWN)

  @parameterized.parameters(
    ([], 'Expected at least one variant in --variants, found none: write --variants=float32,dynamic_range'),
    (['float61'], "one of float32, float16, dynamic_range, int8, .*, found 'float61': did you mean float16"),
    (['zip'], "one of float32, .*, found 'zip': write"),
    ([''], "found '': write"),
    (['float32', 'float16', 'float32'], 'Expected each variant once in --variants, found float32 twice: write it once'),
    (['variants_of_mine:OWN', 'variants_of_mine:OTHER'], 'found own twice: .* give variants of your own different'),
    (['variants_of_mine:ONW'], "no attribute 'ONW' there: did you mean variants_of_mine:OWN"),
    (['no_module_of_mine:OWN'], 'Expected --variants that can be imported'),
  )
  def test_a_list_that_is_wrong(self, names: list[str], message: str) -> None:
    self._module.OWN, self._module.OTHER = _make(), _make()
    with self.assertRaisesRegex(ValueError, message):
      registry.find_all(names)

  @parameterized.parameters(
    (_Own, 'found the class .*: add VARIANT = _Own'),
    (b'bytes', 'of type bytes: derive a class from Variant'),
    (_Bare(), 'a name of its own .*, found None'),
    (_make(name='float32'), "a name of its own .*, found 'float32'"),
    (_make(name='../own'), "a name of its own .*, found '../own'"),
    (_make(summary=3), 'to have a summary'),
    (_make(bounds=0.9), r'to have bounds, found none: add bounds = parity.Bounds\('),
    (_make(form='stepwise'), "to have a form among whole, step, train, found 'stepwise': choose one of these"),
    (_make(form=['step']), r"to have a form among whole, step, train, found \['step'\]"),
    (_make(calibration='some'), "to have a calibration among none, public, released, found 'some': remove it"),
    (_make(max_examples=0), "to have max_examples >= 1 and a phrase learned, found 0 and 'ranges or weights': remove"),
    (_make(learned=None), 'to have max_examples >= 1 and a phrase learned, found 500 and None'),
  )
  def test_what_is_no_variant(self, value: Any, message: str) -> None:
    self._module.OWN = value
    with self.assertRaisesRegex(ValueError, f'^Expected .*{message}'):
      registry.find('variants_of_mine:OWN')


if __name__ == '__main__':
  absltest.main()
