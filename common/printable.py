"""Text that people look at: class names and users' text may contain what steers a terminal. A leaf."""

import re

# Control characters but tab and newline, and what changes the direction or the line of the text around it.
_STEERING = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')


def show(text: str) -> str:
  r"""Returns the text with each character that would steer a terminal as its escape sequence, such as `\x1b`."""
  return _STEERING.sub(lambda found: found.group().encode('unicode_escape').decode(), text)


def require(flag: str, text: str) -> str:
  """Returns the value of a flag that stands in files and on pages, in one line.

  Raises:
    ValueError: If some of its characters cannot.
  """
  shown = show(text.replace('\n', r'\n').replace('\t', r'\t'))
  if shown != text:
    raise ValueError(
      f'Expected printable text in UTF-8 for --{flag}, found {shown}: leave out what was not printable, which is '
      'written here with a backslash.'
    )
  return text


def close(text: str) -> str:
  """Returns the text with a period at its end, which messages may have or not."""
  return text if text.endswith(('.', '…')) else f'{text}.'
