"""Tests of the data that variants learn from: what is refused, and what the folder says of the rest."""

from collections.abc import Mapping
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
from pipelines.featurizers import characters
from pipelines.featurizers import image
from pipelines.featurizers import table
from pipelines.featurizers import vocabularies
from pipelines.featurizers import words
from pipelines.limits import simulated_clients
from pipelines.shards import shard_writing
from pipelines.statistics import scaling
from tests.export import fakes

_DIRICHLET = simulated_clients.Partition('dirichlet', 600, 0.1)


def _job(key: str, content: str = 'a', partition: bool = False, public_ids: bool = False) -> dict[str, Any]:
  """Returns what the manifest of a job says of ids and input.

  Args:
    key: The fingerprint of the key.
    content: What the sha256 of the input is made of.
    partition: Whether the clients are simulated.
    public_ids: Whether the declaration calls the ids public.
  """
  said = fakes.manifest(characters.Characters('text', 12))
  said['declaration']['client']['public_ids'] = public_ids
  if partition:
    said['declaration']['partition'] = dataclasses.asdict(_DIRICHLET)
  return {
    'declaration': said['declaration'],
    'client_id_key': key,
    'input': {'files': 1, 'bytes': 5, 'sha256': content * 64},
  }


def _table(**arguments: Any) -> table.Table:
  return table.Table(**{'numbers': ('x', 'y'), 'label': 'label', 'classes': ('a', 'b'), **arguments})


class CalibrationTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._folder = self.create_tempdir().full_path
    self._run = self._write('run')

  def _write(self, name: str, said: Mapping[str, Any] | None = None, **arguments: Any) -> client_shards.ClientShards:
    """Writes a data set, whose manifest says what a job writes if it is given."""
    path = os.path.join(self._folder, name)
    shards = client_shards.ClientShards(fakes.write_shards(path, **arguments))
    if said:
      shard_writing.write_manifest(path, shards.schema, {**shards.manifest, **said})
    return client_shards.ClientShards(path)

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
    self.assertIs(data.read(100), data.read(28))  # Variants with other limits share what they read.
    said = data.describe([registry.VARIANTS['int8'], registry.VARIANTS['qat']], ['int8', 'qat'])
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
    statement = data.describe([registry.VARIANTS['pruned']], ['pruned'])['statement']
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

  def test_no_user_of_validation(self) -> None:
    self._run = self._write('validated', split='validation')
    self._write('same', split='train')
    with self.assertRaisesRegex(ValueError, 'Expected no held-out user of the run in .*same, found 7'):
      self._open('same')

  def test_ids_of_another_key(self) -> None:
    self._run = self._write('mine', _job('one'))
    self._write('other_key', _job('two', 'b'), split='train')
    with self.assertRaisesRegex(ValueError, 'found another key, .* preprocess it with the --client_id_key_file of the'):
      self._open(released='other_key', accepted=True)
    data = self._open('other_key')
    statement = data.describe([registry.VARIANTS['int8']], ['int8'])['statement']
    self.assertIn('of held-out clients of the run is among them could not be checked: its client ids were', statement)
    self._write('same_key', _job('one', 'b'), split='train', prefix='else')
    for each in (self._open('same_key'), self._open(released='same_key', accepted=True)):
      self.assertEqual(each.unchecked, '')
      self.assertNotIn('could not', each.describe([registry.VARIANTS['int8']], ['int8'])['statement'])

  def test_the_input_of_the_run_is_not_public(self) -> None:
    self._run = self._write('mine', _job('one'))
    self._write('again', _job('two'), split='train', prefix='else')
    with self.assertRaisesRegex(
      ValueError, 'found the input of the run in it, .*, or --calibration_shards=.*mine with'
    ):
      self._open('again')
    self._run = self._write('trained', _job('one'), split='train', prefix='else')
    with self.assertRaisesRegex(ValueError, 'found the input of the run in it'):
      self._open('trained')
    self.assertEqual(self._open(released='trained', accepted=True).unchecked, '')  # As the message says.

  def test_simulated_clients(self) -> None:
    # Equal in all data sets with simulated clients, whoever's rows they are.
    partition = _job('public', partition=True)
    self._run = self._write('mine', partition)
    self._write('public', _job('public', 'b', partition=True), split='train')
    data = self._open('public')
    self.assertIn('simulated clients have no', data.describe([registry.VARIANTS['int8']], ['int8'])['statement'])
    self._write('again', partition, split='train', prefix='else')
    with self.assertRaisesRegex(ValueError, 'found the input of the run in it'):
      self._open('again')
    with self.assertRaisesRegex(ValueError, 'Expected other rows than .* found the same input, split into other cl'):
      self._open(released='again', accepted=True)
    self._run = self._write('trained', partition, split='train')
    self.assertEqual(self._open(released='trained', accepted=True).unchecked, '')  # As the message says.

  def test_the_input_of_the_run_with_other_ids(self) -> None:
    self._run, job = self._write('mine', _job('one')), _job('one')
    job['declaration']['client']['id'] = 'device'
    self._write('devices', job, split='train', prefix='else')
    with self.assertRaisesRegex(ValueError, 'found the same input, split into other clients'):
      self._open(released='devices', accepted=True)
    self._write('splits', _job('one'), split='train', prefix='else')
    self.assertEqual(self._open(released='splits', accepted=True).unchecked, '')

  def test_public_ids_may_be_equal_by_chance(self) -> None:
    self._run = self._write('mine', _job('public', public_ids=True))
    self._write('numbers', _job('public', 'b', public_ids=True), split='train')
    with self.assertRaisesRegex(ValueError, 'found 7: .* equal by chance, write others into its input, such as other-'):
      self._open('numbers')
    self._write('renamed', _job('public', 'b', public_ids=True), split='train', prefix='else')
    self.assertEqual(self._open('renamed').unchecked, '')

  @parameterized.parameters(
    ({'scaling': scaling.Scaling('declared', mean=(5.0, 1.0), stddev=(1.0, 2.0))}, 'another scaling: '),
    ({'scaling': scaling.Scaling()}, 'another scaling: '),
    ({'numbers': ('y', 'x')}, 'another numbers: preprocess the data of --public_data with '),
  )
  def test_examples_made_in_another_way(self, differing: dict[str, Any], message: str) -> None:
    learned = scaling.Scaling('dp', epsilon=2.0, delta=1e-6, lower=(0.0, 0.0), upper=(10.0, 10.0))
    figures = {'statistic': 'mean and standard deviation', 'mean': [0.25, 1.0], 'stddev': [1.5, 2.0]}
    run, declared = _table(scaling=learned), scaling.Scaling('declared', mean=(0.25, 1.0), stddev=(1.5, 2.0))
    self._run = self._write('mine', fakes.manifest(run, learned=[figures]), schema=run.schema)
    other = _table(**{'scaling': declared, **differing})
    self._write('other', fakes.manifest(other), schema=run.schema, split='train', prefix='else')
    with self.assertRaisesRegex(ValueError, f'Expected examples in .*other made as those of the run, found {message}'):
      self._open('other')
    # As the message says: what was learned is declared. Names of labels are those of the log.
    fitting = fakes.manifest(_table(scaling=declared, label='other'))
    self._write('fitting', fitting, schema=run.schema, split='train', prefix='else')
    self.assertEqual(self._open('fitting').kind, 'public')

  def test_images_of_another_kind(self) -> None:
    run, other = (image.Image('image', 'digit', ('0', '1'), invert=invert) for invert in (False, True))
    self._run = self._write('mine', fakes.manifest(run), schema=run.schema)
    self._write('other', fakes.manifest(other), schema=run.schema, split='train', prefix='else')
    with self.assertRaisesRegex(ValueError, 'found another invert: preprocess the data of --calibration_shards with'):
      self._open(released='other', accepted=True)

  def test_a_learned_vocabulary_is_declared(self) -> None:
    learned = vocabularies.Words('dp', epsilon=2.0, delta=1e-6)
    run = words.Words('text', learned, 12)
    made = run.with_learned(('the', 'and'))
    self._run = self._write('mine', fakes.manifest(run, made), schema=made.schema)
    again = words.Words('text', learned, 12).with_learned(('the', 'end'))
    self._write('again', fakes.manifest(run, again), schema=again.schema, split='train', prefix='else')
    with self.assertRaisesRegex(ValueError, 'found another classes: .* declare what the run learned: source = "decl'):
      self._open('again')
    declared = words.Words('message', vocabularies.Words('declared', words=('the', 'and')), 12)
    self._write('declared', fakes.manifest(declared), schema=declared.schema, split='train', prefix='else')
    self.assertEqual(self._open('declared').kind, 'public')

  def test_a_file_that_was_dropped(self) -> None:
    self._write('clients', split='train', prefix='else')
    learning = [registry.VARIANTS[name] for name in ('int8', 'qat')]
    statement = self._open('clients').describe(learning, ['int8'])['statement']
    self.assertIn('(int8: the ranges', statement)
    self.assertIn('qat, of which only figures or a failure are here: the weights', statement)

  def test_examples_that_nothing_learns_from(self) -> None:
    self._write('clients', split='train', prefix='else')
    float32 = {'float32': registry.VARIANTS['float32']}
    for data, flag in ((self._open('clients'), 'public_d'), (self._open(None, 'clients', True), 'calibration_s')):
      with self.assertRaisesRegex(ValueError, f'the examples of --{flag}.*, found float32: add one, such as int8, to'):
        calibration.check(float32, data)
      calibration.check({**float32, 'int8': registry.VARIANTS['int8']}, data)

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
