"""Tests of building options from what a file says, and of what is said when it cannot be."""

import dataclasses
import os
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies

from pipelines.declarations import documents
from pipelines.declarations import options


@dataclasses.dataclass(frozen=True)
class _Inner:
  column: str
  values: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Words:
  file: str = ''
  words: tuple[str, ...] = ()

  def load(self, folder: str) -> '_Words':
    with open(os.path.join(folder, self.file), encoding='utf-8') as file:
      words = file.read().split()
    if not words:
      raise ValueError('Expected words in file, found none: write some.')
    return dataclasses.replace(self, words=tuple(words))


@dataclasses.dataclass(frozen=True)
class _Mixed:
  columns: tuple[str | _Inner, ...]


@dataclasses.dataclass(frozen=True)
class _Outer:
  text: str
  lists: tuple[float, ...]
  integer: int = 3
  number: float = 0.5
  flag: bool = False
  maybe: float | None = None
  either: bool | tuple[str, ...] = True
  one: _Inner = _Inner('none')
  many: tuple[_Inner, ...] = ()
  nested: tuple[tuple[int, ...], ...] = ()
  words: _Words | None = None
  derived: int = dataclasses.field(init=False, default=7)

  def __post_init__(self) -> None:
    if self.integer > 10 * self.number:
      raise ValueError(f'Expected integer <= 10 * number, found {self.integer}.')
    if 'refused' in self.one.values:
      raise ValueError('Expected other values.')
    if not self.text:
      raise ValueError('Expected 1 character, found 0.')


_LEAST = 'text = "a"\nlists = [1, 2.5]\n'


def _build(text: str, folder: str, *overrides: str) -> _Outer:
  path = os.path.join(folder, 'data.toml')
  with open(path, 'w', encoding='utf-8') as file:
    file.write(f'[options]\n{text}')
  return options.build(_Outer, documents.read(path, overrides), ('options',), ['kind'])


