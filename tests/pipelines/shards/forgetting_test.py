"""Tests of forgetting: whom it takes out, whom it leaves as they were, and what a killed one leaves behind."""

from collections.abc import Callable, Iterator
import contextlib
import datetime
import fcntl
import functools
import hashlib
import itertools
import os
import pathlib
import tempfile
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import client_shards
from contracts import schema as schema_lib
from pipelines.shards import accounting
from pipelines.shards import forgetting
from pipelines.shards import shard_writing

_SCHEMA = schema_lib.Schema(
  'next_character',
  schema_lib.Feature('characters', 'uint8', (16,)),
  schema_lib.Feature('next_characters', 'int8', (16,)),
  ('<pad>', 'a', 'b'),
)
_NUM_SHARDS = 3
_USERS = 12
_TEST_USERS = (9, 11)


class _Killed(BaseException):
  """What stands for the end of the process."""


def _id(user: int) -> bytes:
  return hashlib.blake2b(bytes([user]), digest_size=16).digest()


def _user(user: int) -> list[shard_writing.ClientExamples]:
  rng = np.random.default_rng(user)
  splits = {'test': 5} if user in _TEST_USERS else {'train': user + 1, 'tail': 1}
  return [
    shard_writing.ClientExamples(
      _id(user), split, rng.integers(0, 256, (size, 16), np.uint8), rng.integers(-128, 128, (size, 16), np.int8)
    )
    for split, size in splits.items()
  ]


def _rows(user: int) -> int:
  return sum(len(entry.features) for entry in _user(user))


def _entries(path: str) -> dict[tuple[str, str], tuple[bytes, bytes, int, int]]:
  """Returns the bytes, the checksum and the rows of each entry of a data set, by split and id."""
  data = client_shards.ClientShards(path)
  found = {}
  for row in data.index.to_pylist():
    place = [one.tobytes() for one in data.clients(row['split']).client_ids].index(row['client_id'])
    features, labels = data.read(row['split'], place)
    key = row['split'], data.client_id(row['split'], place)
    found[key] = features.tobytes(), labels.tobytes(), row['checksum'], row['rows']
  return found


class _TestCase(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.path = self.enterContext(tempfile.TemporaryDirectory())
    shards: list[list] = [[] for _ in range(_NUM_SHARDS)]
    for user in range(_USERS):
      shards[user % _NUM_SHARDS] += _user(user)
    self.enterContext(mock.patch.object(shard_writing, '_BATCH_BYTES', 500))
    shard_writing.write_data_set(self.path, _SCHEMA, list(map(shard_writing.pack, shards)))
    self.before = _entries(self.path)

  def _contents(self) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in pathlib.Path(self.path).iterdir()}

  def _manifest(self) -> dict[str, Any]:
    return client_shards.read_manifest(self.path)

  def _check_gone(self, *users: int) -> None:
    """Checks that these users are gone, the others are what they were, and nothing else is in the folder."""
    gone = {_id(user).hex() for user in users}
    self.assertEqual(_entries(self.path), {key: entry for key, entry in self.before.items() if key[1] not in gone})
    client_shards.ClientShards(self.path).verify()
    contents = self._contents()
    self.assertEqual(contents.keys(), {*self._manifest()['files'], 'manifest.json'})
    for user in users:
      examples = [example.tobytes() for entry in _user(user) for array in entry[2:] for example in array]
      for secret in (_id(user), _id(user).hex().encode(), *examples):
        self.assertFalse([name for name, content in contents.items() if secret in content])


