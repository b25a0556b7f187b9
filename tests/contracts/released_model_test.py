"""Tests of the released model: what is loaded is what was saved, or one clear error."""

from collections.abc import Callable
import dataclasses
import json
import os
import pathlib
import tempfile
from typing import Any
from unittest import mock

from absl.testing import absltest
import numpy as np

from contracts import released_model
from contracts import run_directory
from tests.tff_tasks import fakes

_SHAPES = ((2, 3), (2,), (1, 1, 1))
_WEIGHTS = tuple(np.random.default_rng(1).normal(size=shape).astype(np.float32) for shape in _SHAPES)
_MODEL = released_model.ReleasedModel(fakes.SCHEMA, 8, 3, _WEIGHTS, ('0123456789abcdef', 1))


_LEDGER = {'epsilon': 0.5, 'rounds': 3, 'not_covered': ['\N{GREEK SMALL LETTER EPSILON}']}


class _Once:
  """Calls a function once, and is interrupted then."""

  def __init__(self, function: Callable[..., Any]) -> None:
    self._function, self._is_called = function, False

  def __call__(self, *arguments: Any) -> Any:
    if self._is_called:
      raise KeyboardInterrupt
    self._is_called = True
    return self._function(*arguments)


class ReleasedTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._run_dir = self.enterContext(tempfile.TemporaryDirectory())
    run_directory.make(self._run_dir)
    self._path = pathlib.Path(self._run_dir, 'public/model.npz')

  def _assert_same(self, found: released_model.ReleasedModel, expected: released_model.ReleasedModel) -> None:
    self.assertEqual(dataclasses.replace(found, weights=()), dataclasses.replace(expected, weights=()))
    for weight, other in zip(found.weights, expected.weights, strict=True):
      np.testing.assert_array_equal(weight, other, strict=True)

  def _assert_refused(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected a released model at .*model.npz, found a damaged file') as caught:
      released_model.load(self._run_dir)
    self.assertNotIn('\n', str(caught.exception))

  def test_counts_the_weights(self) -> None:
    self.assertEqual(_MODEL.num_weights, 6 + 2 + 1)

  def test_loads_what_was_saved(self) -> None:
    released_model.save(_MODEL, _LEDGER, self._run_dir)
    self._assert_same(released_model.load(self._run_dir), _MODEL)

  def test_saves_over_an_older_one(self) -> None:
    released_model.save(_MODEL, _LEDGER, self._run_dir)
    newer = dataclasses.replace(_MODEL, round_number=4, weights=_WEIGHTS[::-1])
    released_model.save(newer, _LEDGER, self._run_dir)
    self._assert_same(released_model.load(self._run_dir), newer)
    found = [path.name for path in pathlib.Path(self._run_dir, 'public').iterdir()]
    self.assertCountEqual(found, ['model.npz', 'privacy.json'])

  def test_keeps_the_order_of_many_weights(self) -> None:
    many = dataclasses.replace(_MODEL, weights=[np.full(1, number, np.float32) for number in range(120)])
    released_model.save(many, _LEDGER, self._run_dir)
    self._assert_same(released_model.load(self._run_dir), many)

  def test_a_missing_file(self) -> None:
    with self.assertRaisesRegex(ValueError, '^Expected a released model at .*, found none: train the run first.$'):
      released_model.load(self._run_dir)

  def test_a_truncated_file(self) -> None:
    released_model.save(_MODEL, _LEDGER, self._run_dir)
    whole = self._path.read_bytes()
    for length in range(0, len(whole), 97):
      self._path.write_bytes(whole[:length])
      self._assert_refused()

  def test_every_flipped_byte_is_noticed_or_harmless(self) -> None:
    released_model.save(_MODEL, _LEDGER, self._run_dir)
    whole = self._path.read_bytes()
    refused = 0
    for place in range(len(whole)):
      for mask in (1, 8, 255):
        self._path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
        try:
          found = released_model.load(self._run_dir)
        except ValueError as error:
          refused += 1
          self.assertStartsWith(str(error), 'Expected a released model at ')
        else:
          self._assert_same(found, _MODEL)
    self.assertGreater(refused, 2 * len(whole))

  def test_other_files_are_refused(self) -> None:
    for content in (b'PK', b'\x93NUMPY', b'not a model'):
      self._path.write_bytes(content)
      self._assert_refused()
    np.savez(self._path, weight_000=_WEIGHTS[0])
    self._assert_refused()

  def test_the_ledger_names_the_model(self) -> None:
    released_model.save(_MODEL, _LEDGER, self._run_dir)
    model, ledger = released_model.load_with_ledger(self._run_dir)
    self._assert_same(model, _MODEL)
    self.assertEqual(ledger, {**ledger, **_LEDGER, 'round': 3, 'model': model.digest, 'run': ['0123456789abcdef', 1]})

  def test_a_kill_between_the_two_is_noticed(self) -> None:
    released_model.save(_MODEL, _LEDGER, self._run_dir)
    newer = dataclasses.replace(_MODEL, round_number=4, weights=_WEIGHTS[::-1])
    with mock.patch('os.replace', _Once(os.replace)):
      self.assertRaises(KeyboardInterrupt, released_model.save, newer, _LEDGER, self._run_dir)
    with self.assertRaisesRegex(
      ValueError, 'to be released together, found the model of round 3 and a ledger of round 4: repeat the training'
    ):
      released_model.load(self._run_dir)
    released_model.save(newer, _LEDGER, self._run_dir)
    self._assert_same(released_model.load(self._run_dir), newer)

  def test_a_ledger_of_another_model_is_refused(self) -> None:
    released_model.save(_MODEL, _LEDGER, self._run_dir)
    ledger = pathlib.Path(self._run_dir, 'public/privacy.json').read_bytes()
    released_model.save(dataclasses.replace(_MODEL, weights=_WEIGHTS[::-1]), _LEDGER, self._run_dir)
    pathlib.Path(self._run_dir, 'public/privacy.json').write_bytes(ledger)
    with self.assertRaisesRegex(ValueError, 'to be released together'):
      released_model.load(self._run_dir)

  def test_a_damaged_ledger(self) -> None:
    released_model.save(_MODEL, _LEDGER, self._run_dir)
    path = pathlib.Path(self._run_dir, 'public/privacy.json')
    whole = path.read_bytes()
    changed = whole.replace(b'0.5', b'0.4')
    for content in (b'', b'[1]', b'{}', b'\xff', whole[:-20], changed, b'null', b'{"checksum": 1}'):
      path.write_bytes(content)
      with self.assertRaisesRegex(ValueError, '^Expected a privacy ledger at .*, found a damaged file .* repeat the'):
        released_model.load(self._run_dir)
    path.unlink()
    with self.assertRaisesRegex(ValueError, '^Expected the privacy ledger of a model at .*, found none'):
      released_model.load(self._run_dir)

  def test_names_its_task(self) -> None:
    released_model.save(_MODEL, _LEDGER, self._run_dir)
    task = released_model.load(self._run_dir).task
    self.assertEqual(task, released_model.Task('next_character', 'next_character'))
    own = dataclasses.replace(_MODEL, own_task=released_model.Task('mine', 'my.tasks:TASK'))
    released_model.save(own, _LEDGER, self._run_dir)
    self._assert_same(released_model.load(self._run_dir), own)
    self.assertEqual(own.task, ('mine', 'my.tasks:TASK'))

  def test_a_name_of_a_task_that_is_no_file_name_is_refused(self) -> None:
    own = dataclasses.replace(_MODEL, own_task=released_model.Task('../mine', 'my.tasks:TASK'))
    released_model.save(own, _LEDGER, self._run_dir)
    self._assert_refused()

  def test_the_format_before_is_read(self) -> None:
    released_model.save(_MODEL, _LEDGER, self._run_dir)
    with np.load(self._path) as arrays:
      members = dict(arrays)
    header = json.loads(str(members.pop('header')))
    del header['own_task']
    for number, is_read in ((2, True), (1, False), (4, False)):
      np.savez(self._path, header=np.array(json.dumps({**header, 'format': number})), **members)
      if is_read:
        self._assert_same(released_model.load(self._run_dir), _MODEL)
      else:
        with self.assertRaisesRegex(ValueError, '^Expected a released model of format 3 at'):
          released_model.load(self._run_dir)

  def test_a_task_of_the_users_own_is_code_that_has_to_be_given(self) -> None:
    own = dataclasses.replace(_MODEL, own_task=released_model.Task('mine', 'my.tasks:TASK'))
    self.assertEqual(released_model.check_task(own, 'my.tasks:TASK', 'run'), 'my.tasks:TASK')
    for given, found in ((None, 'none'), ('other.tasks:TASK', 'other.tasks:TASK'), ('', 'none')):
      with self.assertRaisesRegex(
        ValueError, f'Expected --task=my.tasks:TASK, which the model in run was trained with, found {found}: add that'
      ):
        released_model.check_task(own, given, 'run')
    for given in (None, 'next_character'):
      self.assertEqual(released_model.check_task(_MODEL, given, 'run'), 'next_character')
    with self.assertRaisesRegex(
      ValueError, 'Expected --task=next_character, .* found next_word: give that one, or none'
    ):
      released_model.check_task(_MODEL, 'next_word', 'run')

  def test_an_older_format_is_refused_by_its_name(self) -> None:
    np.savez(self._path, header=np.array('{"round_number": 3}'), weight_000=_WEIGHTS[0])
    with self.assertRaisesRegex(ValueError, '^Expected a released model of format 3 at .*earlier version'):
      released_model.load(self._run_dir)

  def test_finds_the_rounds_that_the_files_are_of(self) -> None:
    self.assertEmpty(released_model.find_rounds(self._run_dir))
    released_model.save(_MODEL, _LEDGER, self._run_dir)
    self.assertEqual(released_model.find_rounds(self._run_dir), [('0123456789abcdef', 1, 3)] * 2)
    self._path.write_bytes(b'damaged')
    self.assertEqual(released_model.find_rounds(self._run_dir), [('0123456789abcdef', 1, 3)])
    pathlib.Path(self._run_dir, 'public/privacy.json').write_text('{"round": 1}')
    self.assertEmpty(released_model.find_rounds(self._run_dir))


if __name__ == '__main__':
  absltest.main()
