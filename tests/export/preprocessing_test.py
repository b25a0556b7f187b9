"""Tests that a device that follows the file makes the features that the data set holds."""

import json
from typing import Any
import unicodedata

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts import schema as schema_lib
from export import parity
from export import preprocessing
from pipelines.featurizers import base
from pipelines.featurizers import characters
from pipelines.featurizers import image
from pipelines.featurizers import items
from pipelines.featurizers import table
from pipelines.featurizers import vocabularies
from pipelines.featurizers import windows
from pipelines.featurizers import words
from pipelines.rows import number_columns
from pipelines.rows import rows as rows_lib
from pipelines.statistics import scaling
from tests.export import fakes

_SIGNATURES: dict[str, list[parity.End]] = {
  'whole': [('output', 'logits', 'float32', (1, 3)), ('input', 'numbers', 'float32', (1, 4))]
}
_NUMBERS_IN, _LABEL_OUT = schema_lib.Feature('numbers', 'float32', (4,)), schema_lib.Feature('label', 'int8', ())
_NUMBER_SCHEMA = schema_lib.Schema('classification', _NUMBERS_IN, _LABEL_OUT, ('a', 'b'))
_TEXTS = [
  'O, İstanbul…  thou’rt  fair!',
  'ΣΑΣ\u00a0and café cafe\u0301; 12,5\tfair',
  "'tis naïve – ~ \U0001f600\n",
  '',
  '好\U0001f469\u200d\U0001f467 x\u0331',
]
_WORDS = (',', '!', 'fair', "'tis", 'i̇stanbul', 'istanbul', 'thou’rt', 'σασ', 'σας', 'and', 'café', '12')
_ALPHABETS = (
  vocabularies.Alphabet(),
  vocabularies.Alphabet('declared', 'aéΣ\U0001f469\u200d\U0001f467好 \u0331'),
)
_SCALING = {
  'none': scaling.Scaling(),
  'declared': scaling.Scaling('declared', mean=(1.0, -2.0), stddev=(0.1, 3.0)),
  'dp': scaling.Scaling('dp', epsilon=2.0, delta=1e-6, lower=(0.0, -10.0), upper=(10.0, 10.0)),
}
_NUMBERS: dict[str, list[Any]] = {'x': [1.25, 7, 0, 2.5], 'y': [-9.5, 3, 0.3, 4], 'label': ['a', 'b', 'b', 'a']}
_KIND: dict[str, Any] = {'label': 'label', 'classes': ('a', 'b'), 'numbers': ('x', 'y')}


def _read(featurizer: base.Featurizer, values: dict[str, list[Any]]) -> rows_lib.ClientRows:
  """Returns the rows of one client."""
  columns = {column.name: column.kind.read(pa.array(values[column.name])).values for column in featurizer.columns}
  return rows_lib.ClientRows(pa.table(columns), np.array([0, len(next(iter(values.values())))]))


def _make(featurizer: base.Featurizer, values: dict[str, list[Any]]) -> tuple[dict[str, Any], Any, np.ndarray]:
  """Returns what the file says of the examples, the featurizer with what it learned, and one client's features."""
  declared, rows, learner = featurizer, _read(featurizer, values), featurizer.learner
  learned: list[dict[str, Any]] = []
  if learner:
    release = learner.release(learner.contribute(rows))
    featurizer = featurizer.with_learned(release.value)
    learned.append(release.entry)
  manifest = fakes.manifest(declared, featurizer, learned)
  written = json.loads(json.dumps(preprocessing.describe(manifest, _SIGNATURES)))
  return written['examples'], featurizer, featurizer.featurize(rows).features


def _scale(steps: dict[str, Any], values: dict[str, list[float]]) -> np.ndarray:
  numbers = np.stack([np.array(values[name], np.float32) for name in steps['numbers']], -1)
  mean, stddev = (np.array(steps['scaling'][name], np.float32) for name in ('mean', 'stddev'))
  return (numbers - mean) / stddev


