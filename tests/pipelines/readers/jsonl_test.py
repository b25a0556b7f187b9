"""Tests of JSON lines: pyarrow's rows are those of a line by line reading, and no line is lost."""

import json
import pathlib
import tempfile
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies

from pipelines.readers import jsonl
from pipelines.readers import streams
from tests.pipelines.readers import reading

_SHAKESPEARE = pathlib.Path(__file__).parents[3] / 'examples/shakespeare/utterances.jsonl.gz'
_GOOD = {'user_id': 'amy', 'utterance': 3, 'text': 'hello\nyou'}
_COLUMNS = tuple(_GOOD)

_VALUES = (
  strategies.none()
  | strategies.booleans()
  | strategies.integers()
  | strategies.text(max_size=3)
  | strategies.integers(-(2**64), 2**64)
  | strategies.floats()
  | strategies.just('2020-01-01')
  | strategies.sampled_from([17, 17.0, 2.5, '17', 1e300, 2**53 + 1])
)
_LISTS = strategies.lists(_VALUES, max_size=2)
_NESTED = _VALUES | _LISTS | strategies.dictionaries(strategies.text(max_size=1), _VALUES)
_KEYS = strategies.sampled_from(['user_id', 'utterance', 'text', 'more'])
_USERS = strategies.sampled_from(['amy', 'bob'])
_ROWS = strategies.dictionaries(_KEYS, _NESTED) | strategies.fixed_dictionaries(
  {'user_id': _USERS, 'utterance': strategies.integers(0, 99), 'text': strategies.text()}
)
_LINES = _ROWS.map(lambda row: json.dumps(row).encode()) | strategies.sampled_from(
  [
    b'',
    b' ',
    b'nonsense',
    b'[1]',
    b'null',
    b'{"text": "\xff"}',
    b'{"text": "\\ud800"}',
    b'{"text": "\\ud800\\u0041"}',
    b'{"text": "\\udc00x"}',
    b'{"text": "\\ud83d\\ude00"}',
    b'{"text": 1}{"text": 2}',
    b'{"text":',
    b'3}',
    b'{"text": 01}',
    b'{"text": 1, "text": 2}',
    b'{"text": "a\0b"}',
    b'{}\0}',
    b'\xef\xbb\xbf{}',
    b'{"utterance": ' + b'9' * 400 + b'}',
    b'{"utterance": 1e999}',
    b'{"te\\u0078t": "x"}',
    b'\x0c{}',
    b"{'text': 1}",
  ]
)
_CONTENTS = strategies.lists(strategies.tuples(_LINES, strategies.sampled_from([b'\n', b'\r\n', b'\r'])), max_size=12)


def _line(**changed: Any) -> bytes:
  return json.dumps(_GOOD | changed).encode()


def _same(value: Any) -> Any:
  """Tells NaN from nothing and True from 1; a whole number that a double holds is the same as that double."""
  if isinstance(value, list | tuple):
    return [_same(element) for element in value]
  is_whole = type(value) is int and abs(value) < 2**53
  return repr(float(value) if is_whole else value)


class JsonLinesTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), 'log.jsonl')

  def _read(self, content: bytes, *columns: str, is_fast: bool = True) -> reading.Read:
    self.path.write_bytes(content)
    read_fast = jsonl._Parser._read_fast if is_fast else lambda parser, text, ends, start: not text
    with mock.patch.object(jsonl._Parser, '_read_fast', read_fast):
      return reading.read(jsonl.JsonLines(), self.path, *(columns or _COLUMNS))

  @hypothesis.given(_CONTENTS, strategies.integers(20, 200), strategies.integers(100, 300))
  @hypothesis.settings(deadline=None, max_examples=60)
  def test_pyarrow_gives_what_line_by_line_gives(self, ended: list[tuple[bytes, bytes]], block: int, part: int) -> None:
    content = b''.join(line + end for line, end in ended)
    slow = self._read(content, is_fast=False)
    with mock.patch.multiple(streams, BLOCK_BYTES=block, PART_BYTES=part), mock.patch.object(jsonl, '_SMALL_BYTES', 1):
      fast = self._read(content)
    self.assertEqual(_same(fast.rows), _same(slow.rows))
    self.assertEqual(fast.refused, slow.refused)
    lines = content.removeprefix(b'\xef\xbb\xbf').splitlines()
    self.assertEqual(len(fast.rows) + sum(fast.refused.values()), sum(bool(line.strip()) for line in lines))
    self.assertLen(set(fast.positions), len(fast.rows))

  @parameterized.named_parameters(
    ('plain', _line(), ('amy', 3, 'hello\nyou')),
    ('more_keys', _line(more=[1]), ('amy', 3, 'hello\nyou')),
    ('numbered_user', _line(user_id=17), (17, 3, 'hello\nyou')),
    ('outside_ascii', _line(text='é😀'), ('amy', 3, 'é😀')),
    ('half_a_character', _line(text='a\ud800b'), ('amy', 3, 'a\ufffdb')),
    ('largest', _line(utterance=2**63 - 1), ('amy', 2**63 - 1, 'hello\nyou')),
    ('beyond_64_bits', _line(user_id=2**63), (str(2**63), 3, 'hello\nyou')),
    ('a_date_is_text', _line(text='2020-01-01'), ('amy', 3, '2020-01-01')),
    ('missing', b'{"user_id": "amy"}', ('amy', None, None)),
    ('infinite', _line(utterance=float('inf')), ('amy', float('inf'), 'hello\nyou')),
    ('last_of_two', b'{"text": "a", "text": "b"}', (None, None, 'b')),
    ('list', _line(text=[1, 2]), ('amy', 3, [1, 2])),
    ('list_of_anything', _line(text=[1, 'x']), ('amy', 3, None)),
  )
  def test_a_good_line(self, line: bytes, row: tuple[Any, ...]) -> None:
    self.assertEqual(self._read(line), ([row], [0], {}, mock.ANY))

  @parameterized.named_parameters(
    ('not_utf8', b'{"user_id": "\xff"}', 'not_utf8'),
    ('not_utf8_elsewhere', b'{"more": "\xff"}', 'not_utf8'),
    ('utf16', _line().decode().encode('utf-16'), 'not_utf8'),
    ('cut', _line()[:-1], 'not_json'),
    ('two_objects', _line() + _line(), 'not_json'),
    ('zero', b'{"text": "a"}\0}', 'not_json'),
    ('too_deep', b'[' * 100_000, 'not_json'),
    ('list', b'[1, 2]', 'not_an_object'),
    ('null', b'null', 'not_an_object'),
  )
  def test_a_bad_line_has_a_reason_and_takes_no_other_along(self, line: bytes, reason: str) -> None:
    rows, _, refused, _ = self._read(b'\n'.join([_line(), line, _line()]))
    self.assertEqual((len(rows), refused), (2, {reason: 1}))

  def test_objects_that_span_lines_do_not_make_up_for_lines_with_two(self) -> None:
    for spanning in (b'{"text":\n3}\n', b'{"more":\n{"a":3}}\n', b'{"text":3\n}\n'):
      rows, _, refused, _ = self._read(b'{"text":1}{"text":2}\n' + spanning + b'{"text":4}\n', 'text')
      self.assertEqual((rows[-1], sum(refused.values())), ((4,), 4 - len(rows)))
      self.assertGreaterEqual(refused['not_json'], 2)

  def test_values_keep_their_types(self) -> None:
    values = [17, 17.0, '17', True, None, 17.5, 2**53 + 1] * 5
    rows = self._read(b'\n'.join(_line(user_id=value) for value in values), 'user_id').rows
    self.assertEqual(_same(rows), [_same([value]) for value in values])

  def test_a_line_that_is_too_long_is_refused(self) -> None:
    with mock.patch.multiple(streams, MAX_LINE_BYTES=100, BLOCK_BYTES=70):
      rows, _, refused, _ = self._read(b'\n'.join([_line(), _line(text='x' * 100), _line()]))
    self.assertEqual((len(rows), refused), (2, {'row_too_large': 1}))

  def test_a_line_longer_than_what_pyarrow_parses_at_once_is_a_row(self) -> None:
    rows = self._read(_line() + b'\n' + _line(text='x' * (3 << 20))).rows
    self.assertEqual([len(row[2]) for row in rows], [9, 3 << 20])

  def test_one_bad_line_leaves_the_rest_to_pyarrow(self) -> None:
    lines = [_line(utterance=number) for number in range(20_000)]
    with mock.patch.object(jsonl, '_parse_line', wraps=jsonl._parse_line) as parse_line:
      rows, _, refused, types = self._read(b'\n'.join([*lines[:7000], b'nonsense', *lines[7000:], b'']))
    self.assertEqual(([row[1] for row in rows], refused), (list(range(20_000)), {'not_json': 1}))
    self.assertLess(parse_line.call_count, 4000)
    self.assertLen(types, 1)

  def test_a_column_that_changes_its_type_is_read_in_both(self) -> None:
    lines = [_line(user_id=number if number < 3000 else str(number)) for number in range(6000)]
    rows, positions, _, types = self._read(b'\n'.join([*lines, b'']), 'user_id')
    self.assertEqual([row[0] for row in rows], [number if number < 3000 else str(number) for number in range(6000)])
    self.assertEqual(positions, sorted(positions))
    self.assertEqual(types, [['int64'], ['string']])

  def test_whole_and_broken_numbers_do_not_need_line_by_line_reading(self) -> None:
    numbers = [number if number % 3 else number / 2 + 0.25 for number in range(5000)]
    lines = [_line(user_id=number, utterance=-number) for number in numbers]
    with mock.patch.object(jsonl, '_parse_line', wraps=jsonl._parse_line) as parse_line:
      rows, _, _, types = self._read(b'\n'.join([*lines, b'']), 'user_id', 'utterance')
    self.assertEqual(_same(rows), _same([(number, -number) for number in numbers]))
    self.assertEqual(types, [['double'] * 2])
    self.assertLess(parse_line.call_count, 200)

  def test_an_empty_file_has_no_rows(self) -> None:
    for content in (b'', b'\n\n', b'\xef\xbb\xbf'):
      self.assertEqual(self._read(content), ([], [], {}, []))

  def test_shakespeare(self) -> None:
    rows, positions, refused, types = reading.read(jsonl.JsonLines(), _SHAKESPEARE, *_COLUMNS)
    self.assertEqual((len(rows), refused), (29_741, {}))
    self.assertLen({row[0] for row in rows}, 1075)
    self.assertEqual(types, [['string', 'int64', 'string']])
    self.assertEqual(positions, sorted(set(positions)))


