import os
import pathlib
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa

from pipelines import shard_bytes
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

  def test_says_how_to_make_a_key(self) -> None:
    with self.assertRaisesRegex(ValueError, 'client_id_key_file=FILE or POCKETFED_CLIENT_ID_KEY.*makes one'):
      client_ids.read_key(None, is_public=False)


class ReadIdsTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('null', None, 'no_client_id'),
      ('empty', '', 'no_client_id'),
      ('blank', ' \t', 'no_client_id'),
      ('long', 'x' * 1_001, 'client_id_too_long'),
      ('megabytes', 'x' * 10_000_000, 'client_id_too_long'),
  )
  def test_refuses(self, value: str | None, reason: str) -> None:
    read = client_ids.read_ids(pa.array(['ann', value], pa.string()))
    refused = {found: mask.tolist() for found, mask in read.refused.items() if mask.any()}
    self.assertEqual(refused, {reason: [False, True]})

  def test_a_broken_number_is_no_id(self) -> None:
    for value in (1.5, float('inf'), 2.0**53):
      self.assertEqual(client_ids.read_ids(pa.array([value])).refused['no_client_id'].tolist(), [True])

  @parameterized.parameters(
      (pa.array([True, None]),), (pa.array([[1], None]),)
  )
  def test_refuses_what_is_no_id(self, values: pa.Array) -> None:
    refused = client_ids.read_ids(values).refused
    self.assertEqual(refused['not_a_client_id'].tolist(), [True, False])
    self.assertEqual(refused['no_client_id'].tolist(), [False, True])

  def test_a_whole_number_is_the_same_user_as_its_digits(self) -> None:
    text = pa.array(['17'])
    numbers = (pa.array([17], pa.int16()), pa.array([17.0], pa.float32()))
    for values in (*numbers, text, text.dictionary_encode(), pa.array([b'17'])):
      self.assertEqual(client_ids.read_ids(values).values.to_pylist(), ['17'])


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
    np.testing.assert_array_equal(shard_bytes.id_bytes(array), ids)
    np.testing.assert_array_equal(shard_bytes.id_bytes(array.slice(1, 2)), ids[1:3])

  def test_halves_sort_as_the_ids_do(self) -> None:
    ids = np.random.default_rng(0).integers(0, 3, (50, 16), np.uint8)
    first, second = client_ids.halves(client_ids.from_bytes(ids))
    by_halves = ids[np.lexsort((second, first))].tolist()
    self.assertEqual(by_halves, sorted(ids.tolist()))


if __name__ == '__main__':
  absltest.main()
