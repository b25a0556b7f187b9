"""Tests of what to declare otherwise: each remedy is taken, and the rows are used."""

import pathlib
import re

from absl.testing import absltest
from absl.testing import parameterized

from pipelines import accounting
from pipelines import reports
from pipelines import row_remedies
from pipelines.declarations import declaration as declarations
from pipelines.declarations import describe

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
      ('commas', {'x': '{n},5'}, (), "What 'x' has .* with commas .*: write (decimal = \",\") in .input.", 'input.'),
      ('points', {'x': '{n}.5'}, ('input.decimal=","',), 'with points .*: write (decimal = ".") in', 'input.'),
      ('order', {'at': '{n},5'}, ('client.order_type=number',), "'at' has .* write (decimal = \",\") in", 'input.'),
      ('times', {'at': '2015-05-20 21:34:02.{n}'}, (), 'write (order_type = "time") in .client.', 'client.'),
      ('own_times', {'at': '20.05.15 {h:02}.{m:02}'}, ('client.order_type=time',),
       'write order_format in .client., such as ("%d.%m.%y %H.%M").', 'client.order_format='),
  )  # fmt: skip
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
    self.assertEndsWith(
        problem, 'raise --max_bad_rows, with which the job leaves such rows out and counts them as quarantined.'
    )
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


if __name__ == '__main__':
  absltest.main()
