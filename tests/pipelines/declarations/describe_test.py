"""Tests of showing what would come of a declaration."""

from collections.abc import Mapping, Sequence
import json
import textwrap
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized

from pipelines.declarations import declaration as declarations
from pipelines.declarations import describe
from pipelines.readers import base as readers
from tests import layout

_TEXT = """
[client]
id = "user"
order = "turn"
[examples]
kind = "characters"
column = "text"
window_length = 8
"""
_MOTION = """
[client]
id = "user"
[examples]
kind = "windows"
numbers = ["x", "y"]
length = 2
stride = 2
label = "activity"
classes = ["sit", "walk"]
"""
_SECRET = 'someone@example.org'


def _say(turn: Any, text: Any, user: str = _SECRET) -> dict[str, Any]:
  return {'user': user, 'turn': turn, 'text': text}


class DescribeTest(parameterized.TestCase):

  def _describe(self, text: str, *files: Sequence[Mapping[str, Any]], overrides: Sequence[str] = ()) -> str:
    paths = [
        self.create_tempfile(f'{place}.jsonl', ''.join(json.dumps(row) + '\n' for row in rows)).full_path
        for place, rows in enumerate(files)
    ]
    path = self.create_tempfile('data.toml', text).full_path
    found = describe.describe(declarations.read(path, overrides, paths), paths)
    for place, path in enumerate(paths):
      found = found.replace(path, f'FILE{place}')
    return found

  def test_everything_is_said(self) -> None:
    rows = [_say(2, 'be or-not'), _say(1, 'to'), _say('x', 'or'), _say(3, 4), _say(1, 'a', 'b'), _say(1, 'a', 'b')]
    self.assertEqual(
        self._describe(_TEXT, rows),
        textwrap.dedent("""\
            rows      the first 6 of FILE0: 4 can be used, 2 cannot (not_text:text 1, order_not_integer 1)
            task      next_character
            feature   characters: uint8 [8]
            label     next_characters: int8 [8]
            classes   98: '<pad>', '<unknown>', '\\n', ' ', '!', '"', '#', '$', '%', '&', …
            clients   2 in these rows, who give 3 examples, 1 rows twice
            example   the first of the client with most
                      to
                      be or-
            limits    a client keeps at most 1,000 examples, its first
                      at most 16,000,000 bytes of its rows are looked at
                      with fewer than 2 examples it is set aside
            splits    10% of the users are held out for test, 0% for validation; the last 10% of the others' examples
            privacy   alphabet: declared, at no cost"""),
    )

  def test_numbers_are_summarized(self) -> None:
    rows = [{'user': 'me', 'x': place, 'y': -place, 'activity': 'walk'} for place in range(5)]
    found = self._describe(_MOTION, rows, overrides=['limits.keep=latest', 'splits.tail=random'])
    self.assertIn('task      classification\nfeature   features: float32 [2, 2]\nlabel     label: int8\n', found)
    self.assertIn("classes   2: 'sit', 'walk'\nclients   1 in these rows, who give 2 examples\n", found)
    self.assertIn('          channel 1: least -1, mean -0.5, greatest 0\n          label: walk\n', found)
    self.assertIn(', its latest\n', found)
    self.assertIn('a random 10% of the others', found)

  def test_no_client_id_is_shown(self) -> None:
    rows = [_say('x', 'or'), _say(1, 'to be')]
    self.assertNotIn(_SECRET, self._describe(_TEXT, rows))

  def test_too_few_rows_make_no_example(self) -> None:
    rows = [{'user': 'me', 'x': 1, 'y': 2, 'activity': 'walk'}]
    self.assertIn('example   none: no client has enough of these rows\n', self._describe(_MOTION, rows))
    rows[0]['activity'] = 'fly'
    found = self._describe(_MOTION, rows)
    self.assertRegex(found, r'the first 1 of FILE0: 0 can be used, 1 cannot \(\w+:activity 1\)')
    self.assertIn('example   none: there are no usable rows\n', found)

  def test_an_empty_file_is_passed_over(self) -> None:
    found = self._describe(_TEXT, [], [_say(1, 'a')])
    self.assertIn('rows      the first 1 of FILE1: 1 can be used, 0 cannot\n', found)
    found = self._describe(_TEXT, [])
    self.assertIn('rows      the first 0 of FILE0: 0 can be used, 0 cannot\n', found)
    self.assertIn('example   none: there are no usable rows\n', found)

  def test_what_is_learned_later_is_not_shown(self) -> None:
    words = _TEXT.replace('characters', 'words')
    words += '[examples.vocabulary]\nsource = "dp"\nepsilon = 2\ndelta = 1e-5\n'
    found = self._describe(words, [_say(1, 'to be')])
    self.assertIn('examples  cannot be shown yet: what they are made with is learned when the job runs\n', found)
    self.assertIn('privacy   vocabulary: learned from the training users, epsilon 2, delta 1e-05', found)
    self.assertNotIn('to be', found)

  @parameterized.parameters('shakespeare_characters', 'shakespeare_words')
  def test_the_embedded_data_set_has_the_declared_columns(self, name: str) -> None:
    paths = [str(layout.ROOT / 'examples' / 'shakespeare' / 'utterances.jsonl.gz')]
    declaration = declarations.read(str(layout.ROOT / 'configs' / 'datasets' / f'{name}.toml'), [], paths)
    found = describe.describe(declaration, paths)
    self.assertRegex(found, r'^rows      the first [\d,]+ of .* can be used, 0 cannot\n')

  def test_the_example_of_a_time_series_reads_what_it_says(self) -> None:
    path = layout.ROOT / 'configs' / 'datasets' / 'phone_motion.toml'
    header, row = (line[1:].strip() for line in path.read_text().splitlines()[3:5])
    rows = [row.replace(':00.020Z', f':{second:02}.{place:03}Z') for second in range(3) for place in range(0, 1000, 20)]
    logs = self.create_tempfile('logs.csv', '\n'.join([header, *reversed(rows)])).full_path
    found = describe.describe(declarations.read(str(path), [], [logs]), [logs])
    self.assertIn(': 150 can be used, 0 cannot\n', found)
    self.assertIn('feature   features: float32 [128, 3]\n', found)
    self.assertIn('channel 1: least 0.982, mean 0.982, greatest 0.982\n', found)
    self.assertIn('label: walking\n', found)

  def test_a_missing_column_is_one_line(self) -> None:
    try:
      found = self._describe(_TEXT, [{'user': 'me', 'text': 'a'}])
    except readers.DamagedFile as error:
      self.assertNotIn('\n', str(error))
    else:
      self.assertIn('(no_order 1)', found)


if __name__ == '__main__':
  absltest.main()
