"""Tests of finding columns: every format finds nested keys alike, and says alike which column is not there."""

from collections.abc import Mapping, Sequence
import json
import pathlib
import tempfile
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import fastavro
import pyarrow as pa
from pyarrow import parquet as arrow_parquet

from pipelines.readers import avro
from pipelines.readers import base
from pipelines.readers import delimited
from pipelines.readers import jsonl
from pipelines.readers import lookup
from pipelines.readers import parquet
from tests.pipelines.readers import reading

_ROWS: list[dict[str, Any]] = [
  {'user': {'id': f'u{number}', 'home': {'zip': number}}, 'm': 'hi', 'a.b': number if number % 3 else None}
  for number in range(9)
]
_AVRO: dict[str, Any] = {
  'type': 'record',
  'name': 'log',
  'fields': [
    {
      'name': 'user',
      'type': [
        'null',
        {
          'type': 'record',
          'name': 'user',
          'fields': [
            {'name': 'id', 'type': ['null', 'string']},
            {'name': 'home', 'type': {'type': 'record', 'name': 'home', 'fields': [{'name': 'zip', 'type': 'long'}]}},
            {'name': 'friend', 'type': ['null', 'user'], 'default': None},
          ],
        },
      ],
    },
    {'name': 'm', 'type': 'string'},
  ],
}


class LookupTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def _write(self, ending: str, rows: Sequence[Mapping[str, Any]]) -> tuple[base.Reader, str]:
    path = self.folder / f'log.{ending}'
    if ending == 'jsonl':
      path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
      return jsonl.JsonLines(), str(path)
    if ending == 'parquet':
      arrow_parquet.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=4)
      return parquet.Parquet(), str(path)
    if ending == 'avro':
      with path.open('wb') as file:
        fastavro.writer(file, _AVRO, [{key: row[key] for key in ('user', 'm')} for row in rows])
      return avro.Avro(), str(path)
    delimiter = {'csv': ',', 'tsv': '\t'}[ending]
    lines = [rows[0].keys(), *(row.values() for row in rows)]
    path.write_text(''.join(delimiter.join(map(str, line)) + '\n' for line in lines))
    return (delimited.Csv() if ending == 'csv' else delimited.Tsv()), str(path)

  @parameterized.parameters('jsonl', 'parquet', 'avro')
  def test_nested_keys_are_columns(self, ending: str) -> None:
    rows: list[dict[str, Any]] = [*_ROWS, {'user': None, 'm': 'x', 'a.b': 1}]
    found = reading.read(*self._write(ending, rows), 'user.id', 'm', 'user.home.zip')
    expected = [(f'u{number}', 'hi', number) for number in range(9)]
    self.assertEqual(found.rows, [*expected, (None, 'x', None)])

  @parameterized.parameters('jsonl', 'parquet')
  def test_a_dot_in_the_own_name_wins(self, ending: str) -> None:
    rows: list[dict[str, Any]] = [{'a.b': 'own', 'a': {'b': 'nested'}}, {'a.b': 'own', 'a': None}]
    self.assertEqual(reading.read(*self._write(ending, rows), 'a.b').rows, [('own',), ('own',)])

  @parameterized.parameters('jsonl', 'parquet', 'avro', 'csv', 'tsv')
  def test_a_missing_column_is_named_with_those_there_are_and_the_nearest(self, ending: str) -> None:
    rows = [{'user': {'id': 'u', 'home': {'zip': 1}}, 'm': 'x'}] if ending == 'avro' else [{'user_id': 'u', 'm': 'x'}]
    reader, path = self._write(ending, rows)
    nearest = 'user' if ending == 'avro' else 'user_id'
    message = f"^Expected a column 'users' in .*, found .*{nearest}.*: did you mean {nearest}[?]$"
    if ending == 'jsonl':
      (part,) = reader.parts(path, 0)
      (block,) = reader.read(part, ['users', 'm'])
      self.assertEqual(block.names, {'m', 'user_id'})
      self.assertRegex(lookup.describe_missing('users', 'the rows', sorted(block.names)), message)
    else:
      with self.assertRaisesRegex(base.DamagedFile, message):
        reading.read(reader, path, 'm', 'users')

  @parameterized.parameters('parquet', 'avro')
  def test_a_missing_key_is_named_with_those_there_are(self, ending: str) -> None:
    with self.assertRaisesRegex(base.DamagedFile, "Expected a column 'user.name' .*, found user, .*user.id.*home.zip"):
      reading.read(*self._write(ending, _ROWS), 'user.name')

  @parameterized.parameters('user', 'User', 'USER_ID')
  def test_nearest_whatever_the_case(self, column: str) -> None:
    self.assertEndsWith(lookup.describe_missing(column, 'x', ['m', 'user_id']), 'did you mean user_id?')

  def test_what_is_shown_is_bounded(self) -> None:
    message = lookup.describe_missing('text', 'log', ['x' * 500, 'a\x1b[31m', *(f'c{n}' for n in range(98))])
    self.assertIn(f"found {'x' * 60}…, 'a\\x1b[31m', c0,", message)
    self.assertEndsWith(message, 'c17 and 80 more: name one of these.')

  def test_a_column_that_stands_twice_is_named(self) -> None:
    table = pa.table([['a'], ['b'], ['c'], ['d']], names=['m', 'user', 'm', 'x'])
    arrow_parquet.write_table(table, self.folder / 'log.parquet')
    (self.folder / 'log.csv').write_text('m,user,m,x\na,b,c,d\n')
    readers: list[tuple[base.Reader, str]] = [(parquet.Parquet(), 'log.parquet'), (delimited.Csv(), 'log.csv')]
    for reader, name in readers:
      with self.assertRaisesRegex(base.DamagedFile, "^Expected one column 'm' in .*, found 2 of that name: rename or"):
        reading.read(reader, self.folder / name, 'user', 'm')
      self.assertEqual(reading.read(reader, self.folder / name, 'user').rows, [('b',)])

  @parameterized.parameters((';', '";"'), ('\t', r'"\\t"'), ('|', r'"\|"'))
  def test_another_delimiter_is_named(self, delimiter: str, shown: str) -> None:
    path = self.folder / 'log.csv'
    path.write_text(delimiter.join(['user', 'm']) + '\n' + delimiter.join(['ann', 'hi']) + '\n')
    with self.assertRaisesRegex(base.DamagedFile, rf"Expected a column 'm' .* write delimiter = {shown} in .input."):
      reading.read(delimited.Csv(), path, 'm')
    self.assertEqual(reading.read(delimited.Csv(delimiter=delimiter), path, 'm').rows, [('hi',)])

  def test_a_row_instead_of_a_header_is_not_shown(self) -> None:
    for row in ('ann,17,dear diary', 'ann,dear diary,bye'):
      (self.folder / 'log.csv').write_text(f'{row}\n' * 3)
      with self.assertRaisesRegex(base.DamagedFile, 'found 3 others, .* give column_names for a file') as raised:
        reading.read(delimited.Csv(), self.folder / 'log.csv', 'user')
      self.assertNotIn('ann', str(raised.exception))
      read = reading.read(delimited.Csv(column_names=('user', 'a', 'b')), self.folder / 'log.csv', 'user')
      self.assertEqual(read.rows, [('ann',)] * 3)


class SeenNamesTest(absltest.TestCase):
  def test_a_key_without_values_is_there(self) -> None:
    path = self.create_tempfile(content='{"user": null, "x": 1}\n' * 200 + '{"x": 1, "role": "text", "rare" : null}\n')
    (part,) = jsonl.JsonLines().parts(path.full_path, 0)
    (block,) = jsonl.JsonLines().read(part, ['user', 'x', 'rare'])
    self.assertEqual(block.names, {'user', 'x', 'rare'})
    (block,) = jsonl.JsonLines().read(part, ['user', 'text'])
    self.assertContainsSubset({'user', 'x'}, block.names)
    self.assertNotIn('text', block.names)

  def test_a_key_of_another_object_is_no_column(self) -> None:
    path = self.create_tempfile(content='{"x": 1, "y": {"z": [{"user": "ann"}]}}\n' * 3)
    (part,) = jsonl.JsonLines().parts(path.full_path, 0)
    (block,) = jsonl.JsonLines().read(part, ['user', 'x'])
    self.assertNotIn('user', block.names)


if __name__ == '__main__':
  absltest.main()
