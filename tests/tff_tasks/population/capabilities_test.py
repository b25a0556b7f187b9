"""Tests of capability classes: which client has which, and what it does in a round; each remedy is executed."""

import dataclasses
import os
import pathlib
import tempfile
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import client_shards
from tests import documented
from tests.tff_tasks import fakes
from tests.tff_tasks.population.samplers import draws
from tff_tasks.population import capabilities
from tff_tasks.population import client_data
from tff_tasks.population import seeds

_SHARES = '[classes.high]\nshare = 0.25\nepochs = 3\n[classes.low]\nshare = 0.75\nbatch_size = 2\nexamples = 0.5\n'
_COLUMN = 'clients = "classes.csv"\n[classes.high]\nepochs = 3\n[classes.low]\nbatch_size = 2\nexamples = 0.5\n'
_NAMES = ['high', 'low', 'high', 'low', 'low', 'low', 'low', 'high']


class CapabilitiesTestCase(parameterized.TestCase):
  shards: client_shards.ClientShards

  @classmethod
  def setUpClass(cls) -> None:
    super().setUpClass()
    cls.shards = fakes.write_shards(os.path.join(cls.enterClassContext(tempfile.TemporaryDirectory()), 'shards'))

  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.rows = [[self.shards.client_id('train', client), name] for client, name in enumerate(_NAMES)]

  def read(self, text: str, rows: Any = None, header: str = 'client,class') -> capabilities.Capabilities:
    path = self.folder / 'capabilities.toml'
    path.write_text(text)
    lines = [header, *map(','.join, self.rows if rows is None else rows)]
    (self.folder / 'classes.csv').write_text('\n'.join(lines))
    found = capabilities.read(str(path), self.shards, 1, 4)
    assert found is not None
    return found

  def refuse(self, text: str, message: str, rows: Any = None, header: str = 'client,class') -> None:
    with self.assertRaisesRegex(ValueError, message) as caught:
      self.read(text, rows, header)
    self.assertNotIn('\n', str(caught.exception))
    self.assertNotIn('anna', str(caught.exception))


class ClassesTest(CapabilitiesTestCase):
  def test_without_a_file_all_do_the_same(self) -> None:
    self.assertIsNone(capabilities.read(None, self.shards, 1, 4))

  @parameterized.parameters(_SHARES, _COLUMN)
  def test_a_class_does_what_it_says_and_otherwise_what_the_flags_say(self, text: str) -> None:
    found = self.read(text)
    high, low = capabilities.Capability('high', 3, 4, 1.0), capabilities.Capability('low', 1, 2, 0.5)
    self.assertEqual((found.classes, found.names, found.largest_batch), ((high, low), ['high', 'low'], 4))
    for client, number in enumerate(found.class_of):
      self.assertEqual(found.work[client].tolist(), [[3, 4], [1, 2]][number])

  def test_a_column_says_the_class_of_each_client(self) -> None:
    others = [[self.shards.client_id('test', 0), 'low']]
    found = self.read(_COLUMN, [*others, *self.rows[::-1]])
    self.assertEqual([found.names[number] for number in found.class_of], _NAMES)
    self.assertEqual(found.count(np.array([0, 1, 3])), {'high': 1, 'low': 2})
    self.assertEqual(found.count(np.array([], np.int32)), {'high': 0, 'low': 0})

  def test_a_share_of_the_examples_is_at_least_one(self) -> None:
    found = self.read(_COLUMN)
    self.assertEqual(found.limit(np.array(fakes.SIZES)).tolist(), [1, 20, 3, 1, 8, 1, 4, 5])

  def test_its_name_counts_clients_and_tells_contents_apart(self) -> None:
    plain = self.read(_COLUMN).name
    self.assertRegex(plain, '^high 3, low 5 clients, SHA-256 [0-9a-f]{16}$')
    # The form does not matter, nor the order of rows.
    self.assertEqual(self.read('# A comment.\n' + _COLUMN, self.rows[::-1]).name, plain)
    self.assertNotEqual(self.read(_COLUMN.replace('0.5', '0.6')).name, plain)
    changed = [[self.rows[0][0], 'low'], [self.rows[1][0], 'high'], *self.rows[2:]]
    self.assertNotEqual(self.read(_COLUMN, changed).name, plain)

  def test_the_files_of_the_docs(self) -> None:
    text = documented.read('docs/train.md')
    (block,) = [one for one in documented.blocks('', text) if one.first_line == '# capabilities.toml']
    found = self.read(block.text)
    expected = capabilities.Capability('high', 2, 4, 1.0), capabilities.Capability('low', 1, 4, 0.5)
    self.assertEqual(found.classes[::2], expected)
    header = next(one for one in documented.blocks('', text) if one.first_line == 'client,class').first_line
    self.read(_COLUMN, header=header)


