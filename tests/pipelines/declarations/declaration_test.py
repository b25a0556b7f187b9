"""Tests of reading declarations."""

import dataclasses
import glob
import hashlib
import json
import os
import re

from absl.testing import absltest
from absl.testing import parameterized
import pytest

from contracts import schema as schema_lib
from pipelines.declarations import declaration as declarations
from pipelines.declarations import documents
from pipelines.featurizers import base
from pipelines.limits import bounds
from pipelines.limits import splits
from pipelines.readers import registry as readers
from pipelines.rows import columns
from pipelines.rows import rows as rows_lib
from pipelines.statistics import scaling as scaling_lib
from tests import layout

_FOLDER = os.path.join(layout.ROOT, 'configs', 'datasets')
_INPUTS = ['logs.jsonl']


@dataclasses.dataclass(frozen=True)
class Own(base.Featurizer):
  """A featurizer as anyone may write it, of columns that a list and a scaling name."""

  inputs: tuple[str, ...]
  label: str = 'activity'
  words: tuple[str, ...] = ()
  scaling: scaling_lib.Scaling = dataclasses.field(default_factory=scaling_lib.Scaling)

  @property
  def schema(self) -> schema_lib.Schema:
    raise NotImplementedError

  @property
  def columns(self) -> tuple[columns.Column, ...]:
    return tuple(columns.Column(name, columns.Number()) for name in (*self.inputs, self.label))

  def weight_needed(self, examples: int) -> int:
    return examples

  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    raise NotImplementedError


# What may stand where something else should.
_OTHERS = ('1', '-1', '0.5', 'nan', 'true', 'x', '""', '[]', '[[1]]', '{}', '{a = 1}', '[{}]', '1979-05-27', '07:32:00')
_LEAST = f"""
[client]
id = "user"

[examples]
kind = "{Own.__module__}:{Own.__name__}"
inputs = ["x", "y"]
"""


