from collections.abc import Sequence
import decimal
import os
import pathlib
import re
import subprocess
from typing import Any
from unittest import mock
import uuid

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts import shard_format
from pipelines.rows import client_ids


class ReadKeyTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.enter_context(mock.patch.dict(os.environ))
    os.environ.pop(client_ids.KEY_VARIABLE, None)
    self.path = pathlib.Path(self.create_tempdir()) / 'key'

  def test_a_file_and_the_variable_give_the_same_key(self) -> None:
    self.path.write_text('sixteen bytes and more\n')
    from_file = client_ids.read_key(str(self.path), is_public=False)
    os.environ[client_ids.KEY_VARIABLE] = 'sixteen bytes and more'
    self.assertEqual(client_ids.read_key(None, is_public=False), from_file)

  def test_keys_differ(self) -> None:
    keys = []
    for content in ('sixteen bytes and more', 'sixteen bytes and others'):
      self.path.write_text(content)
      keys.append(client_ids.read_key(str(self.path), is_public=False))
    self.assertNotEqual(keys[0].secret, keys[1].secret)
    self.assertNotEqual(keys[0].fingerprint, keys[1].fingerprint)
    self.assertNotIn(keys[0].fingerprint, keys[0].secret.hex())

  def test_public_ids_need_none_but_take_one(self) -> None:
    self.path.write_text('sixteen bytes and more')
    public, own = (client_ids.read_key(path, is_public=True) for path in (None, str(self.path)))
    self.assertNotEqual(public, own)

  @parameterized.parameters(('', 'found none'), ('short', 'found 5 bytes'))
  def test_refuses_a_key_that_hides_nothing(self, content: str, found: str) -> None:
    self.path.write_text(content)
    with self.assertRaisesRegex(ValueError, found):
      client_ids.read_key(str(self.path), is_public=False)

  def test_names_a_key_file_that_is_not_there(self) -> None:
    with self.assertRaisesRegex(ValueError, 'key of client ids in .*key, found No such file'):
      client_ids.read_key(str(self.path), is_public=False)

  def test_says_how_to_make_a_key(self) -> None:
    message = r'client_id_key_file=FILE or (\w+) \((.*) makes one; keep it\), or declare public_ids = true'
    with self.assertRaisesRegex(ValueError, message) as caught:
      client_ids.read_key(None, is_public=False)
    ((variable, command),) = re.findall(message, str(caught.exception))
    subprocess.run(['sh', '-c', command.replace('FILE', f"'{self.path}'")], check=True)
    from_file = client_ids.read_key(str(self.path), is_public=False)
    with mock.patch.dict(os.environ, {variable: self.path.read_text()}):
      self.assertEqual(client_ids.read_key(None, is_public=False), from_file)
    client_ids.read_key(None, is_public=True)


class ReadIdsTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('null', None, 'no_client_id'),
    ('empty', '', 'no_client_id'),
    ('blank', ' \t', 'no_client_id'),
    ('long_and_blank', ' ' * 1_001, 'no_client_id'),
    ('long', 'x' * 1_001, 'client_id_too_long'),
    ('megabytes', 'x' * 10_000_000, 'client_id_too_long'),
  )
  def test_refuses(self, value: str | None, reason: str) -> None:
    read = client_ids.read_ids(pa.array(['ann', value], pa.string()))
    refused = {found: mask.tolist() for found, mask in read.refused.items() if mask.any()}
    self.assertEqual(refused, {reason: [False, True]})

  @parameterized.parameters(1.5, float('inf'), float('nan'), 2.0**53, decimal.Decimal('17.5'), True, b'\xff')
  def test_refuses_what_is_no_id(self, value: Any) -> None:
    self._assert_not_an_id(pa.array([value, None]))

  @parameterized.parameters(
    (pa.array([[1], None]),),
    (pa.array([{'a': '1'}, None]),),
    (pa.array([0, None], pa.timestamp('s')),),
    (pa.array([b'x\xffy', None]).view(pa.string()),),
    (pa.array([b'\xff' * 16, None], pa.binary(16)),),
    (pa.array([b'\xff', None]).dictionary_encode(),),
    (pa.array([b'\xff', None], pa.binary_view()),),
  )
  def test_refuses_a_column_without_ids(self, values: pa.Array) -> None:
    self._assert_not_an_id(values)

  def _assert_not_an_id(self, values: pa.Array) -> None:
    refused = client_ids.read_ids(values).refused
    self.assertEqual(
      {reason: rows.tolist() for reason, rows in refused.items()},
      {'not_a_client_id': [True, False], 'no_client_id': [False, True]},
    )

  def test_a_row_is_refused_for_itself_alone(self) -> None:
    values = [b'ann', b'\xff', None, b' ', b'x' * 1_001, '\u3000'.encode(), b'bob']
    read = client_ids.read_ids(pa.array(values))
    self.assertEqual(
      {reason: np.flatnonzero(rows).tolist() for reason, rows in read.refused.items()},
      {'no_client_id': [2, 3, 5], 'not_a_client_id': [1], 'client_id_too_long': [4]},
    )
    self.assertEqual([read.values[row].as_py() for row in (0, 6)], ['ann', 'bob'])

  def test_what_lies_behind_a_null_does_not_matter(self) -> None:
    _, offsets, content = pa.array([b'\xff', b'a']).buffers()
    values = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(b'\x02'), offsets, content])
    read = client_ids.read_ids(values)
    self.assertEqual({reason: rows.tolist() for reason, rows in read.refused.items()}, {'no_client_id': [True, False]})

  def test_good_ids_have_no_reason(self) -> None:
    self._assert_read(pa.array(['ann', 'Bob', '017']), ['ann', 'Bob', '017'])

  def _assert_read(self, values: pa.Array, expected: Sequence[str]) -> None:
    read = client_ids.read_ids(values)
    self.assertEqual((read.values.to_pylist(), read.refused, read.notes), (list(expected), {}, {}))

  def test_spellings_of_an_id_are_one_user_and_their_rows_are_counted(self) -> None:
    values = pa.array(['ann', 'ann ', '\ufeffann', 'an\u200bn\0\0', 'jos\u00e9', 'jose\u0301', '17', '17.0', None])
    read = client_ids.read_ids(values)
    self.assertEqual(read.values.to_pylist(), ['ann'] * 4 + ['jos\u00e9'] * 2 + ['17'] * 2 + [None])
    changed = read.notes[client_ids.NORMALIZED]
    self.assertEqual(np.flatnonzero(changed).tolist(), [1, 2, 3, 5, 7])
    hashed = client_ids.hash_ids(read.values.drop_null(), b'key').to_pylist()
    self.assertEqual(hashed, client_ids.hash_names(values.drop_null().to_pylist(), b'key'))
    self.assertLen(set(hashed), 3)

  def test_padding_does_not_make_an_id_too_long(self) -> None:
    read = client_ids.read_ids(pa.array(['x' * 1_000 + ' ' * 100]))
    self.assertEqual((read.values.to_pylist(), read.refused), (['x' * 1_000], {}))

  def test_an_id_that_is_too_long_is_not_remembered(self) -> None:
    self.assertNotIn('x' * 2_000, client_ids.read_ids(pa.array(['ann', 'x' * 2_000])).values.dictionary.to_pylist())

  @parameterized.parameters(
    (pa.array([17], pa.int16()),),
    (pa.array([17], pa.uint64()),),
    (pa.array([17.0]),),
    (pa.array([17.0], pa.float32()),),
    (pa.array([17], pa.decimal128(38, 0)),),
    (pa.array([decimal.Decimal('17.00')]),),
    (pa.array(['17'], pa.large_string()),),
    (pa.array(['17'], pa.string_view()),),
    (pa.array(['17']).dictionary_encode(),),
    (pc.run_end_encode(pa.array(['17'])),),
    (pc.run_end_encode(pa.array([17])),),
    (pa.array([b'17']),),
    (pa.array([b'17'], pa.binary(2)),),
    (pa.array([17]).dictionary_encode(),),
  )
  def test_a_whole_number_is_the_same_user_as_its_digits(self, values: pa.Array) -> None:
    self._assert_read(values, ['17'])

  def test_a_long_number_is_the_same_user_as_its_digits(self) -> None:
    digits = '12345678901234567890123456789012345678'
    values = pa.array([decimal.Decimal(digits)], pa.decimal128(38, 0))
    self._assert_read(values, [digits])
    self._assert_read(pa.array([digits]), [digits])

  def test_a_uuid_is_the_same_user_as_its_text(self) -> None:
    names = ['12345678-9abc-def0-1234-56789abcdef0', '00000000-0000-4000-8000-000000000000']
    values = pa.array([uuid.UUID(name) for name in names], pa.uuid())
    self._assert_read(values, names)


class HashTest(parameterized.TestCase):
  @hypothesis.given(strategies.lists(strategies.text(), min_size=1))
  def test_equal_ids_have_equal_hashes_and_others_do_not(self, names: list[str]) -> None:
    hashed = client_ids.hash_ids(pa.array(names), b'key').to_pylist()
    self.assertEqual(hashed, [client_ids.hash_id(name, b'key') for name in names])
    self.assertLen(set(hashed), len(set(names)))

  def test_depends_on_the_key(self) -> None:
    self.assertNotEqual(client_ids.hash_id('ann', b'one'), client_ids.hash_id('ann', b'two'))

  def test_bytes_there_and_back_from_any_slice(self) -> None:
    ids = np.arange(64, dtype=np.uint8).reshape(4, 16)
    array = client_ids.from_bytes(ids)
    np.testing.assert_array_equal(shard_format.id_bytes(array), ids)
    np.testing.assert_array_equal(shard_format.id_bytes(array.slice(1, 2)), ids[1:3])

  def test_halves_sort_as_the_ids_do(self) -> None:
    ids = np.random.default_rng(0).integers(0, 3, (50, 16), np.uint8)
    first, second = client_ids.halves(client_ids.from_bytes(ids))
    by_halves = ids[np.lexsort((second, first))].tolist()
    self.assertEqual(by_halves, sorted(ids.tolist()))


if __name__ == '__main__':
  absltest.main()
