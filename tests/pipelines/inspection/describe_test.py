"""Tests of showing what would come of a declaration."""

from collections.abc import Mapping, Sequence
import json
import re
import textwrap
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from pipelines import job as job_lib
from pipelines.declarations import declaration as declarations
from pipelines.execution import running
from pipelines.inspection import describe
from pipelines.rows import client_ids
from pipelines.shards import accounting
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
_POOLED = """
[partition]
kind = "dirichlet"
alpha = 0.5
clients = 10
[examples]
kind = "table"
numbers = ["x"]
label = "color"
classes = ["red", "blue"]
scaling = {source = "none"}
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
  def _describe(
    self, text: str, *files: Sequence[Mapping[str, Any]], overrides: Sequence[str] = (), max_bad_rows: str = '100%'
  ) -> str:
    paths = [
      self.create_tempfile(f'{place}.jsonl', ''.join(json.dumps(row) + '\n' for row in rows)).full_path
      for place, rows in enumerate(files)
    ]
    path = self.create_tempfile('data.toml', text).full_path
    described = describe.describe(declarations.read(path, overrides, paths), paths, accounting.MaxBadRows(max_bad_rows))
    found = f'{described.text}\n{f"problem   {described.problem}" if described.problem else ""}'
    for place, path in enumerate(paths):
      found = found.replace(path, f'FILE{place}')
    return found

  def test_everything_is_said(self) -> None:
    rows = [_say(2, 'be or-not'), _say(1, 'to'), _say('x', 'or'), _say(3, 4), _say(1, 'a', 'b'), _say(1, 'a', 'b')]
    self.assertEqual(
      self._describe(_TEXT, rows),
      textwrap.dedent("""\
            rows      all 6 of FILE0: 4 can be used, 2 cannot (not_text:text 1, order_not_integer 1)
                      2 of them are in examples, 1 are not (too_little_data 1)
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
                      with fewer than 2 it has none; it counts in the population still
            splits    10% of the users are held out for test, 0% for validation; the last 10% of the others' examples
            warning   Only 2 clients, those held out included: delta has to be below 1 / training clients, and noise \
