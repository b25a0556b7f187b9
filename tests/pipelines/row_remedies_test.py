"""Tests of what to declare otherwise: each remedy is taken, and the rows are used."""

from collections.abc import Sequence
import io
import pathlib
import re
import zipfile

from absl.testing import absltest
from absl.testing import parameterized
import pyarrow as pa
from pyarrow import parquet

from pipelines import row_remedies
from pipelines.declarations import declaration as declarations
from pipelines.inspection import describe
from pipelines.rows import reports
from pipelines.shards import accounting

_TABLE = """
[client]
id = "user"
order = "at"
public_ids = true
[input]
format = "csv"
delimiter = "|"
[examples]
kind = "table"
numbers = ["x"]
categories = [{column = "shop", values = ["north", "south"]}]
label = "kind"
classes = ["a", "b"]
"""


class RemediesTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.text = ''

  def _describe(self, rows: list[str], *overrides: str, encoding: str = 'utf-8', limit: str = '10%') -> str:
    """Returns why the job would fail; nothing if it would not."""
    log, dataset = self.folder / 'log.csv', self.folder / 'data.toml'
    log.write_text('\n'.join(['user|at|x|shop|kind', *rows]), encoding)
    dataset.write_text(_TABLE)
    declaration = declarations.read(str(dataset), overrides, [str(log)])
    self.text, problem = describe.describe(declaration, [str(log)], accounting.MaxBadRows(limit))
    return problem or ''

  def _rows(self, at: str = '{n}', x: str = '1', shop: str = 'north') -> list[str]:
    return [f'u{n % 30}|{at.format(n=n, h=n // 60, m=n % 60)}|{x.format(n=n)}|{shop}|a' for n in range(300)]

  @parameterized.named_parameters(
    ('commas', {'x': '{n},5'}, (), 'What \'x\' has .* with commas .*: write (decimal = ",") in .input.', 'input.'),
    ('points', {'x': '{n}.5'}, ('input.decimal=","',), 'with points .*: write (decimal = ".") in', 'input.'),
    ('order', {'at': '{n},5'}, ('client.order_type=number',), '\'at\' has .* write (decimal = ",") in', 'input.'),
    ('times', {'at': '2015-05-20 21:34:02.{n}'}, (), 'write (order_type = "time") in .client.', 'client.'),
    (
      'own_times',
      {'at': '20.05.15 {h:02}.{m:02}'},
      ('client.order_type=time',),
      'write order_format in .client., such as ("%d.%m.%y %H.%M").',
      'client.order_format=',
    ),
  )
  def test_what_values_look_like(
    self, values: dict[str, str], overrides: tuple[str, ...], message: str, start: str
  ) -> None:
    rows = self._rows(**values)
    problem = self._describe(rows, *overrides)
    found = re.search(message, problem)
    self.assertTrue(found, problem)
    remedy = found[1].replace(' = ', '=') if found else ''
    self.assertEmpty(self._describe(rows, *overrides, start + remedy))

  def test_other_values_of_a_category(self) -> None:
    rows = [*self._rows(), *self._rows(at='9{n}', shop='west')]
    problem = self._describe(rows)
    self.assertIn("Of shop, 'north', 'south' are declared, found: 'west' 300. Declare them too, or write ot", problem)
    for category in ('values = ["north", "south"], other = true', 'values = ["north", "south", "west"]'):
      self.assertEmpty(self._describe(rows, f'examples.categories=[{{column = "shop", {category}}}]'))
    problem = self._describe(rows, 'examples.classes=["b", "c"]')
    self.assertRegex(problem, "Of kind, 'b', 'c' are declared, found: .* Declare them too, or remove such rows")
    self.assertNotIn('other = true', problem.partition('Of kind')[2])

  def test_other_classes(self) -> None:
    others = [row.removesuffix('a') + 'c' for row in self._rows(at='9{n}')]
    message = "Of kind, 'a', 'b' are declared, found: 'c' 300. Declare them too, or remove such rows."
    self.assertIn(message, self._describe([*self._rows(), *others]))
    self.assertEmpty(self._describe([*self._rows(), *others], 'examples.classes=["a", "b", "c"]'))
    self.assertEmpty(self._describe(self._rows()))

  def test_another_encoding(self) -> None:
    rows = self._rows(shop='caf\u00e9\u20ac')
    other = 'examples.categories=[{column = "shop", values = ["caf\u00e9\u20ac"]}]'
    problem = self._describe(rows, other, encoding='cp1252')
    self.assertIn('are not in the encoding of the input: write encoding = "cp1252" in [input] if', problem)
    self.assertEmpty(self._describe(rows, other, 'input.encoding=cp1252', encoding='cp1252'))
    rows = self._rows(shop='\x81')
    problem = self._describe(rows, 'input.encoding=cp1252', encoding='latin-1')
    self.assertIn('write encoding = "latin-1", which reads any byte, or', problem)
    latin = 'examples.categories=[{column = "shop", values = ["\\u0081"]}]'
    self.assertEmpty(self._describe(rows, latin, 'input.encoding=latin-1', encoding='latin-1'))

  def test_single_bad_rows_are_quarantined_and_no_declaration_is_blamed(self) -> None:
    rows = [*self._rows(), 'u1|2015-05-20|1|north|a', 'u1|1|1,5|north|a', 'u1|1|1|west|a']
    problem = self._describe(rows, limit='0')
    remedy = 'raise --max_bad_rows: the job then counts such rows as quarantined and goes on without them.'
    self.assertEndsWith(problem, remedy)
    self.assertEmpty(self._describe(rows, limit='3'))
    self.assertNotIn('looks like', self.text)
    self.assertEmpty(self._describe([*rows, *['u1|1|1,5|north|a'] * 9]))
    self.assertIn("warning   What 'x' has looks like numbers with commas", self.text)

  def test_formats_without_the_option_get_no_such_advice(self) -> None:
    dataset = self.folder / 'data.toml'
    dataset.write_text(_TABLE.replace('delimiter = "|"\n', ''))
    report = reports.Report()
    report.count(reports.READ, number=10)
    for reason in ('not_a_number:x', 'not_utf8'):
      report.count(reports.QUARANTINED, reason, 5)
    report.count(reports.FOUND, 'x=other_decimals', 5)
    (number, encoding) = row_remedies.suggest(report, declarations.read(str(dataset), ['input.format=jsonl'], ['log']))
    self.assertEndsWith(number, 'with commas before their decimals: write numbers instead of text in the files.')
    self.assertStartsWith(encoding, 'Some rows are not in the encoding of the input')
    (number,) = row_remedies.suggest(report, declarations.read(str(dataset), ['input.format=parquet'], ['log']))
    self.assertNotIn('encoding', number)


