"""Tests of reading TOML files, of overrides, and of finding places in them."""

import os
import tomllib
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies

from pipelines.declarations import documents

_TEXT = '''# A comment.
name = "a # b"  # Line 2.
a.dotted . "quoted.key" = 1
'single quoted' = [  # [not] a header
  "[table]",
  "]",  # = 1

  "x"
]
text = """
[client]
key = 1
"""

[client]
id = 'user'
inline = {order = "o", deep = {er = [1, 2]}}

[examples . scaling]
mean = [1.0]
[[categories]]
column = "a"
[categories.more]
x = 1
[[categories]]
column = "b"
[[categories.inner]]
y = 2
[categories.inner.deep]
z = [
  [1, 2]
  , [3]
]
[last]
'''

_LINES: dict[documents.Path, int] = {
  ('name',): 2,
  ('a',): 3,
  ('a', 'dotted'): 3,
  ('a', 'dotted', 'quoted.key'): 3,
  ('single quoted',): 4,
  ('single quoted', 2): 4,
  ('text',): 10,
  ('client',): 15,
  ('client', 'id'): 16,
  ('client', 'inline'): 17,
  ('client', 'inline', 'deep', 'er', 1): 17,
  ('examples',): 19,
  ('examples', 'scaling', 'mean'): 20,
  ('categories',): 21,
  ('categories', 0): 21,
  ('categories', 0, 'column'): 22,
  ('categories', 0, 'more'): 23,
  ('categories', 0, 'more', 'x'): 24,
  ('categories', 1): 25,
  ('categories', 1, 'column'): 26,
  ('categories', 1, 'inner', 0): 27,
  ('categories', 1, 'inner', 0, 'y'): 28,
  ('categories', 1, 'inner', 0, 'deep', 'z'): 30,
  ('last',): 34,
}

_KEYS = strategies.sampled_from(['a', 'b', '"c d"', "'[e]'"])
_VALUES = strategies.sampled_from(['1', '"x = 1"', '[\n 1,\n 2\n]', '"""\n[a]\nb = 2\n"""', '{a = 1}', "'''\n#\n\n'''"])