that protects one of so few leaves little to learn. Private training takes some 100 or more.
            privacy   alphabet: declared, at no cost
            """),
    )

  @parameterized.parameters(True, False)
  def test_what_is_in_examples_is_what_the_job_counts(self, public_ids: bool) -> None:
    rows = [_say(turn, 'to be or not', f'u{user}') for user in range(30) for turn in range(user)]
    log = self.create_tempfile('log.jsonl', ''.join(json.dumps(row) + '\n' for row in rows)).full_path
    path = self.create_tempfile('data.toml', _TEXT).full_path
    overrides = ['limits.max_examples_per_client=5', 'limits.min_examples_per_client=3']
    declaration = declarations.read(path, [*overrides, f'client.public_ids={str(public_ids).lower()}'], [log])
    limit, output = accounting.MaxBadRows('0'), self.create_tempdir().full_path
    key = client_ids.read_key(None, is_public=True) if public_ids else client_ids.Key(b'own key', 'own')
    made = job_lib.run(job_lib.Job([log], declaration, key, 1, limit, output), running.parse_flags([])).manifest
    found = describe.describe(declaration, [log], limit, None if public_ids else key).text
    reasons = accounting.describe_reasons(made['bounded_by'])
    expected = f' {made["rows"]["used"]} of them are in examples, {made["rows"]["bounded"]} are not ({reasons})\n'
    self.assertIn(expected, found)
    self.assertEqual([line[10:] for line in found.splitlines() if line.startswith('warning')], made['warnings'])

  def test_numbers_are_summarized(self) -> None:
    rows = [{'user': 'me', 'x': place, 'y': -place, 'activity': 'walk'} for place in range(5)]
    found = self._describe(_MOTION, rows, overrides=['limits.keep=latest', 'splits.tail=random'])
    self.assertIn('task      classification\nfeature   features: float32 [2, 2]\nlabel     label: int8\n', found)
    self.assertIn("classes   2: 'sit', 'walk'\nclients   1 in these rows, who give 2 examples\n", found)
    self.assertIn('          channel 1: least -1, mean -0.5, greatest 0\n          label: walk\n', found)
    self.assertIn(', its latest\n', found)
    self.assertIn('a random 10% of the others', found)

  @parameterized.parameters(
    ('true', ', 1 rows twice'), ('false', ' examples\n'), ('["turn", "text"]', ', 2 rows twice')
  )
  def test_rows_that_differ_in_a_column_that_no_example_is_made_of_are_two(self, drop: str, expected: str) -> None:
    # What somebody bought at one time for two prices; and one row that came twice.
    rows = [{**_say(1, 'an apple'), 'price': price} for price in (1, 2, 2)]
    found = self._describe(_TEXT, rows, overrides=[f'client.drop_duplicates={drop}'])
    self.assertRegex(found, f'who give [0-9]+ examples?{expected}|who give [0-9]+{expected}')

  def test_no_client_id_is_shown(self) -> None:
    rows = [_say('x', 'or'), _say(1, 'to be')]
    self.assertNotIn(_SECRET, self._describe(_TEXT, rows))

  def test_too_few_rows_make_no_example(self) -> None:
    rows = [{'user': 'me', 'x': 1, 'y': 2, 'activity': 'walk'}]
    self.assertIn('example   none: no client has enough of these rows\n', self._describe(_MOTION, rows))
    rows[0]['activity'] = 'fly'
    found = self._describe(_MOTION, rows)
    self.assertRegex(found, r'all 1 of FILE0: 0 can be used, 1 cannot \(\w+:activity 1\)')
    self.assertIn('example   none: there are no usable rows\n', found)

  def test_an_empty_file_is_passed_over(self) -> None:
    found = self._describe(_TEXT, [], [_say(1, 'a')])
    self.assertIn('rows      all 1 of 2 files: 1 can be used, 0 cannot\n', found)
    found = self._describe(_TEXT, [])
    self.assertIn('rows      all 0 of FILE0: 0 can be used, 0 cannot\n', found)
    self.assertIn('problem   Expected rows in the input, found none', found)
    self.assertIn('example   none: there are no usable rows\n', found)

  def test_what_is_learned_later_is_not_shown(self) -> None:
    words = _TEXT.replace('characters', 'words')
    words += '[examples.vocabulary]\nsource = "dp"\nepsilon = 2\ndelta = 1e-5\n'
    found = self._describe(words, [_say(1, 'not to be shown')])
    self.assertIn('examples  cannot be shown yet: what they are made with is learned when the job runs\n', found)
    self.assertIn('privacy   vocabulary: learned from the training users, epsilon 2.00, delta 1e-05', found)
    self.assertNotIn('not to be shown', found)

  def test_nobody_held_out_is_a_warning(self) -> None:
    found = self._describe(_TEXT + '[splits]\ntest_users_share = 0\n', [_say(1, 'to be')])
    self.assertIn('warning   test_users_share = 0 holds nobody out: training refuses such a data set\n', found)
    self.assertNotIn('holds nobody out', self._describe(_TEXT, [_say(1, 'to be')]))

  @parameterized.parameters('characters', 'words')
  def test_few_clients_are_a_warning_whatever_the_key(self, kind: str) -> None:
    text = _TEXT.replace('characters', kind)
    text += '[examples.vocabulary]\nsource = "dp"\nepsilon = 2\ndelta = 1e-5\n' if kind == 'words' else ''
    for clients in (99, 100):
      rows = [_say(turn, 'to be', f'u{client}') for client in range(clients) for turn in range(3)]
      found = self._describe(text, rows)
      expected = ['Only 99 clients, those held out included'] if clients == 99 else []
      self.assertEqual(re.findall('Only [^:]*', found), expected)

  @parameterized.parameters('shakespeare_characters', 'shakespeare_words')
  def test_the_embedded_data_set_has_the_declared_columns(self, name: str) -> None:
    paths = [str(layout.ROOT / 'examples' / 'shakespeare' / 'utterances.jsonl.gz')]
    declaration = declarations.read(str(layout.ROOT / 'configs' / 'datasets' / f'{name}.toml'), [], paths)
    described = describe.describe(declaration, paths, accounting.MaxBadRows('0%'))
    self.assertRegex(described.text, r'^rows      all 29,741 of .* can be used, 0 cannot\n')
    self.assertIsNone(described.problem)

  def test_the_example_of_a_time_series_reads_what_it_says(self) -> None:
    path = layout.ROOT / 'configs' / 'datasets' / 'phone_motion.toml'
    header, row = (line[1:].strip() for line in path.read_text().splitlines()[3:5])
    rows = [row.replace(':00.020Z', f':{second:02}.{place:03}Z') for second in range(3) for place in range(0, 1000, 20)]
    logs = self.create_tempfile('logs.csv', '\n'.join([header, *reversed(rows)])).full_path
    found = describe.describe(declarations.read(str(path), [], [logs]), [logs], accounting.MaxBadRows('0%')).text
    self.assertIn(': 150 can be used, 0 cannot\n', found)
    self.assertIn('feature   features: float32 [128, 3]\n', found)
    self.assertIn('channel 1: least 0.982, mean 0.982, greatest 0.982\n', found)
    self.assertIn('label: walking\n', found)

  def test_a_missing_column_is_a_problem(self) -> None:
    found = self._describe(_TEXT, [{'user': 'me', 'text': 'a', 'turns': 1}])
    problem = "Expected a column 'turn' in the rows, found text, turns, user: did you mean turns?"
    self.assertIn(f'\nproblem   {problem}', found)

  def test_an_order_of_another_type_is_a_problem(self) -> None:
    found = self._describe(_TEXT, [_say(f'2015-05-20 21:34:{n} UTC', 'a') for n in range(10, 30)], max_bad_rows='10%')
    self.assertRegex(found, 'problem   Expected at most 10% bad rows, found 20 of 20 .order_not_integer 20.*"time"')

  def test_too_few_examples_are_a_problem(self) -> None:
    found = self._describe(_TEXT, [_say(1, 'a', f'u{n}') for n in range(9)])
    self.assertIn('problem   Expected at least one user with 2 examples, found none in 9 rows', found)

  def test_nobody_to_train_on_is_a_problem(self) -> None:
    rows = [_say(n, 'a' * n, f'u{n % 3}') for n in range(30)]
    found = self._describe(_TEXT, rows, overrides=['splits.test_users_share=0.999', 'client.public_ids=true'])
    self.assertIn('problem   Expected users to train on, found all 3 held out', found)

  def test_simulated_clients(self) -> None:
    rows = [{'x': n, 'color': 'red' if n % 3 else 'blue'} for n in range(40)]
    found = self._describe(_POOLED, rows)
    self.assertIn('partition 10 simulated clients (dirichlet, alpha 0.5, seed 0): no person is behind', found)
    self.assertIn('clients   10 in these rows, who give 40 examples\n', found)
    self.assertIn('10% of the clients are held out for test', found)
    self.assertNotIn('problem', found)
    expected = 'problem   Expected a usable row for each simulated client, found clients = 41 and 40 rows'
    self.assertIn(expected, self._describe(_POOLED, rows, overrides=['partition.clients=41']))
    self.assertIn('problem   Expected rows in the input, found none', self._describe(_POOLED, []))
    with mock.patch.object(describe, '_ENOUGH_ROWS', 40):
      self.assertNotIn('problem', self._describe(_POOLED, rows, rows, overrides=['partition.clients=41']))

  def test_what_ends_the_job_before_it_learns_is_a_problem(self) -> None:
    learned = _TEXT.replace('characters', 'words') + '[examples.vocabulary]\nsource = "dp"\nepsilon = 2\ndelta = 0.5\n'
    rows = [_say(n, 'a' * n, f'u{n % 30}') for n in range(90)]
    found = self._describe(learned, rows, overrides=['client.public_ids=true'])
    self.assertIn('problem   Expected a delta below', found)

  def test_of_a_large_input_the_first_rows_are_judged_and_said_to_be(self) -> None:
    rows = [_say(n, 'a' * n) for n in range(9)]
    with mock.patch.object(describe, '_ENOUGH_ROWS', 9):
      found = self._describe(_TEXT, rows, [*rows, _say('x', 'a')], max_bad_rows='0%')
      self.assertIn('rows      the first 9 of 2 files: 9 can be used, 0 cannot\n', found)
      self.assertIn('          the job reads and checks the others too\n', found)
      self.assertNotIn('problem', found)
    with mock.patch.object(describe, '_ENOUGH_ROWS', 10):
      found = self._describe(_TEXT, [*rows, _say('x', 'a')], rows, max_bad_rows='0%')
      self.assertIn('problem   Of the first 10 of 2 files: Expected at most 0% bad rows, found 1 of 10', found)
      self.assertIn('rows      all 9 of FILE0', self._describe(_TEXT, rows))

  def test_counts_what_the_job_counts_to_the_end_of_a_file_of_text(self) -> None:
    lines = ['user,turn,text', *(f'u{n % 9},{n},hello' for n in range(20_000)), *['too,few'] * 50, 'u1,1,a,b']
    logs = self.create_tempfile('logs.csv', '\n'.join(lines)).full_path
    path = self.create_tempfile('data.toml', _TEXT).full_path
    found = describe.describe(declarations.read(path, [], [logs]), [logs], accounting.MaxBadRows('0'))
    self.assertIn(': 20,000 can be used, 51 cannot (wrong_number_of_fields 51)\n', found.text)
    self.assertIn('found 51 of 20,051', str(found.problem))


if __name__ == '__main__':
  absltest.main()
