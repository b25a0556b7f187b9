"""Tests of the data that variants learn from: what is refused, and what the folder says of the rest."""

import dataclasses
import os
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import client_shards
from export import calibration
from export import parity
from export.variants import registry
from tests.export import fakes


class CalibrationTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._folder = self.create_tempdir().full_path
    self._run = self._write('run')

  def _write(self, name: str, **arguments: Any) -> client_shards.ClientShards:
    path = os.path.join(self._folder, name)
    return client_shards.ClientShards(fakes.write_shards(path, **arguments))

  def _open(self, public: str | None = None, released: str | None = None, accepted: bool = False) -> Any:
    first, second = (name and os.path.join(self._folder, name) for name in (public, released))
    return calibration.open_data(first, second, accepted, self._run)

  def test_no_flags_no_data(self) -> None:
    self.assertIsNone(self._open())

  def test_public_data(self) -> None:
    shards = self._write('public', split='train', prefix='else')
    data = self._open('public')
    self.assertEqual((data.kind, data.shards.path), ('public', shards.path))
    np.testing.assert_array_equal(data.read(100).labels, parity.read_evenly(shards, 'train', 100).labels)
    self.assertLen(data.read(5).labels, 5)
    said = data.describe([registry.VARIANTS['int8'], registry.VARIANTS['qat']])
    name = os.path.join(os.path.basename(self._folder), 'public')
    self.assertEqual(
      said['statement'],
      f'Some files learned from examples of {name} (28 examples of 7 users), which the exporter declared public (int8: '
      'the ranges of the values inside, from 28 examples; qat: the weights and the ranges of the values inside, from '
      '28 examples).',
    )
    self.assertEqual((said['kind'], said['folder'], said['examples']), ('public', name, {'int8': 28, 'qat': 28}))

  def test_data_of_clients(self) -> None:
    self._write('clients', split='train', prefix='else')
    data = self._open(released='clients', accepted=True)
    self.assertEqual(data.kind, 'released')
    statement = data.describe([registry.VARIANTS['pruned']])['statement']
    self.assertStartsWith(statement, "Some files learned from clients' training data, examples of ")
    self.assertIn('(pruned: the weights, from 28 examples)', statement)
    self.assertEndsWith(statement, 'the epsilon of the run does not cover what these files say about those clients.')
    self.assertNotIn('public', statement)

  @parameterized.parameters(
    (('a', 'a', True), 'Expected one data set to learn from, found --public_data and --calibration_shards: remove one'),
    (('a', None, True), 'Expected --calibration_shards with --accept_unaccounted_calibration, found none: add it, or'),
    ((None, None, True), 'Expected --calibration_shards with --accept_unaccounted_calibration, found none'),
    ((None, 'a', False), "found clients' data in --calibration_shards: .* add --accept_unaccounted_calibration to"),
    (('missing', None, False), 'Expected a finished data set in .*missing, found no manifest.json'),
    (('empty', None, False), 'Expected examples of the train split in .*empty, found none: .* give another --public_d'),
    (('held_out', None, False), 'Expected examples of the train split in .*held_out, found none'),
    (
      ('other', None, False),
      'Expected examples in .*other of the schema that the model was trained on, found another cl',
    ),
    (
      ('same', None, False),
      'Expected no held-out user of the run in the train split of .*same, found 7: the files are',
    ),
    ((None, 'same', True), 'Expected no held-out user of the run in the train split of .*same, found 7'),
  )
  def test_data_that_does_not_fit(self, flags: tuple[Any, ...], message: str) -> None:
    self._write('a', split='train', prefix='else')
    self._write('empty', num_users=0)
    self._write('held_out', prefix='else')
    schema = dataclasses.replace(fakes.CHARACTERS, classes=tuple('abcdefghijklmnopqrst'))
    self._write('other', schema=schema, split='train', prefix='else')
    self._write('same', split='train')
    with self.assertRaisesRegex(ValueError, message):
      self._open(*flags)

  def test_the_data_of_the_run_is_not_public(self) -> None:
    self._run = self._write('trained', split='train', prefix='else')
    with self.assertRaisesRegex(
      ValueError, 'found 7 clients of the .* training data in it: give it as --calibration_shards, with --accept_unacc'
    ):
      self._open('trained')
    self.assertEqual(self._open(released='trained', accepted=True).kind, 'released')  # As the message says.

  def test_variants_without_examples(self) -> None:
    variants = {name: registry.VARIANTS[name] for name in ('float32', 'int8')}
    with self.assertRaisesRegex(
      ValueError, 'Expected examples for int8, which learns from them, found none: add --pub'
    ):
      calibration.check(variants, None)
    calibration.check({'float32': registry.VARIANTS['float32']}, None)
    self._write('clients', split='train', prefix='else')
    calibration.check(variants, self._open('clients'))

  def test_a_variant_that_takes_public_examples_only(self) -> None:
    self._write('clients', split='train', prefix='else')

    class Public(type(registry.VARIANTS['int8'])):  # type: ignore[misc]
      calibration = 'public'

    calibration.check({'mine:OWN': Public()}, self._open('clients'))
    with self.assertRaisesRegex(ValueError, "Expected public examples for mine:OWN, .* found clients' data"):
      calibration.check({'mine:OWN': Public()}, self._open(released='clients', accepted=True))


if __name__ == '__main__':
  absltest.main()