def _code(steps: dict[str, Any], classes: tuple[str, ...], texts: list[list[str]], length: int) -> np.ndarray:
  """Returns windows of the codes of texts in pieces, padded at the end."""
  places = {name: place for place, name in enumerate(classes)}
  pieces = [piece for text in texts for piece in (*text, steps.get('after_each_text')) if piece]
  codes = [places.get(piece, places[steps['unknown']]) for piece in pieces]
  # The last one is a label alone.
  codes = codes[:-1] + [places[steps['padding']]] * (-(len(codes) - 1) % length)
  return np.reshape(codes, (-1, length))


def _normalize(steps: dict[str, Any]) -> list[str]:
  return [unicodedata.normalize(steps['unicode_normalization'], text) for text in _TEXTS]


def _cut(steps: dict[str, Any], text: str) -> list[str]:
  # No standard library has the simple case mapping, which is the first character of the full one where they differ.
  lower = ''.join(character.lower()[:1] for character in text)
  rule = steps['tokenization']['token_of_its_own']
  return pc.replace_substring_regex(lower, f'({rule})', r' \1 ').as_py().split()


class PreprocessingTest(parameterized.TestCase):
  @parameterized.product(alphabet=_ALPHABETS, end_token=[True, False])
  def test_characters(self, alphabet: vocabularies.Alphabet, end_token: bool) -> None:
    steps, featurizer, features = _make(characters.Characters('text', 16, alphabet, end_token), {'text': _TEXTS})
    self.assertEqual((steps['window_length'], steps['character']), (16, 'a Unicode code point'))
    texts = [list(text) for text in _normalize(steps)]
    np.testing.assert_array_equal(features, _code(steps, featurizer.schema.classes, texts, 16))
    self.assertNotIn('alphabet', steps)

  @parameterized.parameters(True, False)
  def test_words(self, end_token: bool) -> None:
    declared = words.Words('text', vocabularies.Words('declared', words=_WORDS), 5, end_token)
    steps, featurizer, features = _make(declared, {'text': _TEXTS})
    self.assertEqual(steps['window_length'], 5)
    cut = [_cut(steps, text) for text in _normalize(steps)]
    np.testing.assert_array_equal(features, _code(steps, featurizer.schema.classes, cut, 5))
    # The vocabulary may be long, and learned: it stands among the classes, once.
    self.assertNotIn('vocabulary', steps)

  def test_items(self) -> None:
    declared = items.Items('place', vocabularies.Items('declared', items=('Café 3', '17', '5')), 3)
    places = ['\u200bCafe\u0301 3 ', '17.0', '17', '9', '５', '17']
    steps, featurizer, features = _make(declared, {'place': places})
    self.assertEqual((steps['window_length'], steps['normal_form'][1]), (3, 'Unicode form NFKC'))
    visible = [place.replace('\u200b', '') for place in places]
    ids = [unicodedata.normalize('NFKC', place).strip().removesuffix('.0') for place in visible]
    np.testing.assert_array_equal(features, _code(steps, featurizer.schema.classes, [ids], 3))
    self.assertNotIn('vocabulary', steps)

  @parameterized.parameters(*_SCALING)
  def test_table(self, source: str) -> None:
    categories = (table.Category('sex', ('f', 'm')), table.Category('size', ('s', 'm', 'l')))
    values = {**_NUMBERS, 'sex': ['m', 'f', 'f', 'm'], 'size': ['l', 's', 'm', 'm'], 'y': [-9.5, None, 0.3, 4]}
    declared = table.Table(**_KIND, categories=categories, missing=2.0, scaling=_SCALING[source])
    steps, _, features = _make(declared, values)
    filled = {**values, 'y': [steps['missing'] if value is None else value for value in values['y']]}
    hot = [
      [
        float(value == known)
        for category in steps['categories']
        for known in category['values']
        for value in [values[category['column']][row]]
      ]
      for row in range(4)
    ]
    np.testing.assert_array_equal(features, np.hstack([_scale(steps, filled), np.array(hot, np.float32)]))
    self.assertEqual(steps['scaling']['source'], source)

  def test_table_with_lists_and_indices_for_what_is_not_listed(self) -> None:
    numbers = ('x', number_columns.NumberColumn('z', 7.0, 2), number_columns.NumberColumn('on', -1.0))
    categories = (table.Category('sex', ('f', 'm'), other=True, missing=True), table.Category('ok', ('true',), True))
    values: dict[str, list[Any]] = {
      'x': [1, 2, 3, 4],
      'z': [[1, 2], [None, 4], None, [5, 6]],
      'on': [True, None, False, True],
      'sex': ['m', None, 'x', 'f'],
      'ok': [True, False, True, True],
      'label': ['a', 'b', 'b', 'a'],
    }
    declared = table.Table(
      label='label',
      classes=('a', 'b'),
      numbers=numbers,
      categories=categories,
      scaling=scaling.Scaling('declared', mean=(0.0, 1.0, 2.0, 3.0), stddev=(1.0, 2.0, 4.0, 8.0)),
    )
    steps, featurizer, features = _make(declared, values)
    expected = []
    for row in range(4):
      found: list[float] = []
      for column in steps['numbers']:
        name, rule = (column, {}) if isinstance(column, str) else (column['column'], column)
        listed = values[name][row] if rule.get('length') else [values[name][row]]
        listed = [None] * rule['length'] if listed is None else listed
        found += [rule['missing'] if value is None else float(value) for value in listed]
      mean, stddev = (np.array(steps['scaling'][name], np.float32) for name in ('mean', 'stddev'))
      found = ((np.array(found, np.float32) - mean) / stddev).tolist()
      for category in steps['categories']:
        value = values[category['column']][row]
        value = str(value).lower() if isinstance(value, bool) else value
        found += [float(value == known) for known in category['values']]
        found += [float(value is not None and value not in category['values'])] * category['other']
        found += [float(value is None)] * category['missing']
      expected.append(found)
    np.testing.assert_array_equal(features, np.array(expected, np.float32))
    self.assertEqual(featurizer.schema.feature.shape, (4 + 4 + 2,))
    self.assertIn('one for any other value if other is true', steps['features'])

  def test_values_of_a_category_are_compared_as_the_file_says(self) -> None:
    given = ['true', 'TRUE', ' False ', '1.0', '\u200b１', 'truth', 'maybe ']
    category = table.Category('answer', ('true', 'false', '1', 'maybe'), other=True)
    declared = table.Table(label='label', classes=('a', 'b'), numbers=(), categories=(category,))
    steps, _, features = _make(declared, {'answer': given, 'label': ['a'] * len(given)})
    self.assertIn('True as true', steps['values_are'])
    values = steps['categories'][0]['values']
    for text, row in zip(given, features, strict=True):
      normal = unicodedata.normalize('NFKC', text.replace('\u200b', '')).strip().removesuffix('.0')
      normal = normal.lower() if normal in ('True', 'TRUE', 'False', 'FALSE') else normal
      index = values.index(text) if text in values else values.index(normal) if normal in values else len(values)
      self.assertEqual(row.argmax(), index, text)

  def test_raw_lists_have_a_scale_for_each_number(self) -> None:
    declared = table.Table(label='label', classes=('a', 'b'), numbers=('x', number_columns.NumberColumn('z', length=2)))
    steps, _, _ = _make(declared, {'x': [1], 'z': [[1, 2]], 'label': ['a']})
    self.assertEqual(steps['scaling'], {'source': 'none', 'mean': [0.0] * 3, 'stddev': [1.0] * 3})

  @parameterized.parameters(*_SCALING)
  def test_windows(self, source: str) -> None:
    declared = windows.Windows(**_KIND, length=2, stride=1, scaling=_SCALING[source])
    steps, _, features = _make(declared, _NUMBERS)
    scaled = _scale(steps, _NUMBERS)
    starts = range(0, 4 - steps['length'] + 1, steps['stride'])
    np.testing.assert_array_equal(features, [scaled[start : start + steps['length']] for start in starts])

  def test_what_learning_cost_is_not_the_devices_business(self) -> None:
    steps, featurizer, _ = _make(windows.Windows(**_KIND, length=2, stride=1, scaling=_SCALING['dp']), _NUMBERS)
    learned = featurizer.scaling
    self.assertEqual(steps['scaling'], {'source': 'dp', 'mean': [*learned.mean], 'stddev': [*learned.stddev]})

  @parameterized.parameters(False, True)
  def test_image(self, invert: bool) -> None:
    pixels = list(range(0, 200, 2))
    declared = image.Image('picture', 'label', ('a', 'b'), 10, 10, invert)
    steps, _, features = _make(declared, {'picture': [bytes(pixels)], 'label': ['a']})
    expected = np.reshape(pixels, (1, steps['height'], steps['width']))
    np.testing.assert_array_equal(features, 255 - expected if steps['invert'] else expected)

  def test_says_what_goes_in_and_what_comes_out(self) -> None:
    steps = preprocessing.describe({'schema': _NUMBER_SCHEMA.to_json()}, _SIGNATURES)
    given = {'name': 'numbers', 'dtype': 'float32', 'shape': (1, 4)}
    # Made without a declaration, the data set says no more.
    returned = {'name': 'logits', 'dtype': 'float32', 'shape': (1, 3)}
    expected = {'task': 'classification', 'input': given, 'output': returned, 'classes': 'classes.json'}
    self.assertEqual(steps, {'format': 1, **expected, 'first_answer': 0, 'examples': {}})

  def test_says_how_integers_of_a_file_read(self) -> None:
    files = {'a.int8_io.tflite': {'input': {'dtype': 'int8', 'scale': 0.5, 'zero_point': 3}}}
    steps = preprocessing.describe({'schema': _NUMBER_SCHEMA.to_json()}, _SIGNATURES, files)
    self.assertEqual(steps['quantized']['files'], files)
    self.assertEqual(steps['quantized']['number'], '(integer - zero_point) * scale')

  @parameterized.parameters(
    characters.Characters('text', 4),
    words.Words('text', vocabularies.Words('declared', words=('a', 'b')), 4),
  )
  def test_says_which_classes_are_never_an_answer(self, featurizer: base.Featurizer) -> None:
    manifest = {'schema': featurizer.schema.to_json()}
    first = preprocessing.describe(manifest, _SIGNATURES)['first_answer']
    self.assertEqual(featurizer.schema.classes[:first], ('<pad>', '<unknown>'))

  @parameterized.parameters(({},), (_SIGNATURES,))
  def test_says_how_a_step_file_is_fed(self, others: dict[str, list[parity.End]]) -> None:
    featurizer = characters.Characters('text', 16)
    signature: list[parity.End] = [
      ('input', 'characters', 'int32', (1,)),
      ('input', 'state_0', 'float32', (1, 8)),
      ('output', 'logits', 'float32', (1, 80)),
      ('output', 'next_state_0', 'float32', (1, 8)),
    ]
    steps = preprocessing.describe(fakes.manifest(featurizer), {**others, 'step': signature})
    self.assertEqual('input' in steps, bool(others))
    states = steps['step'].pop('states')
    state = {'input': 'state_0', 'output': 'next_state_0', 'dtype': 'float32', 'shape': (1, 8), 'start': 0.0}
    self.assertEqual(states, [state])
    self.assertEqual(
      steps['step'],
      {
        'input': {'name': 'characters', 'dtype': 'int32', 'shape': (1,)},
        'output': {'name': 'logits', 'dtype': 'float32', 'shape': (1, 80)},
        'feed': 'the elements of a sequence in their order, one a call, without padding',
        'state': 'what a call returns is fed to the next call; the start, in each of its values, to the first call',
        'longest': 16,
        'after_the_longest': 'begin again from the start with the end of the sequence, which may be shorter',
      },
    )

  def test_keeps_what_somebody_else_declared(self) -> None:
    examples = {'kind': 'mine.of.Kind', 'vocabulary': {'words': ['a']}, 'scaling': 3, 'input': 'x', 'classes': ['b']}
    manifest = {'schema': _NUMBER_SCHEMA.to_json(), 'learned': [], 'declaration': {'examples': examples}}
    self.assertEqual(preprocessing.describe(manifest, _SIGNATURES)['examples'], examples)

  def test_classes_stand_in_a_file_of_their_own(self) -> None:
    for featurizer in (table.Table(**_KIND), windows.Windows(**_KIND, length=2, stride=1)):
      self.assertNotIn('classes', _make(featurizer, _NUMBERS)[0])


if __name__ == '__main__':
  absltest.main()
