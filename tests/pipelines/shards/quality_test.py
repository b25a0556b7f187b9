"""Tests of what is said to be likely to go wrong, and that each remedy is one."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import pyarrow as pa

from pipelines.declarations import declaration
from pipelines.declarations import parsing
from pipelines.featurizers import base
from pipelines.featurizers import characters
from pipelines.featurizers import table
from pipelines.featurizers import vocabularies
from pipelines.featurizers import windows
from pipelines.featurizers import words
from pipelines.limits import bounds
from pipelines.limits import splits
from pipelines.readers import base as readers
from pipelines.readers import jsonl
from pipelines.rows import rows as rows_lib
from pipelines.shards import quality
from pipelines.shards import shard_building
from pipelines.statistics import scaling

_CLASSES = tuple('abcdefg')


def _warn(featurizer: base.Featurizer, columns: Mapping[str, Any], **held_out: Any) -> list[str]:
  """Returns what is said of the rows of one client."""
  held_out = {'test_users_share': 0.0, **held_out}
  declared = declaration.Declaration(
    'd',
    jsonl.JsonLines(),
    declaration.Client('user', 'order'),
    featurizer,
    bounds.Limits(min_examples_per_client=1),
    splits.Splits(**held_out),
  )
  rows = len(next(iter(columns.values())))
  rest = pa.array([0] * rows, pa.uint32())
  raw = pa.table({'user': ['me'] * rows, 'order': list(range(rows)), **columns, rows_lib.REST: rest})
  block = readers.Block(raw, raw['order'].to_numpy(), {})
  read = parsing.read_block(block, readers.Part('f', 0), declared, b'key').table
  builder = shard_building.ShardBuilder.of(declared)
  bucket, report = builder.gather([read])
  builder.build(bucket, report)
  return quality.warn(report, declared)


def _table(**options: Any) -> table.Table:
  return table.Table(**{'numbers': ('x',), 'label': 'label', 'classes': _CLASSES, **options})


class UnknownTest(parameterized.TestCase):
  # The last character of all, a newline, is no feature: 1 of 20, and 1 of 21.
  @parameterized.parameters(('ж' + 'a' * 19, ['5.0% of the characters']), ('ж' + 'a' * 20, []))
  def test_from_a_twentieth_on(self, text: str, expected: list[str]) -> None:
    found = _warn(characters.Characters('text', 100), {'text': [text]}, tail_share=0.0)
    self.assertEqual([warning[:22] for warning in found], expected)

  def test_words(self) -> None:
    declared = words.Words('text', vocabularies.Words('declared', words=('to',)))
    (warning,) = _warn(declared, {'text': ['to be or not to be']}, tail_share=0.0)
    self.assertStartsWith(warning, '66.7% of the words are outside of the vocabulary: ')

  @parameterized.named_parameters(
    (
      'ascii',
      vocabularies.Alphabet(),
      'more characters in [examples.alphabet] with source = "declared"',
      vocabularies.Alphabet('declared', characters='даaнет'),
    ),
    (
      'declared',
      vocabularies.Alphabet('declared', characters='да'),
      'more characters in [examples.alphabet] with',
      vocabularies.Alphabet('declared', characters='даaнет'),
    ),
    (
      'public',
      dataclasses.replace(vocabularies.Alphabet('public', file='f'), characters=tuple('да')),
      'a larger max_characters in [examples.alphabet], or name a file with more',
      dataclasses.replace(vocabularies.Alphabet('public', file='f'), characters=tuple('данет')),
    ),
    (
      'dp',
      vocabularies.Alphabet('dp', characters=('д',), epsilon=1.0, delta=1e-6),
      'a larger epsilon, max_characters or characters_per_client in [examples.alphabet], or take a public file',
      vocabularies.Alphabet('dp', characters=tuple('данет'), epsilon=1.0, delta=1e-6),
    ),
  )
  def test_the_remedy(self, alphabet: vocabularies.Alphabet, remedy: str, better: vocabularies.Alphabet) -> None:
    rows = {'text': ['да', 'нет']}
    (warning,) = _warn(characters.Characters('text', 100, alphabet), rows, tail_share=0.0)
    self.assertIn(f'Write {remedy}', warning)
    self.assertEmpty(_warn(characters.Characters('text', 100, better), rows, tail_share=0.0))


class TailTest(parameterized.TestCase):
  def test_a_class_that_is_in_the_tail_alone(self) -> None:
    rows = {'x': [1.0] * 40, 'label': ['a'] * 32 + ['b'] * 8}
    (warning,) = _warn(_table(), rows, tail_share=0.2)
    self.assertEqual(
      warning,
      "The held-out tail has all or most examples of 'b' (8 of 8), and training learns little or nothing of them. "
      'Write tail = "random" in [splits], or tail_share = 0.',
    )
    self.assertEmpty(_warn(_table(), rows, tail_share=0.2, tail='random'))
    self.assertEmpty(_warn(_table(), rows, tail_share=0.0))

  @parameterized.parameters((19, 1), (17, 0))
  def test_a_class_that_is_nearly_all_in_the_tail(self, in_tail: int, warnings: int) -> None:
    rows = {'x': [1.0] * 40, 'label': ['a'] * 18 + ['b'] * 2 + ['b'] * in_tail + ['a'] * (20 - in_tail)}
    self.assertLen(_warn(_table(), rows, tail_share=0.5), warnings)

  def test_one_class_only(self) -> None:
    (warning,) = _warn(_table(), {'x': [1.0] * 9, 'label': ['b'] * 9})
    self.assertStartsWith(warning, "All examples are of one class, 'b': there is nothing to learn.")
    self.assertEmpty(_warn(_table(), {'x': [1.0] * 9, 'label': ['b'] * 8 + ['a']}, tail_share=0.0))

  def test_many_classes(self) -> None:
    rows = {'x': [1.0] * 14, 'label': ['a'] * 7 + list('bcdefgb')}
    (warning,) = _warn(_table(), rows, tail_share=0.5)
    self.assertIn("'b' (2 of 2), 'c' (1 of 1), 'd' (1 of 1), 'e' (1 of 1), 'f' (1 of 1) and 1 more", warning)

  def test_windows_that_overlap(self) -> None:
    rows = {'x': [1.0] * 40, 'label': ['a'] * 30 + ['b'] * 10}
    asked: dict[str, Any] = {'numbers': ('x',), 'label': 'label', 'classes': _CLASSES}
    (warning,) = _warn(windows.Windows(**asked, length=4, stride=2), rows, tail_share=0.25)
    self.assertEndsWith(warning, 'or a stride of at least the length and tail = "random".')
    self.assertEmpty(_warn(windows.Windows(**asked, length=4, stride=2), rows, tail_share=0.0))
    apart = windows.Windows(**asked, length=2, stride=2)
    self.assertEmpty(_warn(apart, rows, tail_share=0.25, tail='random'))

  def test_sequences_have_no_such_classes(self) -> None:
    self.assertEmpty(_warn(characters.Characters('text', 2), {'text': ['ab', 'cd', 'ef']}, tail_share=0.5))


class NumbersTest(parameterized.TestCase):
  @parameterized.parameters((1996.0, True), (0.001, True), (29.0, False), (0.1, False), (0.0, False), (-1996.0, True))
  def test_raw_numbers_far_from_one(self, number: float, is_far: bool) -> None:
    rows = {'x': [1.0] * 4, 'year': [number] * 3 + [1.0], 'label': ['a', 'a', 'a', 'b']}
    found = _warn(_table(numbers=('x', 'year')), rows, tail_share=0.0)
    self.assertEqual([warning[:22] for warning in found], ["The numbers in 'year' "] * is_far)
    known = scaling.Scaling('declared', mean=(0.0, 1950.0), stddev=(1.0, 50.0))
    self.assertEmpty(_warn(_table(numbers=('x', 'year'), scaling=known), rows, tail_share=0.0))

  def test_a_few_exceptions_are_none(self) -> None:
    rows = {'x': [1.0, 1.0, 1996.0, 1996.0], 'label': ['a', 'a', 'a', 'b']}
    self.assertEmpty(_warn(_table(), rows, tail_share=0.0))


if __name__ == '__main__':
  absltest.main()