class DeclarationTest(parameterized.TestCase):
  def _read(self, text: str, *overrides: str) -> declarations.Declaration:
    path = self.create_tempfile('phone.v1.toml', text).full_path
    return declarations.read(path, overrides, _INPUTS)

  def _assert_refused(self, expected: str, text: str, *overrides: str) -> None:
    with self.assertRaises(ValueError) as caught:
      self._read(text, *overrides)
    message = re.sub(r'^[^-].*?phone\.v1\.toml', 'FILE', str(caught.exception))
    self.assertNotIn('\n', message)
    self.assertRegex(message, f'^{expected}')

  def test_what_is_not_said_has_its_default(self) -> None:
    self.assertEqual(
      self._read(_LEAST),
      declarations.Declaration(
        name='phone.v1',
        reader=readers.FORMATS['jsonl'](),
        client=declarations.Client('user'),
        featurizer=Own(('x', 'y')),
        limits=bounds.Limits(),
        splits=splits.Splits(),
      ),
    )

  def test_everything_may_be_said(self) -> None:
    text = f"""
[input]
format = "csv"
{_LEAST}
[limits]
keep = "random"
max_examples_per_client = 5
[splits]
tail_share = 0.5
"""
    read = self._read(text, 'client.order=time', 'client.order_type=time', 'client.drop_duplicates=["time", "y"]')
    self.assertIsInstance(read.reader, readers.FORMATS['csv'])
    self.assertEqual(read.client, declarations.Client('user', 'time', 'time', drop_duplicates=('time', 'y')))
    self.assertEqual(read.limits, bounds.Limits(5, 'random'))
    self.assertEqual(read.splits, splits.Splits(tail_share=0.5))

  @parameterized.parameters(
    ('[limit]\n', "FILE, line 8: Expected a table of a declaration, found 'limit': did you mean limits"),
    ('[input]\nformat = "cvs"', "FILE, line 9: Expected a known format, found 'cvs': did you mean csv"),
    ('[input]\nformt = "csv"', r"FILE, line 9: Expected a key of \[input\], found 'formt': did you mean format"),
    ('[limits]\nkeep = "lates"', "FILE, line 9: Expected keep to be .*, found 'lates'"),
    ('[splits]\ntail_share = 2', 'FILE, line 9: Expected 0 <= tail_share < 1, found 2.0'),
    ('label = "user"', "FILE, line 8: Expected examples without the column of the client ids, found 'user': remove"),
    ('label = 2', 'FILE, line 8: Expected examples.label to be text, found 2'),
    ('[examples.scaling]\nsource = "declare"', 'FILE, line 9: Expected .*source'),
    ('[examples.scaling]\nsources = "declared"', r'FILE, line 9: .*\[examples.scaling\].*did you mean source'),
  )
  def test_refuses_with_the_line(self, text: str, expected: str) -> None:
    self._assert_refused(expected, f'{_LEAST}{text}\n')

  @parameterized.parameters(
    ('limits.keep=lates', '--override=limits.keep=lates: Expected keep to be'),
    ('limits.keeps=latest', r'--override=limits.keeps=latest: Expected a key of \[limits\], .* did you mean keep'),
    ('limit.keep=latest', "--override=limit.keep=latest: Expected a table .* found 'limit': did you mean limits"),
    ('client.order=user', '--override=client.order=user: Expected order to be another column than id'),
    ('client.order=', '--override=client.order=: Expected TABLE'),
    ('client.order=""', '--override=client.order="": Expected id and order to name columns'),
    ('client.order_type=time', '--override=.* Expected order_type with an order'),
    ('client.order_format="%Y"', '--override=.* Expected order_format with order_type = "time", found .integer.'),
    ('client.order_type=date', '--override=.* Expected order_type to be integer, number, time, found'),
    ('client.drop_duplicates=[]', '--override=.* Expected columns in drop_duplicates'),
    ('client.drop_duplicates=["z"]', '--override=.* Expected drop_duplicates to name the order or columns of the'),
    ('client.drop_duplicates=["user"]', '--override=.* Expected drop_duplicates to name the order or columns'),
    ('examples.inputs=["x", "user"]', '--override=.* Expected examples without the column of the client ids'),
    ('examples.kind=json:dumps', '--override=examples.kind=json:dumps: Expected a featurizer, found'),
    ('input.format=7', '--override=input.format=7: Expected input.format to be text'),
    ('input.format=""', '--override=input.format="": Expected a known format'),
  )
  def test_refuses_an_override(self, override: str, expected: str) -> None:
    self._assert_refused(expected, _LEAST, override)

  @parameterized.parameters('kind = "characters"', 'kind = "words"\nvocabulary = {source = "declared", words = ["a"]}')
  def test_rows_are_told_apart_by_all_that_says_what_they_count_for(self, examples: str) -> None:
    text = f'[client]\nid = "user"\norder = "n"\n[examples]\ncolumn = "text"\n{examples}\n'
    self._assert_refused(
      "--override=.*: Expected drop_duplicates to name 'text' too, found it missing: add it, or write true or false",
      text,
      'client.drop_duplicates=["n"]',
    )
    for accepted in ('["text"]', '["n", "text"]', 'true', 'false'):
      self._read(text, f'client.drop_duplicates={accepted}')

  def test_a_random_tail_of_examples_that_overlap(self) -> None:
    text = '[examples]\nkind = "windows"\nnumbers = ["x"]\nlabel = "y"\nclasses = ["a"]\nlength = 4\n'
    text += '[client]\nid = "user"\n[splits]\n'
    expected = 'FILE, line 10: Expected tail = "last" for examples that overlap, found "random", .* stride'
    self._assert_refused(expected, f'{text}tail = "random"\n', 'examples.stride=3')
    self._read(f'{text}tail = "random"\n', 'examples.stride=4')
    self._read(f'{text}tail = "random"\ntail_share = 0.0\n', 'examples.stride=3')
    self._read(text, 'examples.stride=3')

  def test_a_decimal_comma_in_lists_of_numbers(self) -> None:
    text = '[client]\nid = "user"\n[examples]\nkind = "table"\nlabel = "y"\nclasses = ["a"]\n[input]\nformat = "csv"\n'
    lists, own_columns = 'examples.numbers=[{column = "v", length = 2}]', 'examples.numbers=["v", "w"]'
    expected = """FILE, line 9: Expected numbers with a point where .* found decimal = "," and the lists of 'v':"""
    self._assert_refused(expected, f'{text}decimal = ","\n', lists)
    self._read(text, lists)
    self._read(f'{text}decimal = ","\n', own_columns)

  def test_a_feature_that_is_the_client_id_is_found_in_its_list(self) -> None:
    text = _LEAST.replace('"user"', '"x"')
    self._assert_refused("FILE, line 7: .*found 'x': remove it", text)

  def test_what_is_missing_is_named(self) -> None:
    expected = r'FILE: Expected \[examples\] to say kind, found nothing: add kind = "text"\.$'
    self._assert_refused(expected, '[client]\nid = "u"')
    examples = _LEAST[_LEAST.index('[examples]') :]
    self._assert_refused(r'FILE: Expected \[client\] to say id, found nothing: add id = "text"\.$', examples)
    expected = r'FILE, line \d+: Expected \[client\] to say id, found nothing: add id = "text"\.$'
    self._assert_refused(expected, f'{examples}[client]\npublic_ids = true\n')

  def test_a_format_that_no_name_tells_is_asked_for(self) -> None:
    path = self.create_tempfile('phone.toml', _LEAST).full_path
    with self.assertRaisesRegex(ValueError, '^.*phone.toml: Expected'):
      declarations.read(path, [], ['logs.unheard_of'])

  def test_json_holds_what_is_in_force(self) -> None:
    found = self._read(_LEAST, 'limits.keep=latest').to_json()
    self.assertEqual(json.loads(json.dumps(found)), found)
    self.assertEqual(found['name'], 'phone.v1')
    self.assertEqual(found['input']['format'], 'jsonl')
    self.assertEqual(
      found['client'],
      {
        'id': 'user',
        'order': None,
        'order_type': 'integer',
        'order_format': None,
        'public_ids': False,
        'drop_duplicates': True,
      },
    )
    self.assertEqual(found['examples']['kind'], f'{__name__}:Own')
    self.assertEqual(found['examples']['inputs'], ['x', 'y'])
    self.assertEqual(found['examples']['scaling']['source'], 'none')
    self.assertEqual(found['limits'], {**dataclasses.asdict(bounds.Limits()), 'keep': 'latest'})
    self.assertEqual(found['splits'], dataclasses.asdict(splits.Splits()))

  def test_a_long_vocabulary_is_a_hash(self) -> None:
    words = [f'word {place}' for place in range(1_000)]
    found = self._read(_LEAST, f'examples.words={json.dumps(words)}').to_json()['examples']['words']
    self.assertEqual(found, {'count': 1_000, 'sha256': hashlib.sha256(json.dumps(words).encode()).hexdigest()})