_ROWS = [f'u{number % 30},{number},1,a' for number in range(300)]
_HEADER = 'user,at,x,kind'
_LOG = '\n'.join([_HEADER, *_ROWS])
_PLAIN = """
[client]
id = "user"
order = "at"
public_ids = true
[examples]
kind = "table"
numbers = ["x"]
label = "kind"
classes = ["a", "b"]
"""


def _with_times(form: str) -> str:
  return '\n'.join([_HEADER, *(f'u{n % 30},{form.format(day=n // 60 + 1, minute=n % 60)},1,a' for n in range(300))])


def _zip(*names: str) -> bytes:
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w') as archive:
    for name in names:
      archive.writestr(name, _LOG)
  return file.getvalue()


def _parquet(*names: str) -> bytes:
  file = io.BytesIO()
  columns = [pa.array(list(column)) for column in zip(*(row.split(',') for row in _ROWS), strict=True)]
  parquet.write_table(pa.Table.from_arrays([*columns, columns[2]][: len(names)], list(names)), file)
  return file.getvalue()


class InputRemediesTest(parameterized.TestCase):
  """What the other messages on an input say to do: the changed declaration or file makes a data set."""

  @parameterized.named_parameters(
    ('delimiter', _LOG.replace(',', ';'), (), 'write delimiter = ";" in .input.', {'input.delimiter': '";"'}, None),
    (
      'no_header',
      '\n'.join(_ROWS),
      (),
      'give column_names for a file without a header',
      {'input.column_names': '["user", "at", "x", "kind"]'},
      None,
    ),
    ('lines_before', f'# a log of mine\n{_LOG}', (), 'or skip_lines', {'input.skip_lines': '1'}, None),
    ('misspelt_column', _LOG, ('client.order="att"',), 'did you mean at[?]', {'client.order': '"at"'}, None),
    ('utf_16', _LOG.encode('utf-16-le'), (), 'write encoding = "utf-16-le"', {'input.encoding': '"utf-16-le"'}, None),
    (
      'twice',
      f'{_HEADER},x\n' + '\n'.join(f'{row},2' for row in _ROWS),
      (),
      "'x' .*: rename or remove the others",
      {},
      f'{_HEADER},y\n' + '\n'.join(f'{row},2' for row in _ROWS),
    ),
    ('twice_removed', f'{_HEADER},x\n' + '\n'.join(f'{row},2' for row in _ROWS), (), 'or remove the others', {}, _LOG),
    ('several_in_a_zip', _zip('a.csv', 'b.csv'), (), 'unpack it and name the files', {}, _LOG),
    (
      'another_format',
      _parquet('user', 'at', 'x', 'kind'),
      (),
      'set format in .input. to what',
      {'input.format': 'parquet'},
      None,
    ),
    (
      'twice_in_parquet',
      _parquet('user', 'at', 'x', 'kind', 'x'),
      ('input.format=parquet',),
      'rename or remove',
      {},
      _parquet('user', 'at', 'x', 'kind', 'y'),
    ),
    (
      'open_quote',
      _LOG.replace('u29,29,1,a', 'u29,29,1,"a'),
      (),
      'or newlines_in_values = false to refuse only',
      {'input.newlines_in_values': 'false'},
      None,
    ),
    (
      'day_first',
      _with_times('0{day}/06/2015 10:{minute}'),
      ('client.order_type=time',),
      'write order_format .*"%d/%m/%Y"',
      {'client.order_format': '"%d/%m/%Y %H:%M"'},
      None,
    ),
    (
      'escape',
      _LOG.replace('u29', r'"u \"29\""'),
      (),
      r'write escape = "\\\\" in .input.',
      {'input.escape': r'"\\"'},
      None,
    ),
    (
      'all_held_out',
      _LOG,
      ('splits.test_users_share=0.999',),
      'hold out a smaller share',
      {'splits.test_users_share': '0.2'},
      None,
    ),
    (
      'none_held_out',
      _LOG,
      ('splits.test_users_share=0.001',),
      'Declare a larger test_users_share',
      {'splits.test_users_share': '0.2'},
      None,
    ),
    (
      'limits',
      _LOG,
      ('limits.min_examples_per_client=11',),
      'check the columns and limits',
      {'limits.min_examples_per_client': '10'},
      None,
    ),
    ('max_bad_rows', _LOG + '\nu1,301' * 50, (), 'or raise --max_bad_rows', {}, None),
    (
      'lines_joined',
      _LOG.replace('u29,29,1,a', 'u29,29,1,"a').replace('u29,59,1,a', 'u29,59,1,a"'),
      (),
      'newlines_in_values = false',
      {'input.newlines_in_values': 'false'},
      None,
    ),
  )
  def test_the_input(
    self,
    content: str | bytes,
    before: tuple[str, ...],
    message: str,
    remedy: dict[str, str],
    corrected: str | bytes | None,
  ) -> None:
    self.assertRegex(self._describe(content, before), message)
    kept = [override for override in before if override.partition('=')[0] not in remedy]
    changed = [*kept, *(f'{key}={value}' for key, value in remedy.items())]
    limit = '20%' if 'max_bad_rows' in message else '10%'
    self.assertNotRegex(self._describe(corrected or content, changed, limit), f'{message}|Expected')

  def _describe(self, content: str | bytes, overrides: Sequence[str], limit: str = '10%') -> str:
    folder = pathlib.Path(self.create_tempdir().full_path)
    log, dataset = folder / 'log.csv', folder / 'data.toml'
    log.write_bytes(content.encode() if isinstance(content, str) else content)
    dataset.write_text(_PLAIN)
    overrides = [*overrides] if any('format=' in one for one in overrides) else ['input.format=csv', *overrides]
    try:
      declaration = declarations.read(str(dataset), overrides, [str(log)])
      described = describe.describe(declaration, [str(log)], accounting.MaxBadRows(limit))
    except ValueError as error:
      return str(error)
    return f'{described.text}\n{described.problem or ""}'


if __name__ == '__main__':
  absltest.main()
