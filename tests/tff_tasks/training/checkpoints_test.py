"""Tests of the program state on disk: the same comes back, or one clear error, and never half of a file."""

import collections
from collections.abc import Mapping
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import stat
import tempfile
from typing import Any, NamedTuple
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from contracts import formats
from tests.tff_tasks import fakes
from tff_tasks.population import seeds
from tff_tasks.training import checkpoints
from tff_tasks.training import metrics
from tff_tasks.training import program_state

_SEED = seeds.Seed.from_number(9)
_HISTORY = fakes.history()
_ROWS = metrics.Rows([metrics.RoundMetrics(0, eval_loss=2.5), metrics.RoundMetrics(1, clients=3, loss=1 / 3)])


class _Weights(NamedTuple):
  trainable: tuple[np.ndarray, ...]
  non_trainable: tuple[np.ndarray, ...]


def _state(number: int = 1, units: int = 3) -> Any:
  """Returns what the state of a learning process looks like."""
  return collections.OrderedDict(
    weights=_Weights((np.full((2, units), number, np.float32), np.arange(units, dtype=np.float32)), ()),
    aggregator=collections.OrderedDict(round=np.int32(number), noise_seed=np.array([number, -1], np.int32)),
    optimizer=(np.float32(0.25), [np.float32(number) / 3]),
    empty=(),
  )


def _program_state(
  number: int, state: Any = None, seed: seeds.Seed = _SEED, settled: Mapping[str, Any] = {}
) -> program_state.ProgramState:
  history = _HISTORY.after(number)
  state = _state(number) if state is None else state
  return program_state.ProgramState(number, seed, settled, state, history, _ROWS)


class CheckpointsTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self._folder = pathlib.Path(folder, 'secret/checkpoints')
    self._kept = checkpoints.Checkpoints(str(self._folder))

  def _save(self, *numbers: int) -> None:
    for number in numbers:
      self._kept.save(_program_state(number))

  def _names(self) -> list[str]:
    return sorted(os.listdir(self._folder))

  def _load(self) -> program_state.ProgramState:
    found = checkpoints.load_last(str(self._folder))
    assert found is not None
    return found.shaped_like(_state(0))

  def _assert_holds(self, number: int) -> None:
    found = self._load()
    self.assertEqual((found.round_number, found.seed), (number, _SEED))
    tf.nest.assert_same_structure(found.state, _state(number), check_types=True)
    self.assertEqual(list(found.state), ['weights', 'aggregator', 'optimizer', 'empty'])
    for leaf, other in zip(tf.nest.flatten(found.state), tf.nest.flatten(_state(number)), strict=True):
      np.testing.assert_array_equal(leaf, np.asarray(other), strict=True)

  def test_starts_without_any(self) -> None:
    self.assertIsNone(checkpoints.load_last(str(self._folder)))

  def test_the_same_comes_back(self) -> None:
    self._save(0)
    self._assert_holds(0)
    found = self._load()
    self.assertEqual((found.seed, found.history), (_SEED, _HISTORY.after(0)))
    self.assertEqual(list(found.rows), list(_ROWS))

  def test_keeps_what_the_runtime_has_settled(self) -> None:
    settled = {'use_xla': False, 'hosts': ['a', 'b']}
    self._kept.save(_program_state(1, settled=settled))
    self._assert_holds(1)
    self.assertEqual(self._load().settled, settled)

  @parameterized.parameters((None, {}), (True, {'use_xla': True}), (False, {'use_xla': False}))
  def test_reads_the_format_that_had_the_choice_of_xla(self, use_xla: bool | None, settled: dict[str, bool]) -> None:
    self._save(1)
    path = self._folder / 'round_000001.ckpt'
    arrays = dict(np.load(io.BytesIO(path.read_bytes()[32:])))
    header = json.loads(str(arrays['header'])) | {'format': 4, 'use_xla': use_xla}
    del header['settled']
    buffer = io.BytesIO()
    np.savez(buffer, **arrays | {'header': np.array(json.dumps(header))})
    path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    self._assert_holds(1)
    self.assertEqual(self._load().settled, settled)

  def test_keeps_the_capability_classes(self) -> None:
    rows = metrics.Rows([metrics.RoundMetrics(1, clients=3, clients_by_class={'fast': 1, 'slow': 2})], ['fast', 'slow'])
    self._kept.save(dataclasses.replace(_program_state(1), rows=rows))
    loaded = checkpoints.load_last(str(self._folder))
    assert loaded is not None
    self.assertEqual((list(loaded.rows), loaded.rows.classes), (list(rows), ['fast', 'slow']))

  def test_keeps_the_columns_of_local_layers(self) -> None:
    row = metrics.RoundMetrics(1, clients=3, eval_after_reconstruction=0.5)
    rows = metrics.Rows([row], is_reconstructed=True)
    self._kept.save(dataclasses.replace(_program_state(1), rows=rows))
    loaded = checkpoints.load_last(str(self._folder))
    assert loaded is not None
    self.assertEqual((list(loaded.rows), loaded.rows.is_reconstructed), ([row], True))

  def test_many_leaves_keep_their_order(self) -> None:
    state = [np.float32(number) for number in range(1_200)]
    self._kept.save(_program_state(1, state))
    found = checkpoints.load_last(str(self._folder))
    assert found is not None
    np.testing.assert_array_equal(found.state, state)

  def test_keeps_the_last_two(self) -> None:
    self._save(0, 9, 10, 100)
    self.assertEqual(self._names(), ['round_000010.ckpt', 'round_000100.ckpt'])
    self._assert_holds(100)

  def test_saves_a_round_again(self) -> None:
    self._save(5, 5)
    self.assertEqual(self._names(), ['round_000005.ckpt'])
    self._assert_holds(5)

  def test_other_files_are_left_alone(self) -> None:
    for name in ('notes.txt', 'round_000003.ckpt.77.part', 'round_3.ckpt'):
      (self._folder / name).write_text('')
    self._save(1, 2, 3)
    self.assertContainsSubset(['notes.txt', 'round_000003.ckpt.77.part', 'round_3.ckpt'], self._names())
    self._assert_holds(3)

  @parameterized.named_parameters(
    ('empty', lambda whole: b''),
    ('cut', lambda whole: whole[:-1]),
    ('cut_to_half', lambda whole: whole[: len(whole) // 2]),
    ('cut_to_the_hash', lambda whole: whole[:32]),
    ('longer', lambda whole: whole + b'\0'),
    ('flipped_in_the_hash', lambda whole: bytes([whole[0] ^ 1]) + whole[1:]),
    ('flipped_at_the_end', lambda whole: whole[:-1] + bytes([whole[-1] ^ 128])),
    ('zeros', lambda whole: bytes(len(whole))),
  )
  def test_a_damaged_one_is_refused_and_the_one_before_is_left(self, damage: Any) -> None:
    self._save(1, 2)
    path = self._folder / 'round_000002.ckpt'
    path.write_bytes(damage(path.read_bytes()))
    with self.assertRaisesRegex(ValueError, f'^Expected a whole checkpoint at {path}, found a damaged one: delete'):
      checkpoints.load_last(str(self._folder))
    path.unlink()
    self._assert_holds(1)

  def test_the_remedies_for_a_damaged_one_are_said(self) -> None:
    self._save(1)
    path = self._folder / 'round_000001.ckpt'
    path.write_bytes(b'')
    with self.assertRaisesRegex(ValueError, 'found a damaged one: choose another --output_dir.$'):
      checkpoints.load_last(str(self._folder))

  def test_one_that_was_renamed_is_refused(self) -> None:
    self._save(1, 2)
    (self._folder / 'round_000002.ckpt').rename(self._folder / 'round_000009.ckpt')
    with self.assertRaisesRegex(
      ValueError, 'Expected the checkpoint of round 9 .* found that of round 2: rename it to round_000002.ckpt'
    ):
      checkpoints.load_last(str(self._folder))
    (self._folder / 'round_000009.ckpt').rename(self._folder / 'round_000002.ckpt')
    self._assert_holds(2)

  def test_two_that_were_swapped_are_refused(self) -> None:
    self._save(1, 2)
    first, second = (self._folder / f'round_00000{number}.ckpt' for number in (1, 2))
    contents = first.read_bytes(), second.read_bytes()
    for path, content in zip((second, first), contents, strict=True):
      path.write_bytes(content)
    with self.assertRaisesRegex(ValueError, 'Expected the checkpoint of round 2 .* found that of round 1'):
      checkpoints.load_last(str(self._folder))

  def test_an_older_format_is_refused_by_its_name(self) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, seed=np.zeros(32, np.uint8), leaf_0000=np.zeros(3))
    path = self._folder / 'round_000003.ckpt'
    path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    message = f'Expected a checkpoint of format {formats.CHECKPOINT} .* found one of format 1: finish'
    with self.assertRaisesRegex(ValueError, message):
      checkpoints.load_last(str(self._folder))

  def test_every_flipped_byte_is_noticed(self) -> None:
    self._save(1)
    path = self._folder / 'round_000001.ckpt'
    whole = path.read_bytes()
    for place in range(0, len(whole), 13):
      path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
      with self.assertRaisesRegex(ValueError, 'found a damaged one'):
        checkpoints.load_last(str(self._folder))

  @parameterized.named_parameters(
    ('other_width', _state(units=4)),
    ('fewer', _state()['weights']),
    ('other_dtype', collections.OrderedDict(_state(), optimizer=(np.float64(0.25), [np.float32(1)]))),
    ('more', collections.OrderedDict(_state(), zeros=np.float32(0))),
  )
  def test_one_of_another_model_is_refused(self, like: Any) -> None:
    self._save(1)
    found = checkpoints.load_last(str(self._folder))
    assert found is not None
    with self.assertRaisesRegex(ValueError, '^Expected a checkpoint of this model and optimizer, found one of'):
      found.shaped_like(like)

  @parameterized.parameters('os.replace', 'os.fsync')
  def test_a_full_disk_leaves_the_old_ones(self, call: str) -> None:
    self._save(1, 2)
    with mock.patch(call, side_effect=OSError(28, 'No space left on device')), self.assertRaises(OSError):
      self._save(3)
    self.assertEqual(self._names(), ['round_000001.ckpt', 'round_000002.ckpt'])
    self._assert_holds(2)

  def test_a_kill_before_the_rename_leaves_the_old_ones(self) -> None:
    self._save(1, 2)
    with mock.patch('os.replace', side_effect=KeyboardInterrupt), mock.patch('os.remove'):
      self.assertRaises(KeyboardInterrupt, self._save, 3)
    self.assertLen(self._names(), 3)  # With the half-finished file, which a kill leaves behind.
    self._assert_holds(2)

  def test_a_kill_before_the_clearing_leaves_the_new_one(self) -> None:
    self._save(1, 2)
    with mock.patch('os.remove', side_effect=KeyboardInterrupt):
      self.assertRaises(KeyboardInterrupt, self._save, 3)
    self._assert_holds(3)
    self._save(4)
    self.assertEqual(self._names(), ['round_000003.ckpt', 'round_000004.ckpt'])

  def test_is_on_the_disk_before_it_has_its_name(self) -> None:
    calls = mock.Mock()
    with mock.patch('os.fsync', calls.fsync), mock.patch('os.replace', calls.replace):
      self._save(1)
    # The content, then the name: the folder.
    self.assertEqual([call[0] for call in calls.mock_calls], ['fsync', 'replace', 'fsync'])

  def test_only_the_owner_may_look(self) -> None:
    self.assertEqual(stat.S_IMODE(self._folder.stat().st_mode), 0o700)

  def test_only_the_seeds_secret_tells_runs_apart(self) -> None:
    other = seeds.Seed.from_system()
    self._kept.save(_program_state(1, seed=other))
    self.assertEqual(self._load().seed, other)


if __name__ == '__main__':
  absltest.main()