class SharesTest(CapabilitiesTestCase):
  def test_classes_have_their_shares(self) -> None:
    """The ids are fixed, and so are the classes: without chance, no false alarm."""
    drawn = capabilities._draw([0.25, 0.75], draws.ids(2000))
    self.assertAlmostEqual(drawn.mean(), 0.75, delta=5 * (0.1875 / 2000) ** 0.5)

  def test_a_client_that_is_removed_leaves_everybody_elses_class(self) -> None:
    ids = draws.ids(60)
    whole, rest = (capabilities._draw([0.25, 0.5, 0.25], some) for some in (ids, np.delete(ids, 7, axis=0)))
    self.assertEqual(np.delete(whole, 7).tolist(), rest.tolist())
    self.assertLen(set(rest.tolist()), 3)


class WorkTest(CapabilitiesTestCase):
  def _source(self, most: int = 99) -> client_data.ClientDataSource:
    return client_data.ClientDataSource(
      self.shards, 4, most, seeds.Seed.from_number(1), capabilities=self.read(_COLUMN)
    )

  def test_a_client_uses_its_share_drawn_anew_each_round(self) -> None:
    drawn = []
    for number in range(20):
      cohort = self._source().cohort(number, np.array([1]))
      dataset = cohort.load(0)
      self.assertEqual((dataset.num_examples, dataset.work.tolist()), (20, [1, 2]))
      drawn.append(fakes.examples(dataset)[0].tobytes())
    self.assertLen(set(drawn), 20)
    self.assertEqual(self._source(most=7).cohort(1, np.array([1])).load(0).num_examples, 7)

  def test_clients_of_a_capacity_are_neighbors(self) -> None:
    source = self._source()
    clients = source.cohort(1, np.arange(len(fakes.SIZES))).clients
    # The client of 9 examples uses 4, fewer than the one of 5.
    self.assertEqual(source.used_examples[clients].tolist(), [20, 8, 5, 4, 3, 1, 1])
    self.assertEqual(clients.tolist(), [1, 4, 7, 6, 2, 5, 0])

  def test_reused_memory_has_the_work_of_the_client(self) -> None:
    source = self._source()
    cohort = source.cohort(1, np.arange(len(fakes.SIZES)))
    block = client_data.ClientDataset(*(np.ones(shape, dtype) for shape, dtype in source.block_specs(7, 256)))
    cohort.load_block(range(7), block)
    self.assertEqual(block.work.tolist(), [[3, 4] if _NAMES[one] == 'high' else [1, 2] for one in cohort.clients])
    dataclasses.replace(source, capabilities=None).cohort(1, cohort.clients).load_block(range(7), block)
    self.assertEqual(block.work.tolist(), [[0, 0]] * 7)


