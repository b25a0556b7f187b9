"""What README.md and docs/ say to type: their blocks, the commands in them, and the commands within sentences."""

from collections.abc import Iterator
import dataclasses
import re

from tests import layout

PAGES = ('README.md', *sorted(path.relative_to(layout.ROOT).as_posix() for path in (layout.ROOT / 'docs').glob('*.md')))
# A block or a piece of code that begins like this is typed into a shell; `$JOB` is explained where it is used.
_COMMANDS = re.compile(
  r'(\.venv/bin/)?(python|pip|uv|pocketfed|make|git|head|curl|cd|bash|sh|docker|sha256sum|\.ci/run|\./\S+|\$JOB)(\s|$)'
)
_COMMENT = re.compile(r'\s{2,}# .*')
# Indented by four, or between fences.
_BLOCK = re.compile(r'(?:^(?: {4}.*)?\n)*^ {4}.*\n|^```.*\n(?:.*\n)*?```\n', re.MULTILINE)
_CODE = re.compile(r'`([^`]+)`')


@dataclasses.dataclass(frozen=True)
class Block:
  """Lines that stand for themselves, without their indentation."""

  page: str
  text: str

  @property
  def first_line(self) -> str:
    return self.text.splitlines()[0]

  @property
  def is_commands(self) -> bool:
    return bool(_COMMANDS.match(self.text))

  @property
  def commands(self) -> list[str]:
    """What the lines say to type: without comments, each on one line."""
    lines = '\n'.join(_COMMENT.sub('', line) for line in self.text.splitlines()).replace('\\\n', ' ').splitlines()
    return [' '.join(line.split()) for line in lines if line.strip()]


def read(page: str) -> str:
  """Returns the text of a page."""
  return (layout.ROOT / page).read_text()


def blocks(page: str, text: str) -> list[Block]:
  """Returns the blocks of a page."""
  return list(_find_blocks(page, text))


def commands_in_sentences(text: str) -> list[str]:
  """Returns the commands between backticks, those that only name a program included."""
  found = [' '.join(code.split()) for code in _CODE.findall(_BLOCK.sub('\n', text))]
  return [code for code in found if _COMMANDS.match(code)]


def codes(text: str) -> list[str]:
  """Returns everything between backticks."""
  return _CODE.findall(_BLOCK.sub('\n', text))


def _find_blocks(page: str, text: str) -> Iterator[Block]:
  for match in _BLOCK.finditer(text):
    lines = match[0].strip('\n').splitlines()
    lines = lines[1:-1] if lines[0].startswith('```') else [line[4:] for line in lines]
    yield Block(page, '\n'.join(lines))
