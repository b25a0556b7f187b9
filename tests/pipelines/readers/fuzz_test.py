"""Some hundreds of damaged files of each format, and files that ask for too much memory: see `fuzz`."""

import collections
import dataclasses
import random
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from tests.pipelines.readers import fuzz_files
from tests.pipelines.readers import fuzzing

_FORMATS = tuple(fuzz_files.FORMATS)
_RUNS = 50


class FuzzTest(parameterized.TestCase):
  def test_damaged_files_are_read_or_refused_in_one_line(self) -> None:
    counts: collections.Counter[str] = collections.Counter()
    # A fixed number: the time only ends a reader that hangs.
    self.assertEmpty(list(fuzzing.watch(0, _FORMATS, _RUNS, 300, counts=counts)))
    self.assertEqual(counts, dict.fromkeys(_FORMATS, _RUNS))

  def test_files_that_ask_for_too_much_get_little(self) -> None:
    self.assertEmpty(list(fuzzing.watch(0, _FORMATS, 1, 60, '--bombs')))

  @parameterized.parameters(*_FORMATS)
  def test_whole_files_are_read(self, file_format: str) -> None:
    kind = fuzz_files.FORMATS[file_format]
    messages = [kind.read(content, self.create_tempdir().full_path) for content in kind.seeds()]
    self.assertIn(None, messages)

  def test_what_is_wrong_is_found(self) -> None:
    kind = fuzz_files.FORMATS['jsonl']
    folder = self.create_tempdir().full_path
    for read, found in (
      (mock.Mock(side_effect=KeyError('x')), 'KeyError at '),
      (mock.Mock(return_value='Expected\nlines'), 'a message of another form'),
      (mock.Mock(return_value='no'), 'a message of another form'),
    ):
      with mock.patch.dict(fuzz_files.FORMATS, jsonl=dataclasses.replace(kind, read=read)):
        self.assertStartsWith(fuzzing.read_mutated('jsonl', 0, 0, folder) or '', found)
    self.assertIsNone(fuzzing.read_mutated('jsonl', 0, 0, folder))

  def test_the_end_of_the_process_is_found(self) -> None:
    (found,) = fuzzing.watch(0, ['none such'], 1, 0.01)
    self.assertEqual(found.what, 'the process ended with 1')

  def test_the_same_seed_makes_the_same_files(self) -> None:
    seeds = fuzz_files.FORMATS['csv'].seeds()
    first, again, other = (fuzzing.mutate(seeds[0], seeds, random.Random(seed)) for seed in (1, 1, 2))
    self.assertEqual(first, again)
    self.assertNotEqual(first, other)


if __name__ == '__main__':
  absltest.main()
