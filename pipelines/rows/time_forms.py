"""The forms of times as patterns, whose groups are the parts of a time: those that are known, and declared ones."""

import re

from pipelines.rows import zones

_DIRECTIVES = {
  'Y': '(?P<year>[0-9]{4})',
  'y': '(?P<short_year>[0-9]{2})',
  'm': '(?P<month>1[0-2]|0[1-9]|[1-9])',
  'd': '(?P<day>3[0-1]|[1-2][0-9]|0[1-9]|[1-9])',
  'H': '(?P<hour>2[0-3]|[0-1][0-9]|[0-9])',
  'I': '(?P<hour>1[0-2]|0[1-9]|[1-9])',
  'M': '(?P<minute>[0-5][0-9]|[0-9])',
  'S': '(?P<second>[0-5][0-9]|[0-9])',
  'f': '(?P<fraction>[0-9]+)',
  'p': r'(?P<half>[ap])\.?m\.?',
  'b': r'(?P<name>[a-z]{3,9})',
  'B': r'(?P<name>[a-z]{3,9})',
  'a': '[a-z]{2,9}',
  'A': '[a-z]{2,9}',
  'z': f'(?P<zone>{zones.OFFSET})',
  'Z': f'(?P<zone>{zones.NAME})',
  '%': '%',
}
_TIME = '{H}(?::{M}(?::{S}(?:[.,]{f})?)?)?(?: ?{p})?'
_ZONE = rf'(?: ?(?P<zone>{zones.OFFSET}|{zones.NAME}))?(?: ?\[(?P<region>{zones.NAME})\])?(?: ?\([^()]*\))?'
_WEEKDAY = '(?:[a-z]{{2,9}},? +)?'
_NAMED = r'(?P<name>[a-z]{{3,9}})\.?'
# With two numbers before the year, of which either may be the month.
_NUMBERS = '(?P<first>[0-9]{{1,2}})(?P<mark>[/.-])(?P<other>[0-9]{{1,2}})[/.-]{Y}'
_FORMS = (
  f'{{Y}}[-/.]{{m}}[-/.]{{d}}(?:(?:t| +|_){_TIME}{{zone}})?',
  '{Y}(?P<month>[0-9]{{2}})(?P<day>[0-9]{{2}})t(?P<hour>[0-9]{{2}})(?P<minute>[0-9]{{2}})'
  '(?:(?P<second>[0-9]{{2}})(?:[.,]{f})?)?{zone}',
  rf'{_NUMBERS}(?:(?:,? +|t){_TIME}{{zone}})?',
  rf'\[?{_WEEKDAY}{{d}}[ /-]{_NAMED}[ /,-]+{{Y}}(?:[: t,]+{_TIME}{{zone}})?\]?',
  rf'{_WEEKDAY}{_NAMED} +{{d}},? +{{Y}}(?:,? +(?:at +)?{_TIME}{{zone}})?',
  rf'{_WEEKDAY}{_NAMED} +{{d}} +{_TIME}{{zone}} +{{Y}}',
)
# What a time may look like, the most usual ones first. No text has two of them.
KNOWN = tuple(f'(?i)^{form.format(**_DIRECTIVES, zone=_ZONE)}$' for form in _FORMS)


def compile_format(order_format: str) -> str:
  """Returns the pattern of a format as of Python's `strptime`.

  Raises:
    ValueError: If it has an unknown directive, one twice, or no year.
  """
  pattern = ''
  for directive, text in re.findall(r'%(.?)|([^%]+)', order_format):
    if not text and directive not in _DIRECTIVES:
      known = ' '.join(f'%{name}' for name in _DIRECTIVES)
      raise ValueError(f'Expected directives of strptime in order_format, found %{directive}: choose among {known}.')
    pattern += re.sub(r'(\\ )+', ' +', re.escape(text)) if text else _DIRECTIVES[directive]
  places = set(re.findall('[?]P<([a-z_]+)>', pattern))
  if len(places) < pattern.count('?P<'):
    raise ValueError(f'Expected each part of a time once in order_format, found {order_format!r}: remove one.')
  if not places & {'year', 'short_year'}:
    raise ValueError(f'Expected a year in order_format, found {order_format!r}: write %Y or %y where it stands.')
  return f'(?i)^{pattern}$'
