"""Tests of the program state on disk: the same comes back, or one clear error, and never half of a file."""

import collections
import dataclasses
import hashlib
import io
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

from tests.tff_tasks import fakes
from tff_tasks.algorithms import learning_process
from tff_tasks.population import seeds
from tff_tasks.training import checkpoints
from tff_tasks.training import metrics

_SEED = seeds.Seed.from_number(9)
_HISTORY = fakes.history()
_ROWS = metrics.Rows([metrics.RoundMetrics(0, eval_loss=2.5), metrics.RoundMetrics(1, clients=3, loss=1 / 3)])


class _Weights(NamedTuple):
  trainable: tuple[np.ndarray, ...]
  non_trainable: tuple[np.ndarray, ...]


class _LearningState(NamedTuple):
  global_model_weights: Any
  aggregator: Any
  finalizer: Any


def _aggregator(secret: int) -> collections.OrderedDict[str, np.int32]:
  return collections.OrderedDict(secret=np.int32(secret), round=np.int32(0))


def _state(number: int = 1, units: int = 3) -> Any:
  """Returns what the state of a learning process looks like."""
  return collections.OrderedDict(
    weights=_Weights((np.full((2, units), number, np.float32), np.arange(units, dtype=np.float32)), ()),
    aggregator=collections.OrderedDict(round=np.int32(number), noise_seed=np.array([number, -1], np.int32)),
    optimizer=(np.float32(0.25), [np.float32(number) / 3]),
    empty=(),
  )


def _program_state(
  number: int, state: Any = None, seed: seeds.Seed = _SEED, use_xla: bool | None = None
) -> checkpoints.ProgramState:
  history = _HISTORY.after(number)
  state = _state(number) if state is None else state
  return checkpoints.ProgramState(number, seed, use_xla, state, history, _ROWS)


class CheckpointsTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self._folder = pathlib.Path(folder, 'secret/checkpoints')
    self._kept = checkpoints.Checkpoints(str(self._folder))

  def _save(self, *numbers: int, use_xla: bool | None = None) -> None:
    for number in numbers:
      self._kept.save(_program_state(number, use_xla=use_xla))

  def _names(self) -> list[str]:
    return sorted(os.listdir(self._folder))

  def _load(self) -> checkpoints.ProgramState:
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

  @parameterized.parameters(None, True, False)
  def test_keeps_how_clients_are_compiled(self, use_xla: bool | None) -> None:
    self._save(1, use_xla=use_xla)
    self._assert_holds(1)
    self.assertIs(self._load().use_xla, use_xla)

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
    message = f'Expected a checkpoint of format {checkpoints.FORMAT} .* found one of format 1: finish'
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

  @parameterized.parameters(
    (('sgd', 1.0), ('sgd', 0.01)),
    (('adam', 0.1), ('yogi', 0.1)),
    (('sgd', 1.0), ('sgd', 1.0, 'linear', 8)),
  )
  def test_a_branch_takes_the_weights_and_its_own_optimizer(self, old: Any, new: Any) -> None:
    """The state of TFF's optimizers holds what they were built with."""
    spec = (tf.TensorSpec([2]),)
    begun, other = (
      tf.nest.map_structure(np.asarray, learning_process.build_server_optimizer(*arguments).initialize(spec))
      for arguments in (old, new)
    )
    weights = np.array([1, 2], np.float32)
    self._kept.save(_program_state(1, _LearningState((weights,), _aggregator(2), begun)))
    found = checkpoints.load_last(str(self._folder))
    assert found is not None
    state = found.branched(_LearningState((0 * weights,), _aggregator(8), other)).state
    np.testing.assert_array_equal(state.global_model_weights[0], weights)
    self.assertEqual(state.aggregator, {'secret': 8, 'round': 1})
    tf.nest.map_structure(np.testing.assert_array_equal, state.finalizer, other)

  def test_rounds_that_run_again_take_all_but_what_is_secret(self) -> None:
    self._kept.save(_program_state(1, _LearningState((np.float32(1),), _aggregator(2), (np.float32(3),))))
    found = checkpoints.load_last(str(self._folder))
    assert found is not None
    state = found.restarted(_LearningState((np.float32(7),), _aggregator(8), (np.float32(9),))).state
    self.assertEqual(state, ((1,), {'secret': 8, 'round': 1}, (3,)))
    with self.assertRaisesRegex(ValueError, 'Expected a checkpoint of this model and optimizer'):
      found.restarted(_LearningState((np.float32(7),), _aggregator(8), (np.float32(9), np.float32(0))))

  def test_a_branch_of_another_model_is_refused(self) -> None:
    self._kept.save(_program_state(1, _LearningState((np.zeros(3),), _aggregator(2), ())))
    found = checkpoints.load_last(str(self._folder))
    assert found is not None
    with self.assertRaisesRegex(ValueError, 'Expected a run of this model to branch from, .* leave --branch_from out'):
      found.branched(_LearningState((np.zeros(4),), _aggregator(2), ()))

  def test_only_the_seeds_secret_tells_runs_apart(self) -> None:
    other = seeds.Seed.from_system()
    self._kept.save(_program_state(1, seed=other))
    self.assertEqual(self._load().seed, other)


if __name__ == '__main__':
  absltest.main()