class RefusalsTest(CapabilitiesTestCase):
  @parameterized.named_parameters(
    (
      'epochs',
      'epochs = 3',
      'epochs = 0',
      'epochs of .classes.high. to be an integer .* 1 in .*found 0: set epochs = 1',
      'epochs = 1',
    ),
    (
      'batch',
      'batch_size = 2',
      'batch_size = 0.5',
      'batch_size of .classes.low. .*0.5: set batch_size = 1',
      'batch_size = 1',
    ),
    ('bool', 'batch_size = 2', 'batch_size = true', 'found true: set batch_size = 1', 'batch_size = 1'),
    (
      'no_example',
      'examples = 0.5',
      'examples = 0',
      'examples of .* above 0 and at most 1 .*found 0: set examples = 0.5',
      'examples = 0.5',
    ),
    ('more', 'examples = 0.5', 'examples = 1.5', 'found 1.5: set examples = 0.5 or the like', 'examples = 0.5'),
    ('nan', 'examples = 0.5', 'examples = nan', 'found NaN: set examples = 0.5', 'examples = 0.5'),
    (
      'key',
      'epochs = 3',
      'epoch = 3',
      "a key of .classes.high. in .*found 'epoch': did you mean epochs[?]",
      'epochs = 3',
    ),
    ('far', 'epochs = 3', 'x = 3', "found 'x': choose among share, epochs, batch_size, examples", 'epochs = 3'),
    (
      'table',
      'clients = ',
      'client = ',
      "clients or classes in .*found 'client': did you mean clients[?]",
      'clients = ',
    ),
    (
      'column',
      'clients = "classes.csv"',
      'clients = 3',
      'found something else: write it like clients = "classes.csv"',
      'clients = "classes.csv"',
    ),
    (
      'no_column',
      'clients = "classes.csv"',
      'clients = "gone.csv"',
      'CSV file in .*No such file .*gone.csv: correct it',
      'clients = "classes.csv"',
    ),
    ('both', 'epochs = 3', 'share = 1', 'Expected shares or clients .*found both: leave one out', 'epochs = 3'),
    (
      'name',
      '[classes.low]',
      '[classes."a,b"]',
      'names of classes of letters, digits, _ and - in .*another: rename',
      '[classes.low]',
    ),
    (
      'toml',
      '[classes.low]',
      '[classes.low',
      'Expected TOML in .*found a mistake .*line 4.*: correct it',
      '[classes.low]',
    ),
  )
  def test_what_is_refused_and_its_remedy(self, good: str, wrong: str, message: str, remedy: str) -> None:
    text = _COLUMN.replace(good, wrong)
    self.assertNotEqual(text, _COLUMN)
    self.refuse(text, message)
    self.read(text.replace(wrong, remedy))

  @parameterized.parameters(
    ('share = 0.75', 'share = 0.7', 'add up to 1 in .*found 0.95: set share = 0.75 in .classes.low.', 'share = 0.75'),
    ('share = 0.75\n', '', 'a share of .classes.low. .*none: add share = 0.5 or the like to each', 'share = 0.75\n'),
  )
  def test_shares(self, good: str, wrong: str, message: str, remedy: str) -> None:
    self.refuse(_SHARES.replace(good, wrong), message)
    self.read(_SHARES.replace(good, remedy))

  def test_shares_that_are_too_large_or_none(self) -> None:
    self.refuse('[classes.a]\nshare = 1\n[classes.b]\nshare = 1\n', 'found 2: set smaller ones')
    self.refuse('[classes.a]\nepochs = 1\n', 'or a line clients = "classes.csv" above all classes')
    self.read('clients = "classes.csv"\n[classes.high]\nepochs = 1\n[classes.low]\n')
    for text in ('', '[classes]\n', 'classes = 3\n', '[classes]\na = 3\n'):
      self.refuse(text, r'Expected classes in .*found none: write a table such as \[classes.slow\] for each')
    self.read('[classes.slow]\nshare = 1.0')

  @parameterized.named_parameters(
    (
      'gone',
      'gone.toml',
      'Expected --capabilities to be the path of a TOML file, found No such file .*gone.toml: corr',
    ),
    ('folder', '', 'Expected --capabilities to be the path .*found Is a directory'),
  )
  def test_files_that_are_not_there(self, name: str, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      capabilities.read(str(self.folder / name), self.shards, 1, 4)

  def test_a_column_that_does_not_fit_the_shards(self) -> None:
    self.refuse(_COLUMN, 'a line for each of 8 training clients in the column of classes classes.csv', self.rows[:-1])
    self.refuse(
      _COLUMN, 'clients that the shards have in .*another in line 10: remove that line', [*self.rows, ['0' * 32, 'low']]
    )
    self.refuse(
      _COLUMN,
      r'Expected a class \(high, low\) in .*another in line 2: correct',
      [[self.rows[0][0], 'anna'], *self.rows[1:]],
    )
    self.refuse(_COLUMN, 'another in line 2', [[self.rows[0][0]], *self.rows[1:]])
    self.refuse(_COLUMN, 'Expected ids of clients in', [['anna', 'low'], *self.rows])
    self.refuse(_COLUMN, 'Expected a first line "client,class" in .*another: write it', header='client,size')
    self.read(_COLUMN)


if __name__ == '__main__':
  absltest.main()