class OptionsTest(parameterized.TestCase):
  def _build(self, text: str, *overrides: str) -> _Outer:
    return _build(text, self.create_tempdir().full_path, *overrides)

  def _assert_refused(self, expected: str, text: str, *overrides: str) -> None:
    folder = self.create_tempdir().full_path
    with self.assertRaises(ValueError) as caught:
      _build(text, folder, *overrides)
    self.assertEqual(str(caught.exception).replace(f'{folder}/data.toml', 'FILE'), expected)

  def test_what_is_not_said_has_its_default(self) -> None:
    self.assertEqual(self._build(_LEAST), _Outer('a', (1.0, 2.5)))

  def test_a_table_that_is_not_there_is_all_defaults(self) -> None:
    self.assertEqual(options.build(_Plain, documents.Document('FILE', {}, {}), ('x',)), _Plain())

  @parameterized.parameters(
    ('integer = -4', 'integer', -4),
    ('number = 2', 'number', 2.0),
    ('flag = true', 'flag', True),
    ('maybe = 0', 'maybe', 0.0),
    ('either = false', 'either', False),
    ('either = ["a", "b"]', 'either', ('a', 'b')),
    ('one = {column = "c"}', 'one', _Inner('c')),
    ('[options.one]\ncolumn = "c"\nvalues = ["v"]', 'one', _Inner('c', ('v',))),
    ('[[options.many]]\ncolumn = "c"\n[[options.many]]\ncolumn = "d"', 'many', (_Inner('c'), _Inner('d'))),
    ('nested = [[1, 2], []]', 'nested', ((1, 2), ())),
    ('kind = "besides"', 'text', 'a'),
  )
  def test_values_become_what_the_annotation_says(self, text: str, name: str, expected: Any) -> None:
    found = getattr(self._build(_LEAST + text), name)
    self.assertEqual(found, expected)
    self.assertIs(type(found), type(expected))

  @parameterized.parameters(
    ('integr = 1', "line 4: Expected a key of [options], found 'integr': did you mean integer?"),
    (
      'zzz = 1',
      "line 4: Expected a key of [options], found 'zzz': choose among kind, text, lists, integer, number, "
      'flag, maybe, either, one, many, nested, words.',
    ),
    (
      'derived = 1',
      "line 4: Expected a key of [options], found 'derived': choose among kind, text, lists, integer, "
      'number, flag, maybe, either, one, many, nested, words.',
    ),
    (
      '[options.one]\ncolumn = "a"\nvalue = []',
      "line 6: Expected a key of [options.one], found 'value': did you mean values?",
    ),
    (
      '[[options.many]]\ncolumn = "a"\n[[options.many]]\nvalues = []',
      'line 6: Expected [options.many[1]] to say column, found nothing: add column = "text".',
    ),
  )
  def test_unknown_and_missing_keys(self, text: str, expected: str) -> None:
    self._assert_refused(f'FILE, {expected}', _LEAST + text)

  def test_a_missing_key_is_shown(self) -> None:
    self._assert_refused(
      'FILE, line 1: Expected [options] to say lists, found nothing: add lists = [0.5].', 'text = "a"'
    )
    path = self.create_tempfile('b.toml', '').full_path
    with self.assertRaisesRegex(ValueError, r'b\.toml: Expected \[options\] to say inner, .*: add a table \[options.i'):
      options.build(_Needy, documents.read(path), ('options',))

  @parameterized.parameters(
    ('integer = "3"', 'integer to be an integer, found "3": write it like 12.'),
    ('integer = 3.0', 'integer to be an integer, found 3.0: write it like 12.'),
    ('integer = true', 'integer to be an integer, found true: write it like 12.'),
    ('integer = 9223372036854775808', 'integer to be an integer, found 9223372036854775808: write it like 12.'),
    ('number = "1"', 'number to be a number, found "1": write it like 0.5.'),
    ('number = false', 'number to be a number, found false: write it like 0.5.'),
    ('number = nan', 'number to be a number, found nan: write it like 0.5.'),
    ('number = -inf', 'number to be a number, found -inf: write it like 0.5.'),
    (f'number = 1{"0" * 400}', f'number to be a number, found 1{"0" * 59}: write it like 0.5.'),
    ('flag = 1', 'flag to be true or false, found 1: write it like true.'),
    ('flag = 2026-11-20', 'flag to be true or false, found 2026-11-20: write it like true.'),
    ('maybe = "no"', 'maybe to be a number, found "no": write it like 0.5.'),
    ('either = 1', 'either to be true or false, or a list of texts, found 1: write it like true.'),
    ('either = ["a", 1]', 'either[1] to be text, found 1: write it like "text".'),
    ('one = "c"', 'one to be a table, found "c": write it like {column = "text"}.'),
    ('one = [1]', 'one to be a table, found a list: write it like {column = "text"}.'),
    ('many = {column = "c"}', 'many to be a list of tables, found a table: write it like [{column = "text"}].'),
    ('many = ["c"]', 'many[0] to be a table, found "c": write it like {column = "text"}.'),
    ('nested = [[1], [2.5]]', 'nested[1][0] to be an integer, found 2.5: write it like 12.'),
  )
  def test_a_wrong_type_is_refused_with_its_line(self, text: str, expected: str) -> None:
    self._assert_refused(f'FILE, line 4: Expected options.{expected}', _LEAST + text)
    name, example = text.partition(' = ')[0], expected.rpartition('write it like ')[2].removesuffix('.')
    if f'{name}[' not in expected:  # An element is written within its list.
      more = '' if name == 'number' else '\nnumber = 9'
      self.assertIsNotNone(getattr(self._build(f'{_LEAST}{name} = {example}{more}'), name))

  def test_a_list_may_hold_names_and_tables(self) -> None:
    path = self.create_tempfile('c.toml', '[a]\ncolumns = ["x", {column = "y", values = ["v"]}]\n').full_path
    built = options.build(_Mixed, documents.read(path), ('a',))
    self.assertEqual(built, _Mixed(('x', _Inner('y', ('v',)))))
    for override, expected in (
      ('a.columns=1', r'columns to be a list of texts or tables, found 1: write it like \["text"\]'),
      ('a.columns=["x", 1]', r'columns\[1\] to be text, or a table, found 1: write it like "text"'),
      ('a.columns=[{colum = "x"}]', "found 'colum': did you mean column"),
    ):
      with self.assertRaisesRegex(ValueError, expected):
        options.build(_Mixed, documents.read(path, [override]), ('a',))

  def test_a_value_where_a_table_should_be_is_refused(self) -> None:
    path = self.create_tempfile('c.toml', '\nx = 1').full_path
    with self.assertRaisesRegex(ValueError, r'line 2: Expected a table \[x\], found 1: write its keys below a line'):
      options.build(_Plain, documents.read(path), ('x',))
    path = self.create_tempfile('d.toml', '\n[x]\nnumber = 2').full_path
    self.assertEqual(options.build(_Plain, documents.read(path), ('x',)), _Plain(2))

  def test_what_the_dataclass_refuses_has_the_line_of_the_key_that_it_names(self) -> None:
    self._assert_refused('FILE, line 4: Expected integer <= 10 * number, found 6.', f'{_LEAST}integer = 6')
    self._assert_refused('FILE, line 4: Expected integer <= 10 * number, found 3.', f'{_LEAST}number = 0.1')
    self._assert_refused('FILE, line 5: Expected integer <= 10 * number, found 6.', f'{_LEAST}number = 0\ninteger = 6')
    self._assert_refused('FILE, line 1: Expected 1 character, found 0.', 'text = ""\nlists = [1, 2]')
    text = f'{_LEAST}[options.one]\ncolumn = "c"\nvalues = ["v"]'
    self._assert_refused('FILE, line 6: Expected other values.', text.replace('"v"', '"refused"'))

  def test_an_override_has_its_own_place(self) -> None:
    self._assert_refused(
      '--override=options.number=0: Expected integer <= 10 * number, found 3.',
      f'{_LEAST}integer = 3',
      'options.number=0',
    )
    self._assert_refused(
      "--override=options.numbr=0: Expected a key of [options], found 'numbr': did you mean number?",
      _LEAST,
      'options.numbr=0',
    )

  def test_files_are_read_from_the_folder_of_the_declaration(self) -> None:
    folder = self.create_tempdir()
    folder.create_file('words.txt', 'to be')
    made = _build(f'{_LEAST}words = {{file = "words.txt"}}', folder.full_path)
    self.assertEqual(made.words, _Words('words.txt', ('to', 'be')))

  def test_a_file_that_cannot_be_read_is_refused_with_its_line(self) -> None:
    folder = self.create_tempdir()
    expected = r'data.toml, line 5: Expected a file that can be read, found .*gone.txt \(No such file or directory\)'
    with self.assertRaisesRegex(ValueError, expected):
      _build(f'{_LEAST}[options.words]\nfile = "gone.txt"', folder.full_path)
    folder.create_file('empty.txt', '')
    with self.assertRaisesRegex(ValueError, 'data.toml, line 5: Expected words in file, found none: write some'):
      _build(f'{_LEAST}[options.words]\nfile = "empty.txt"', folder.full_path)

  def test_an_annotation_that_no_file_can_fill_is_our_mistake(self) -> None:
    with self.assertRaisesRegex(TypeError, 'declare it otherwise'):
      options.build(_Strange, documents.Document('FILE', {'x': {'anything': 1}}, {}), ('x',))

  @hypothesis.settings(deadline=None)
  @hypothesis.given(
    text=strategies.text(strategies.characters(codec='utf-8', exclude_categories=['C']), min_size=1, max_size=9),
    numbers=strategies.lists(strategies.floats(allow_nan=False, allow_infinity=False), max_size=5),
    integer=strategies.integers(-(2**63), 4),
    names=strategies.lists(strategies.sampled_from('abc'), max_size=3),
  )
  def test_what_is_written_is_what_is_built(
    self, text: str, numbers: list[float], integer: int, names: list[str]
  ) -> None:
    quoted = text.replace('\\', '\\\\').replace('"', '\\"')
    written = f'text = "{quoted}"\nlists = {numbers}\ninteger = {integer}\neither = {names}\n'
    written += ''.join(f'[[options.many]]\ncolumn = "{name}"\n' for name in names)
    expected = _Outer(text, tuple(numbers), integer, either=tuple(names), many=tuple(_Inner(name) for name in names))
    self.assertEqual(self._build(written), expected)


@dataclasses.dataclass(frozen=True)
class _Plain:
  number: int = 1


@dataclasses.dataclass(frozen=True)
class _Needy:
  inner: _Inner


@dataclasses.dataclass(frozen=True)
class _Strange:
  anything: Any


class RequireTest(absltest.TestCase):
  def _require(self, table: dict[str, Any]) -> str:
    document = documents.Document('FILE', {'table': table}, {('table', 'kin'): 'HERE'})
    return options.require(str, document, ('table', 'kind'))

  def test_returns_the_value(self) -> None:
    self.assertEqual(self._require({'kind': 'a'}), 'a')

  def test_refuses_another_type(self) -> None:
    with self.assertRaisesRegex(ValueError, 'FILE: Expected table.kind to be text, found 1: write it like "text".'):
      self._require({'kind': 1})

  def test_a_missing_value_may_have_been_misspelt(self) -> None:
    with self.assertRaisesRegex(ValueError, r'FILE: Expected \[table\] to say kind, found nothing: add kind = "text".'):
      self._require({'other': 1})
    with self.assertRaisesRegex(ValueError, 'HERE: Expected kind, found kin: correct it.'):
      self._require({'kin': 'a'})


if __name__ == '__main__':
  absltest.main()