class ForgettingTest(_TestCase):
  @parameterized.parameters((4,), (0, 3), (1, 5, 9), (9,), (0, 1, 2), (0, 3, 6, 9))
  def test_takes_these_clients_out_and_no_others(self, *users: int) -> None:
    outcome = forgetting.forget(self.path, [_id(user) for user in users])
    shards = tuple(sorted({user % _NUM_SHARDS for user in users}))
    rows = sum(map(_rows, users))
    self.assertEqual(outcome, forgetting.Outcome(len(users), len(users), shards, rows))
    self._check_gone(*users)

  def test_rewrites_only_the_shards_they_are_in(self) -> None:
    before = self._contents()
    forgetting.forget(self.path, [_id(4), _id(7)])
    after = self._contents()
    changed = {'shard-00001-of-00003.arrow', 'index.arrow', 'manifest.json'}
    self.assertEqual(before.keys() - after.keys(), changed - {'manifest.json'})
    self.assertEqual(after.keys() - before.keys(), {'shard-00001-of-00003.g1.arrow', 'index.g1.arrow'})
    for name in before.keys() - changed:
      self.assertEqual(before[name], after[name])

  def test_no_name_comes_twice(self) -> None:
    forgetting.forget(self.path, [_id(4)])
    forgetting.forget(self.path, [_id(7), _id(5)])
    self._check_gone(4, 7, 5)
    expected = ['index.g2.arrow', 'shard-00000-of-00003.arrow', 'shard-00001-of-00003.g2.arrow']
    self.assertEqual(sorted(self._manifest()['files']), [*expected, 'shard-00002-of-00003.g2.arrow'])

  def test_a_shard_of_forgotten_clients_alone_goes(self) -> None:
    forgetting.forget(self.path, [_id(user) for user in range(1, _USERS, _NUM_SHARDS)])
    self._check_gone(*range(1, _USERS, _NUM_SHARDS))
    shards = sorted(entry['shard'] for entry in self._manifest()['files'].values() if 'shard' in entry)
    self.assertEqual(shards, [0, 2])

  def test_the_manifest_keeps_the_account_and_no_id(self) -> None:
    old = self._manifest()
    forgetting.forget(self.path, [_id(4), _id(9), b'x' * 16])
    forgetting.forget(self.path, [_id(5)])
    new = self._manifest()
    dates = [datetime.datetime.fromisoformat(entry.pop('date')) for entry in new['forgotten']]
    first, second = {'clients': 2, 'asked': 3, 'shards': [0, 1]}, {'clients': 1, 'asked': 1, 'shards': [2]}
    self.assertEqual(new['forgotten'], [first, second])
    self.assertEqual({date.utcoffset() for date in dates}, {datetime.timedelta()})
    rows = _rows(4) + _rows(9) + _rows(5)
    self.assertEqual(new['rows']['used'], old['rows']['used'] - rows)
    self.assertEqual(new['rows']['quarantined'], {'forgotten': rows})
    self.assertEqual(new['rows']['read'], new['rows']['used'] + rows)
    examples = old['splits']['train']['examples'] - 5 - 6
    self.assertEqual(new['splits']['train'], {'clients': 8, 'examples': examples, 'empty': 0})
    self.assertEqual(new['splits']['test'], {'clients': 1, 'examples': 5})
    self.assertEqual(new['schema'], old['schema'])

  def test_a_client_without_examples_is_forgotten_like_others(self) -> None:
    path = self.create_tempdir().full_path
    entries = [(b'a' * 16, 3), (b'b' * 16, 0), (b'c' * 16, 2), (b'd' * 16, 0)]
    rng = np.random.default_rng(0)
    clients = [
      shard_writing.ClientExamples(
        one, 'train', rng.integers(0, 256, (size, 16), np.uint8), rng.integers(-128, 128, (size, 16), np.int8)
      )
      for one, size in entries
    ]
    held_out = shard_writing.ClientExamples(b'b' * 15 + b'c', 'test', *clients[0][2:])
    shard_writing.write_data_set(path, _SCHEMA, [shard_writing.pack([*clients, held_out])])
    outcome = forgetting.forget(path, [b'b' * 16])
    self.assertEqual((outcome.clients, outcome.rows), (1, 0))
    data = client_shards.ClientShards(path)
    data.verify()
    self.assertEqual(data.manifest['splits']['train'], {'clients': 3, 'examples': 5, 'empty': 1})
    for place, client in enumerate((clients[0], clients[2], clients[3])):
      np.testing.assert_array_equal(data.read('train', place)[0], client.features)
    np.testing.assert_array_equal(data.read('test', 0)[0], held_out.features)
    forgetting.forget(path, [b'a' * 16, b'c' * 16])
    self.assertEqual(client_shards.ClientShards(path).manifest['splits']['train']['clients'], 1)
    self.assertIn('No training client with examples', forgetting.forget(path, []).warnings[0])

  def test_warnings_speak_of_the_data_as_it_is(self) -> None:
    old, other = self._manifest(), 'The held-out tail has all examples of walk (3 of 3).'
    details = {key: value for key, value in old.items() if key not in ('format', 'schema')}
    details['warnings'] = [*accounting.warn(old['splits']), other]
    shard_writing.write_manifest(self.path, _SCHEMA, details)
    self.assertStartsWith(self._manifest()['warnings'][0], 'Only 10 training clients: ')
    forgetting.forget(self.path, [_id(user) for user in (4, *_TEST_USERS)])
    refusal, few, before = self._manifest()['warnings']
    self.assertStartsWith(refusal, 'No test client: ')
    self.assertStartsWith(few, 'Only 9 training clients: ')
    self.assertEqual(before, f'Before clients were forgotten: {other}')
    forgetting.forget(self.path, [_id(5)])
    self.assertEqual([text[:6] for text in self._manifest()['warnings']], ['No tes', 'Only 8', 'Before'])
    self.assertEqual(self._manifest()['warnings'][2], before)

  def test_asking_for_nobody_that_is_there_changes_nothing(self) -> None:
    forgetting.forget(self.path, [_id(4)])
    before = self._contents()
    self.assertEqual(forgetting.forget(self.path, [_id(4), b'x' * 16]), forgetting.Outcome(asked=2, clients=0))
    self.assertEqual(forgetting.forget(self.path, []), forgetting.Outcome(asked=0, clients=0))
    self.assertEqual(self._contents(), before)

  def test_says_when_nobody_is_left_to_train_on(self) -> None:
    outcome = forgetting.forget(self.path, [_id(user) for user in range(_USERS) if user not in _TEST_USERS])
    self.assertLen(outcome.warnings, 1)
    self.assertIn('No training client with examples', outcome.warnings[0])
    outcome = forgetting.forget(self.path, [_id(user) for user in _TEST_USERS])
    self.assertLen(outcome.warnings, 2)
    self.assertEqual(forgetting.forget(self.path, [_id(4)]).warnings, outcome.warnings)
    self._check_gone(*range(_USERS))

  @parameterized.parameters(b'', b'short', b'x' * 17)
  def test_refuses_what_is_no_id(self, client_id: bytes) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected client ids of 16 bytes') as caught:
      forgetting.forget(self.path, [client_id])
    self.assertNotIn('short', str(caught.exception))

  def test_refuses_to_keep_what_is_damaged(self) -> None:
    path = pathlib.Path(self.path, 'shard-00001-of-00003.arrow')
    values = _user(7)[0].features.tobytes()
    whole = path.read_bytes()
    self.assertEqual(whole.count(values), 1)
    path.write_bytes(whole.replace(values, values[::-1]))
    before = self._contents()
    with self.assertRaisesRegex(ValueError, 'shard-00001-of-00003.arrow .* other content'):
      forgetting.forget(self.path, [_id(4)])
    self.assertEqual(self._contents(), before)

  def test_who_had_it_open_opens_it_again(self) -> None:
    data = client_shards.ClientShards(self.path)
    place = [data.client_id('train', index) for index in range(data.num_clients('train'))].index(_id(7).hex())
    forgetting.forget(self.path, [_id(4)])
    with self.assertRaisesRegex(ValueError, 'the data set has changed meanwhile, open it again'):
      data.read('train', place)
    again = client_shards.ClientShards(self.path)
    self.assertLen(again.read_all('train')[0], again.num_examples('train'))

  def test_two_at_once_do_not_undo_each_other(self) -> None:
    folder = os.open(self.path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with self.assertRaisesRegex(ValueError, 'Expected nobody else to change .*: wait for it'):
      forgetting.forget(self.path, [_id(4)])
    self.assertEqual(_entries(self.path), self.before)
    os.close(folder)
    forgetting.forget(self.path, [_id(4)])
    self._check_gone(4)

  def test_a_folder_without_a_data_set(self) -> None:
    with self.assertRaisesRegex(ValueError, 'found no manifest.json'):
      forgetting.forget(os.path.join(self.path, 'nowhere'), [_id(4)])

  def test_a_full_disk_is_one_line_and_no_change(self) -> None:
    before = self._contents()
    full = OSError(28, 'No space left on device')
    message = 'found No space left on device: correct that and repeat the command.'
    with mock.patch.object(os, 'fsync', side_effect=full), self.assertRaisesRegex(ValueError, message):
      forgetting.forget(self.path, [_id(4)])
    self.assertEqual(self._contents(), before)
    forgetting.forget(self.path, [_id(4)])
    self._check_gone(4)


class KilledTest(_TestCase):
  @contextlib.contextmanager
  def _kill(self, step: int) -> Iterator[None]:
    """Lets only so many calls through that change what is on the disk: who is killed tidies nothing up either."""
    calls = itertools.count()

    def stand_in(function: Callable[..., Any], *arguments: Any) -> Any:
      if next(calls) >= step:
        raise _Killed
      return function(*arguments)

    with contextlib.ExitStack() as patches:
      for name in ('fsync', 'remove', 'replace'):
        patches.enter_context(mock.patch.object(os, name, functools.partial(stand_in, getattr(os, name))))
      yield

  @parameterized.parameters(*range(15))
  def test_it_is_the_old_data_set_or_the_new_one(self, step: int) -> None:
    users = (4, 5, 10)
    with self._kill(step), self.assertRaises(_Killed):
      forgetting.forget(self.path, [_id(user) for user in users])
    data = client_shards.ClientShards(self.path)
    data.verify()
    is_new = step > 10  # Two shards, the index and the manifest: each flushed, renamed, and its folder flushed.
    self.assertEqual('forgotten' in data.manifest, is_new)
    gone = {_id(user).hex() for user in users if is_new}
    self.assertEqual(_entries(self.path), {key: entry for key, entry in self.before.items() if key[1] not in gone})
    self.assertEqual(forgetting.forget(self.path, [_id(user) for user in users]).clients, 0 if is_new else 3)
    self._check_gone(*users)
    self.assertLen(self._manifest()['forgotten'], 1)

  def test_there_is_no_step_more(self) -> None:
    with self._kill(15):
      forgetting.forget(self.path, [_id(user) for user in (4, 5, 10)])
    self._check_gone(4, 5, 10)


if __name__ == '__main__':
  absltest.main()
