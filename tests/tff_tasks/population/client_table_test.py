"""Tests of CSV files that say something of each training client; those who read them have further ones."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from contracts import client_shards
from tests.tff_tasks import fakes
from tff_tasks.population import client_table


class ReadTest(parameterized.TestCase):
  shards: client_shards.ClientShards
  ids: list[str]

  @classmethod
  def setUpClass(cls) -> None:
    super().setUpClass()
    cls.shards = fakes.write_shards(os.path.join(cls.enterClassContext(tempfile.TemporaryDirectory()), 'shards'))
    cls.ids = [cls.shards.client_id('train', client) for client in range(len(fakes.SIZES))]

  def _read(self, *lines: str) -> client_table.Table:
    path = self.create_tempfile('t.csv', content='\n'.join(lines)).full_path
    return client_table.read(path, 'list', 'a number', self.shards)

  def test_rows_know_their_line_and_their_client(self) -> None:
    other = self.shards.client_id('test', 0)
    table = self._read('client, number', f'{other},7', '', *(f'{one.upper()},{i}' for i, one in enumerate(self.ids)))
    self.assertEqual((table.what, table.columns), ('the list t.csv', ['number']))
    self.assertEqual(table.rows[0], client_table.Row(2, other, None, ['7']))
    self.assertEqual(table.rows[1], client_table.Row(4, self.ids[0], 0, ['0']))
    self.assertEqual([row.client for row in table.rows[1:]], list(range(len(self.ids))))

  @parameterized.named_parameters(
    ('header', 'client', 'Expected a first line with "client" and a number in the list t.csv, found another: write it'),
    ('empty', '', 'Expected a first line with "client" and a number'),
  )
  def test_headers(self, header: str, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      self._read(header)

  def test_each_client_has_one_line(self) -> None:
    lines = ['client,number', *(f'{one},1' for one in self.ids)]
    with self.assertRaisesRegex(ValueError, 'one line for each client in the list .*one again in line 10: leave one'):
      self._read(*lines, lines[1])
    with self.assertRaisesRegex(ValueError, f'a line for each of 8 .*none for 1, such as {self.ids[7]}: add them'):
      self._read(*lines[:-1])
    with self.assertRaisesRegex(
      ValueError, 'Expected ids of clients in the list t.csv, found something else in line 2'
    ):
      self._read('client,number', 'anna,1', *lines[1:])


if __name__ == '__main__':
  absltest.main()