class DocumentsTest(parameterized.TestCase):
  def _read(self, text: str, *overrides: str) -> documents.Document:
    path = self.create_tempfile('data.toml', text).full_path
    return documents.read(path, overrides)

  def _assert_refused(self, expected: str, text: str | bytes, *overrides: str) -> None:
    path = self.create_tempfile('data.toml', text, mode='w' if isinstance(text, str) else 'wb').full_path
    with self.assertRaises(ValueError) as caught:
      documents.read(path, overrides)
    self.assertEqual(str(caught.exception).replace(path, 'FILE'), expected)

  def test_reads_what_the_standard_library_reads(self) -> None:
    document = self._read(_TEXT)
    self.assertEqual(document.values, tomllib.loads(_TEXT))
    self.assertEqual(document.folder, os.path.dirname(document.name))

  @parameterized.parameters('\n', '\r\n')
  def test_every_value_has_its_line(self, end: str) -> None:
    document = self._read(_TEXT.replace('\n', end))
    found = {path: document.where(path) for path in _LINES}
    self.assertEqual(found, {path: f'{document.name}, line {line}' for path, line in _LINES.items()})

  def test_what_is_missing_is_near_what_is_around_it(self) -> None:
    document = self._read(_TEXT)
    self.assertEndsWith(document.where(('client', 'order')), ', line 15')
    self.assertEndsWith(document.where(('categories', 1, 'columns')), ', line 25')
    self.assertEqual(document.where(('limits', 'keep')), document.name)

  def test_values_by_path(self) -> None:
    document = self._read(_TEXT)
    self.assertEqual(document.get(('categories', 1, 'inner', 0, 'deep', 'z', 1)), [3])
    self.assertEqual(document.get(()), document.values)
    missing: list[documents.Path] = [('nothing',), ('client', 'id', 'x'), ('categories', 2), ('categories', 'a')]
    for path in missing:
      self.assertIsNone(document.get(path))

  def test_paths_below_a_path(self) -> None:
    document = self._read(_TEXT)
    self.assertEqual(list(document.paths_below(('client', 'inline', 'deep', 'er', 0))), [])
    self.assertEqual(
      [path[1:] for path in document.paths_below(('client',))],
      [
        ('id',),
        ('inline',),
        ('inline', 'order'),
        ('inline', 'deep'),
        ('inline', 'deep', 'er'),
        ('inline', 'deep', 'er', 0),
        ('inline', 'deep', 'er', 1),
      ],
    )

  def test_a_mistake_says_where_it_is(self) -> None:
    document = self._read('[client]\nid = 1')
    self.assertEqual(str(document.mistake(('client', 'id'), 'Wrong.')), f'{document.name}, line 2: Wrong.')

  def test_a_byte_order_mark_is_no_mistake(self) -> None:
    path = self.create_tempfile('marked.toml', b'\xef\xbb\xbfa = 1\n', mode='wb').full_path
    self.assertEqual(documents.read(path).values, {'a': 1})

  def test_what_is_not_toml_is_refused_with_its_line(self) -> None:
    self._assert_refused(
      "FILE, line 2: Expected TOML, found a mistake (Expected '=' after a key in a key/value pair): correct this line.",
      '[client]\nid\n',
    )
    self._assert_refused(
      'FILE, line 3: Expected TOML, found a mistake (Invalid value): correct this line.', 'a = 1\n\nb ='
    )
    self._assert_refused(
      'FILE, line 2: Expected TOML, found a mistake (Unclosed array): correct this line.', 'a = [1,\n2\n'
    )

  def test_a_file_that_is_not_there_is_refused(self) -> None:
    path = os.path.join(self.create_tempdir().full_path, 'gone.toml')
    with self.assertRaisesRegex(ValueError, rf'found {path} \(No such file or directory\): correct the path\.$'):
      documents.read(path)

  def test_what_is_not_utf_8_is_refused(self) -> None:
    self._assert_refused('FILE: Expected UTF-8, found byte 0xe9: save it as UTF-8.', b'id = "\xe9"')

  @parameterized.parameters(
    ('limits.keep="latest"', 'latest'),
    ('limits.keep=latest', 'latest'),
    ('limits.keep = latest ', 'latest'),
    ('limits.keep=../words.txt', '../words.txt'),
    ('limits."keep"=12', 12),
    ('limits.keep=0.5', 0.5),
    ('limits.keep=true', True),
    ('limits.keep=["a", "b"]', ['a', 'b']),
    ('limits.keep={a = 1}', {'a': 1}),
    ('limits.keep="a = b"', 'a = b'),
  )
  def test_an_override_says_it_instead(self, override: str, expected: Any) -> None:
    document = self._read('[limits]\nkeep = "first"\nmost = 1', override)
    self.assertEqual(document.values, {'limits': {'keep': expected, 'most': 1}})
    self.assertEqual(document.where(('limits', 'keep')), f'--override={override}')
    self.assertTrue(document.is_overridden(('limits', 'keep')))
    self.assertFalse(document.is_overridden(('limits', 'most')))

  def test_an_override_replaces_what_was_inside(self) -> None:
    document = self._read('[[a.b]]\nc = 1', 'a.b=[{d = 1}]')
    self.assertEqual(document.values, {'a': {'b': [{'d': 1}]}})
    self.assertEqual(document.where(('a', 'b', 0, 'c')), '--override=a.b=[{d = 1}]')

  def test_an_override_makes_the_tables_that_it_needs(self) -> None:
    document = self._read('', 'a.b.c=1', 'a.b.d=2', 'a.b.c=3')
    self.assertEqual(document.values, {'a': {'b': {'c': 3, 'd': 2}}})
    self.assertEqual(document.where(('a', 'b', 'c')), '--override=a.b.c=3')
    self.assertEqual(document.where(('a', 'b')), '--override=a.b.c=1')
    self.assertEqual(document.where(('x',)), document.name)

  @parameterized.parameters(
    'limits.keep',
    'limits.keep=',
    '=1',
    'limits.keep="a',
    'limits.keep=two words',
    'a b=1',
    '#=1',
    '# x=1',
    'a=#',
    '[a]=1',
    'a=1\nb=2',
  )
  def test_an_override_that_says_nothing_is_refused(self, override: str) -> None:
    self._assert_refused(
      f'--override={override}: Expected TABLE.KEY=VALUE as in TOML, found a mistake: put text in quotes.',
      '[limits]',
      override,
    )

  def test_what_is_nested_too_deeply_is_refused(self) -> None:
    expected = 'FILE: Expected lists and tables a few levels deep, found hundreds: correct it.'
    self._assert_refused(expected, f'a = {"[" * 9999}')
    with self.assertRaisesRegex(ValueError, 'Expected TABLE.KEY=VALUE'):
      self._read('', f'a={"[" * 9999}')

  def test_an_override_inside_of_what_is_no_table_is_refused(self) -> None:
    self._assert_refused(
      '--override=a.b.c.d=1: Expected a.b to be a table: override it as a whole.', 'a.b = [1]', 'a.b.c.d=1'
    )

  @hypothesis.settings(deadline=None, max_examples=100)
  @hypothesis.given(strategies.lists(strategies.tuples(_KEYS, _KEYS, _VALUES), max_size=6))
  def test_places_are_those_of_the_statements(self, statements: list[tuple[str, str, str]]) -> None:
    lines, expected, seen = [''], {}, set()
    for table, key, value in statements:
      if (table, key) not in seen:
        seen.add((table, key))
        expected[table.strip('\'"'), key.strip('\'"')] = len(lines) + 2
        lines += ['# [a]', f'[{table}.{key}]', '', f'value = {value}'.split('\n')[0], *value.split('\n')[1:], '']
    document = self._read('\n'.join(lines))
    for path, header in expected.items():
      self.assertEqual(document.where((*path, 'value')), f'{document.name}, line {header + 2}')
      self.assertEqual(document.where((*path, 'other')), f'{document.name}, line {header}')


if __name__ == '__main__':
  absltest.main()