class EncodingTest(parameterized.TestCase):
  @parameterized.parameters('latin-1', 'cp1252', 'utf-16', 'utf-16-be', 'gb18030')
  def test_encodings(self, encoding: str) -> None:
    path = pathlib.Path(self.create_tempfile().full_path)
    # A line that pyarrow cannot take has the others read by halves.
    rows = [{'a': 'é' * (number % 5), 'b': number} for number in range(300)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    lines[150] = 'no JSON é'
    path.write_bytes('\n'.join(lines).encode(encoding))
    reader = jsonl.JsonLines(encoding=encoding)
    with mock.patch.multiple(streams, BLOCK_BYTES=500, PART_BYTES=701), mock.patch.object(jsonl, '_SMALL_BYTES', 50):
      found = reading.read(reader, path, 'a', 'b')
    self.assertEqual(found.rows, [(row['a'], row['b']) for row in rows if row['b'] != 150])
    self.assertEqual(found.refused, {'not_json': 1})
    self.assertEqual(found.positions, sorted(set(found.positions)))

  def test_an_unknown_encoding_is_refused(self) -> None:
    with self.assertRaisesRegex(ValueError, "Expected an encoding such as utf-8, .*, found 'utf-9'"):
      jsonl.JsonLines(encoding='utf-9')

  def test_deep_nesting_is_no_json(self) -> None:
    path = pathlib.Path(self.create_tempfile().full_path)
    path.write_text('{"a": 1}\n{"a": ' + '[' * 100_000 + ']' * 100_000 + '}\n{"b": ' + '{"c":' * 99_999 + '\n')
    found = reading.read(jsonl.JsonLines(), path, 'a')
    self.assertEqual((found.rows, found.refused), ([(1,)], {'not_json': 2}))


if __name__ == '__main__':
  absltest.main()
