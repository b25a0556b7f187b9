"""Tests of where words, characters and items come from: what may be declared, and what a file gives."""

import dataclasses
import hashlib
import os
import pathlib
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import pyarrow as pa

from pipelines.featurizers import characters
from pipelines.featurizers import vocabularies
from pipelines.statistics import vocabulary

_DP: dict[str, Any] = {'source': 'dp', 'epsilon': 1.0, 'delta': 1e-6}
_FAMILY = '\U0001f469\u200d\U0001f467'
_KINDS = (vocabularies.Words, vocabularies.Alphabet, vocabularies.Items)


class VocabulariesTest(parameterized.TestCase):
  def _load(self, asked: vocabulary.Vocabulary, content: str | bytes) -> vocabulary.Vocabulary:
    self._folder = pathlib.Path(self.create_tempdir().full_path)
    (self._folder / 'list.txt').write_bytes(content if isinstance(content, bytes) else content.encode())
    return asked.load(str(self._folder))

  @parameterized.parameters(
    (vocabularies.Words('declared', ('to', "don't", '.')), ('to', "don't", '.')),
    (vocabularies.Alphabet('declared', 'жЖ \u0301'), ('ж', 'Ж', ' ', '\u0301')),
    # A joiner is a character of its own; a letter and its mark are one where Unicode has one.
    (vocabularies.Alphabet('declared', _FAMILY), ('\U0001f469', '\u200d', '\U0001f467')),
    (vocabularies.Alphabet('declared', ('好', 'e\u0301')), ('好', 'é')),
    (vocabularies.Alphabet('declared', 'e\u0301x'), ('é', 'x')),
    (vocabularies.Items('declared', ('17.0', 'Café 3', ' cafe\u0301')), ('17', 'Café 3', 'café')),
    (vocabularies.Words('declared', ('cafe\u0301',)), ('café',)),
  )
  def test_declared(self, declared: vocabulary.Vocabulary, expected: tuple[str, ...]) -> None:
    self.assertIs(declared.load('/nowhere'), declared)
    self.assertEqual(declared.require('text'), expected)
    self.assertIsNone(declared.learner('text'))
    (entry,) = declared.provenance()
    self.assertEqual((entry['source'], entry[declared.UNIT], entry['epsilon']), ('declared', len(expected), 0.0))

  def test_without_a_declaration_the_alphabet_is_ascii(self) -> None:
    self.assertEqual(''.join(vocabularies.Alphabet().require('text')), ''.join(map(chr, range(32, 127))))
    (entry,) = vocabularies.Alphabet().provenance()
    self.assertEqual((entry['what'], entry['source']), ('alphabet', 'declared'))

  @parameterized.parameters(
    (
      vocabularies.Words('public', file='list.txt', max_words=3),
      f'The\nof\n\nthe\n{"x" * 65}\nEnd.\r\nmore',
      ('the', 'of', 'end'),
    ),
    (vocabularies.Words('public', file='list.txt'), 'cafe\u0301', ('café',)),
    (
      vocabularies.Alphabet('public', file='list.txt', max_characters=6),
      f'\ufeffда\r\n{_FAMILY}аe\u0301好',
      ('д', 'а', '\U0001f469', '\u200d', '\U0001f467', 'é'),
    ),
    (
      vocabularies.Items('public', file='list.txt', max_items=3),
      f' 17\r\n\n<pad>\nx y\n17\n{"x" * 257}\n4\n5',
      ('17', 'x y', '4'),
    ),
  )
  def test_a_public_file(self, asked: vocabulary.Vocabulary, content: str, expected: tuple[str, ...]) -> None:
    public = self._load(asked, content)
    self.assertEqual(public.require('text'), expected)
    self.assertIsNone(public.learner('text'))
    (entry,) = public.provenance()
    sha256 = hashlib.sha256((self._folder / 'list.txt').read_bytes()).hexdigest()
    origin = {'source': 'public', public.UNIT: len(expected), 'file': 'list.txt', 'sha256': sha256}
    self.assertEqual(entry, entry | origin | {'epsilon': 0.0, 'delta': 0.0})
    self.assertEqual(public.with_learned([]).load(str(self._folder)), public)

  @parameterized.product(kind=_KINDS, content=[b'\xff\xfe', b' \n'])
  def test_a_file_without_entries(self, kind: type[vocabulary.Vocabulary], content: bytes) -> None:
    if content == b' \n' and kind is vocabularies.Alphabet:
      content = b'\n'
    expected = 'UTF-8 text, found other bytes' if b'\xff' in content else f'a file with {kind.UNIT}, found none'
    with self.assertRaisesRegex(ValueError, f'^Expected (a file of )?{expected} in list.txt'):
      self._load(kind('public', file='list.txt'), content)

  def test_another_file_than_the_declared_one(self) -> None:
    with self.assertRaisesRegex(ValueError, 'declared sha256, found another list.txt'):
      self._load(vocabularies.Words('public', file='list.txt', sha256='0' * 64), 'the')

  @parameterized.product(kind=_KINDS, source=['dp', 'public'])
  def test_nobody_declares_what_was_learned_or_read(self, kind: type[vocabulary.Vocabulary], source: str) -> None:
    asked = kind(source, file='f' if source == 'public' else '', epsilon=1.0, delta=1e-6)
    expected = f'{kind.UNIT} with source "declared" alone, found some with {source!r}: remove them.'
    with self.assertRaisesRegex(ValueError, expected):
      asked.with_learned(['a']).load('/nowhere')
    self._load(kind('public', file='list.txt') if source == 'public' else asked, 'a')

  @parameterized.parameters(*_KINDS)
  def test_a_file_is_converted(self, kind: type[vocabulary.Vocabulary]) -> None:
    asked, content = kind('public', file='list.txt'), 'é'.encode('latin-1')
    with self.assertRaisesRegex(ValueError, 'found other bytes in list.txt: convert it to UTF-8.'):
      self._load(asked, content)
    self.assertEqual(self._load(asked, content.decode('latin-1').encode('utf-8')).require('text'), ('é',))
    with self.assertRaisesRegex(ValueError, 'found none in list.txt: write one a line.'):
      self._load(asked, '')
    self.assertEqual(self._load(asked, 'x\né\n').require('text'), ('x', 'é'))

  def test_a_missing_file_is_named(self) -> None:
    with self.assertRaises(FileNotFoundError) as caught:
      vocabularies.Words('public', file='none.txt').load(os.path.join('some', 'folder'))
    self.assertEqual(caught.exception.filename, os.path.join('some', 'folder', 'none.txt'))

  @parameterized.parameters(*_KINDS)
  def test_what_is_learned_is_filled_in(self, kind: type[vocabulary.Vocabulary]) -> None:
    asked = kind('dp', epsilon=1.0, delta=1e-6)
    self.assertIsNotNone(asked.learner('text'))
    self.assertEmpty(asked.provenance())
    with self.assertRaisesRegex(ValueError, f'Expected the {kind.UNIT} of text to be known, found none'):
      asked.require('text')
    learned = asked.with_learned(['ж'])
    self.assertIsNone(learned.learner('text'))
    # ASCII is public, so that it needs no votes.
    ascii_free = vocabularies.ASCII if kind is vocabularies.Alphabet else ()
    self.assertEqual(learned.require('text'), (*ascii_free, 'ж'))

  def test_characters_are_cut_at_code_points(self) -> None:
    cut = vocabularies.Alphabet().cut(pa.chunked_array([['a好'], ['', _FAMILY]], pa.large_string()))
    self.assertEqual(cut.words.to_pylist(), ['a', '好', '\U0001f469', '\u200d', '\U0001f467'])
    self.assertEqual(cut.row_starts.tolist(), [0, 2, 2, 5])

  @parameterized.parameters(
    (vocabularies.Words, {'source': 'exact'}, 'Expected source to be declared, public, dp, found'),
    (vocabularies.Words, {'source': 'declared'}, 'Expected words, found none'),
    (vocabularies.Words, {'source': 'declared', 'words': ('a', 'The')}, "lower case, .*'The'"),
    (vocabularies.Words, {'source': 'declared', 'words': ('a', 'new york')}, "without spaces .*'new york'"),
    (vocabularies.Words, {'source': 'declared', 'words': ('a', '')}, "found ''"),
    (vocabularies.Words, {'source': 'declared', 'words': ('x' * 65,)}, 'found'),
    (vocabularies.Words, {'source': 'declared', 'words': ('a', 'b', 'a')}, "once, found 'a' again"),
    (vocabularies.Words, {'source': 'public'}, 'Expected a file'),
    (vocabularies.Words, {'source': 'declared', 'words': ('a',), 'file': 'f'}, 'a file with source "public" alone'),
    (vocabularies.Words, {'source': 'dp', 'delta': 1e-6}, 'Expected 0 < epsilon'),
    (vocabularies.Words, {'source': 'dp', 'epsilon': 1.0}, 'Expected 0 < delta < 1'),
    (vocabularies.Words, {**_DP, 'words_per_client': 0}, 'words_per_client >= 1'),
    (vocabularies.Words, {**_DP, 'max_words': 0}, 'max_words >= 1'),
    (vocabularies.Alphabet, {'source': 'exact'}, 'Expected source to be ascii, declared, public, dp, found'),
    (vocabularies.Alphabet, {'source': 'declared'}, 'Expected characters, found none'),
    (vocabularies.Alphabet, {'source': 'declared', 'characters': 'aba'}, "characters once, found 'a' again"),
    (vocabularies.Alphabet, {'source': 'declared', 'characters': 'é e\u0301'}, "once, found 'é' again"),
    (vocabularies.Alphabet, {'source': 'declared', 'characters': 'a\n'}, 'without the newline, found it: remove'),
    (vocabularies.Alphabet, {'source': 'declared', 'characters': ('a', _FAMILY)}, 'of 3: write them all as one text'),
    (vocabularies.Alphabet, {**_DP, 'characters_per_client': 0}, 'characters_per_client >= 1'),
    (vocabularies.Items, {'source': 'declared', 'items': ('17', ' 17.0 ')}, "items once, found '17' again"),
    (vocabularies.Items, {'source': 'declared', 'items': ('',)}, "found ''"),
    (vocabularies.Items, {'source': 'declared', 'items': ('x' * 257,)}, '1 to 256 characters'),
    (vocabularies.Items, {'source': 'declared', 'items': ('<pad>',)}, "other items than <pad>, .*found '<pad>'"),
    (vocabularies.Items, {**_DP, 'max_items': 0}, 'max_items >= 1'),
  )
  def test_mistakes(self, kind: type[vocabulary.Vocabulary], fields: dict, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      kind(**fields)

  def test_an_alphabet_needs_no_newline(self) -> None:
    with self.assertRaisesRegex(ValueError, 'remove it, it always has a code'):
      vocabularies.Alphabet('declared', 'a\n')
    featurizer = characters.Characters('text', 8, alphabet=vocabularies.Alphabet('declared', 'a'))
    self.assertContainsSubset(('a', '\n'), featurizer.schema.classes)

  def test_the_remedy_for_a_character_of_several_code_points_works(self) -> None:
    with self.assertRaisesRegex(ValueError, 'as one text'):
      vocabularies.Alphabet('declared', (_FAMILY,))
    self.assertLen(vocabularies.Alphabet('declared', _FAMILY).require('text'), 3)

  def test_entries_survive_being_declared_anew(self) -> None:
    learned = vocabularies.Items(**_DP).with_learned(['7', '8'])
    self.assertEqual(dataclasses.replace(learned, source='declared', epsilon=0.0, delta=0.0).entries, ('7', '8'))


if __name__ == '__main__':
  absltest.main()
