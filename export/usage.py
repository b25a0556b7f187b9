"""How an app fills the model's input and reads its output, in words for the model card. A leaf.

Made from the examples of preprocessing.json, so that the card says what the data set's declaration says.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import itertools
import json
from typing import Any, NamedTuple

_MOST_NAMES = 4
_ANSWERS = (
  'Only classes from `first_answer` of `preprocessing.json` on are answers: those before it are padding and '
  'what is not listed.'
)
_FILL = 'Fill the rest of the input with 0, `<pad>`. If there is more than fits, use the end.'
_BOOLEANS = 'A boolean counts as a number: true is 1, false is 0.'


class Part(NamedTuple):
  """Some numbers of the input: their indices, the columns that they are made of (as declared), and what they are."""

  indices: str
  columns: str
  content: str


class Usage(NamedTuple):
  """How to use the model: Markdown, with a table of the parts of the input in the middle if it has several."""

  text: str
  parts: Sequence[Part] = ()
  notes: str = ''


def describe(examples: Mapping[str, Any]) -> Usage | None:
  """Returns how to use a model of these examples, None for a kind that is not built in.

  Args:
    examples: Those of preprocessing.json.
  """
  make = _KINDS.get(examples.get('kind', ''))
  return make(examples) if make else None


def _describe_characters(examples: Mapping[str, Any]) -> Usage:
  separator = 'a newline after each message' if examples['after_each_text'] else 'nothing between two messages'
  return Usage(
    f'Bring the text into Unicode form {examples["unicode_normalization"]}. Write its characters from index 0 on, '
    'each as its index in `classes.json` (1, `<unknown>`, for a character that is not listed), with '
    f'{separator}. {_FILL} Index i of the output scores the character that follows index i of the input: after n '
    f'characters, the next one has the largest value at index n - 1. {_ANSWERS}'
  )


def _describe_words(examples: Mapping[str, Any]) -> Usage:
  end = examples['after_each_text']
  separator = f'2, `{end}`, after each message' if end else 'nothing between two messages'
  also = f' and `{end}`' if end else ''
  end_of_message = f'; `{end}` there says that the message ends' if end else ''
  return Usage(
    f'Bring the text into Unicode form {examples["unicode_normalization"]} and cut it into words by the '
    '`tokenization` of `preprocessing.json`. Write them from index 0 on, each as its index in `classes.json` (1, '
    f'`<unknown>`, for a word that is not listed), with {separator}. {_FILL} Index i of the output scores the word '
    f'that follows index i of the input: after n words (marks{also} count as words), those to suggest have the '
    f'largest values at index n - 1{end_of_message}. {_ANSWERS}'
  )


def _describe_items(examples: Mapping[str, Any]) -> Usage:
  del examples
  return Usage(
    'Bring each item into the `normal_form` of `preprocessing.json`. Write the items of one person from index 0 on, '
    'the oldest first, each as its index in `classes.json` (1, `<unknown>`, for an item that is not listed). '
    f'{_FILL} Index i of the output scores the item that follows index i of the input: after n items, those to '
    f'suggest have the largest values at index n - 1. {_ANSWERS}'
  )


def _describe_image(examples: Mapping[str, Any]) -> Usage:
  inverted = (
    ' The images of the data set are white on black, and each value v became 255 - v: do the same with such images.'
  )
  return Usage(
    'Write the image row by row from the top, as grey values from 0 (black ink) to 255 (white paper), not scaled, '
    'with as much paper around the ink as in the images of the data set.'
    f'{inverted if examples["invert"] else ""} The index of the largest output is the class of '
    'what is written.'
  )


def _describe_table(examples: Mapping[str, Any]) -> Usage:
  rules = [_scaling(examples)] if examples['numbers'] else []
  if examples['categories']:
    rules.append(
      'Of the indices of a category, the one of its value is 1 and the others are 0; `categories` in '
      '`preprocessing.json` lists its `values`, `values_are` says how a value is compared with them.'
    )
  unusable = _unusable(examples)
  if unusable:
    rules.append(f'Rows with {unusable} were not used: the model has no useful answer for them.')
  return Usage(
    'Write the row of one example as the numbers of this table. The index of the largest output is the class.',
    list(_parts(examples)),
    ' '.join(rules),
  )


def _describe_windows(examples: Mapping[str, Any]) -> Usage:
  unusable = _unusable(examples)
  note = f' Readings with {unusable} were not used: the model has no useful answer for them.' if unusable else ''
  return Usage(
    f'Write {examples["length"]} readings, the oldest first and as far apart as those of the data set. Each is '
    'the numbers of this table. The index of the largest output is the class that most of these '
    'readings belong to.',
    list(_parts(examples)),
    _scaling(examples) + note,
  )


def _scaling(examples: Mapping[str, Any]) -> str:
  if examples['scaling']['source'] == 'none':
    return f'The numbers are not scaled. {_BOOLEANS}'
  return (
    'From each number subtract its `mean` and divide by its `stddev`, which `scaling` in `preprocessing.json` lists '
    f'in the same order. {_BOOLEANS}'
  )


def _parts(examples: Mapping[str, Any]) -> Iterator[Part]:
  """Yields the parts of a row of the input, in their order."""
  start = 0
  # Columns of one kind that follow each other share a line: a table of sensors may have hundreds.
  for (missing, length), group in itertools.groupby(numbers(examples), lambda column: column[1:]):
    names = [name for name, *_ in group]
    for together in [[name] for name in names] if length else [names]:
      stop = start + len(together) * (length or 1)
      yield Part(_span(start, stop), _join_names(together), _content(len(together), missing, length))
      start = stop
  for category in examples.get('categories', ()):
    stop = start + len(category['values'])
    named = [f'{_span(start, stop)}: its `values`, in their order']
    for key, meaning in (('other', 'any other value'), ('missing', 'no value (null)')):
      if category.get(key):
        named.append(f'{stop}: {meaning}')
        stop += 1
    yield Part(_span(start, stop), category['column'], f'a category; {"; ".join(named)}')
    start = stop


def numbers(examples: Mapping[str, Any]) -> Iterator[tuple[str, float | None, int]]:
  """Yields the name of each column of numbers, what replaces a missing number, and the length of its list."""
  for declared in examples['numbers']:
    column = declared if isinstance(declared, Mapping) else {'column': declared, 'missing': None, 'length': 0}
    missing = examples.get('missing') if column['missing'] is None else column['missing']
    yield column['column'], missing, column['length']


def _content(count: int, missing: float | None, length: int) -> str:
  kind = f'a list of {length} numbers' if length else f'{count} numbers' if count > 1 else 'a number'
  if missing is None:
    return kind
  absent = 'if the list or one of its numbers is missing, each' if length else 'if missing,'
  return f'{kind}; {absent} {json.dumps(missing)} before scaling'


def _unusable(examples: Mapping[str, Any]) -> str:
  """Returns which rows the declaration refuses, in words."""
  categories = examples.get('categories', ())
  has_other, has_missing = (all(each.get(key) for each in categories) for key in ('other', 'missing'))
  cases = {
    'a missing number where the table names no value for it': any(
      missing is None for _, missing, _ in numbers(examples)
    ),
    'a value that is not listed where its category has no index for it': not has_other,
    'no value where its category has no index for that': not has_missing,
  }
  return ', or '.join(case for case, is_refused in cases.items() if is_refused)


def _span(start: int, stop: int) -> str:
  return str(start) if stop - start == 1 else f'{start} to {stop - 1}'


def _join_names(names: Sequence[str]) -> str:
  return ', '.join(names if len(names) <= _MOST_NAMES else [*names[:2], '…', names[-1]])


_KINDS: dict[str, Callable[[Mapping[str, Any]], Usage]] = {
  'characters': _describe_characters,
  'words': _describe_words,
  'items': _describe_items,
  'table': _describe_table,
  'windows': _describe_windows,
  'image': _describe_image,
}