class TableTest(absltest.TestCase):
  def test_columns_that_say_more(self) -> None:
    text = """
        [client]
        id = "user"
        [examples]
        kind = "table"
        numbers = ["age", {column = "height", missing = 170}, {column = "vector", length = 3}]
        categories = [{column = "genre", values = ["jazz"], other = true, missing = true}]
        label = "liked"
        classes = ["false", "true"]
        """
    path = self.create_tempfile('table.toml', text).full_path
    read = declarations.read(path, [], _INPUTS)
    self.assertEqual(read.featurizer.schema.feature.shape, (1 + 1 + 3 + 3,))
    written = json.loads(json.dumps(read.to_json()))['examples']
    height = {'column': 'height', 'missing': 170.0, 'length': 0}
    self.assertEqual(written['numbers'], ['age', height, {'column': 'vector', 'missing': None, 'length': 3}])
    wrong = self.create_tempfile('b.toml', text.replace('missing = 170', 'mising = 1')).full_path
    with self.assertRaisesRegex(ValueError, "line 6: Expected a key of .*found 'mising': did you mean missing"):
      declarations.read(wrong, [], _INPUTS)


class ShippedDeclarationsTest(parameterized.TestCase):
  @parameterized.parameters(*sorted(glob.glob('*.toml', root_dir=_FOLDER)))
  def test_can_be_read(self, name: str) -> None:
    read = declarations.read(os.path.join(_FOLDER, name), [], _INPUTS)
    self.assertEqual(f'{read.name}.toml', name)
    json.dumps(read.to_json(), allow_nan=False)

  @parameterized.parameters(*sorted(glob.glob('*.toml', root_dir=_FOLDER)))
  @pytest.mark.slow
  def test_any_override_is_taken_or_refused_in_one_line(self, name: str) -> None:
    path = os.path.join(_FOLDER, name)
    document = documents.read(path)
    refused = 0
    # Of a list, the first value stands for all of them.
    paths = [path for path in document.paths_below(()) if not any(key in range(1, 1_000) for key in path)]
    for place in sorted({'.'.join(map(str, path)) for path in paths} | {'examples', 'splits'}):
      for override in (f'{place}{key}={value}' for value in _OTHERS for key in ('', '.kind')):
        try:
          declarations.read(path, [override], _INPUTS)
        except ValueError as error:
          self.assertNotIn('\n', str(error))
          refused += 1
    self.assertGreater(refused, 100)

  def test_the_four_real_cases_are_there(self) -> None:
    names = [os.path.basename(path) for path in glob.glob(f'{_FOLDER}/*.toml')]
    expected = ['shakespeare_characters', 'shakespeare_words', 'femnist', 'mnist_by_writer', 'wisdm_v1.1']
    self.assertContainsSubset([f'{name}.toml' for name in expected], names)


if __name__ == '__main__':
  absltest.main()
