"""Tests of building a part from the options of a flag."""

import abc
import dataclasses

from absl.testing import absltest
from absl.testing import parameterized

from common import options as options_lib


@dataclasses.dataclass(frozen=True)
class Part:
  """A part with an option of each type."""

  count: int
  share: float = 0.5
  name: str = 'x'
  is_fast: bool = False

  def __post_init__(self) -> None:
    if self.count < 0:
      raise ValueError(f'Expected count of at least 0, found {self.count}.')


@dataclasses.dataclass(frozen=True)
class Plain:
  """A part without options."""


@dataclasses.dataclass(frozen=True)
class Odd:
  """A part with an option that text cannot say."""

  values: list


def _build(*options: str, kind: type = Part) -> object:
  return options_lib.build('--part_options', 'part', kind, options)


class Base(abc.ABC):
  """What parts derive from."""

  @abc.abstractmethod
  def start(self) -> None: ...

  @abc.abstractmethod
  def end(self) -> None: ...


class Half(Base):
  """A part that cannot end."""

  def start(self) -> None: ...


class Whole(Half):
  def end(self) -> None: ...


class OptionsTest(parameterized.TestCase):
  def test_values_have_their_types(self) -> None:
    self.assertEqual(_build('count=3'), Part(3))
    self.assertEqual(_build('share=1e-1', 'count=3', 'name=a=b', 'is_fast=True'), Part(3, 0.1, 'a=b', True))
    self.assertEqual(_build(kind=Plain), Plain())

  def test_a_part_derives_and_has_the_methods(self) -> None:
    check = options_lib.derives('a part', Base)
    check('whole', Whole)
    for kind in (Half, Plain):
      message = (
        r"Expected a part, found 'x': derive it from Base of .*options_test.py and add the methods end and start.$"
      )
      with self.assertRaisesRegex(ValueError, message):
        check('x', kind)

  def test_a_part_that_a_flag_names(self) -> None:
    def check(name: str, kind: type) -> None:
      if kind is not Part:
        raise ValueError(f'Expected a part, found {name}.')

    known = {'part': Part, 'plain': Plain}
    self.assertEqual(options_lib.build_named('--part', 'part', known, check, ['count=3']), Part(3))
    cases: list[tuple[str, list[str], str]] = [
      ('prat', [], 'Expected --part to be one of part, plain, found .prat.: did you mean part'),
      ('json:dumps', [], 'Expected a frozen dataclass'),
      ('plain', [], 'Expected a part, found plain'),
      ('part', [], 'add --part_options=count=VALUE'),
    ]
    for name, options, message in cases:
      with self.assertRaisesRegex(ValueError, message):
        options_lib.build_named('--part', name, known, check, options)

  @parameterized.parameters(
    (['count=1', 'cuont=1'], '--part_options among count, share, name, is_fast for part, found .*did you mean count'),
    (['count=1', 'far=1'], "found 'far': leave it out of --part_options"),
    ([], 'Expected the options count of part, found none: add --part_options=count=VALUE'),
    (['count'], 'with one count=VALUE, found count'),
    (['count=1', 'count=2'], 'with one count=VALUE, found count=1, count=2: write it once'),
    (['count=1.5'], "Expected an integer for option count, found '1.5': write --part_options=count=VALUE"),
    (['count=1', 'share=a'], "Expected a number for option share, found 'a'"),
    (['count=1', 'share=inf'], "Expected a finite number for option share, found 'inf'"),
    (['count=1', 'is_fast=2'], "Expected true or false for option is_fast, found '2'"),
    (['count=-1'], 'Expected count of at least 0, found -1'),
  )
  def test_refuses(self, options: list[str], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      _build(*options)

  def test_refuses_a_part_whose_options_text_cannot_say(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected option values to be an int, float, bool or str'):
      _build('values=1', kind=Odd)
    with self.assertRaisesRegex(ValueError, 'Expected --part_options among none for part'):
      _build('count=1', kind=Plain)


if __name__ == '__main__':
  absltest.main()
