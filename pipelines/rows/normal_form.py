"""One form for texts that mean the same: ids of clients, labels. Files of text have no types, and people type blanks.

Two spellings of one person must not become two clients: the privacy of a client would then be that of a half. So what
differs by how it was typed or stored is made equal, in this order:

1. Characters without a glyph are removed: Unicode's category Cf and the code points that its standard calls default
   ignorable (zero-width spaces and joiners, byte order marks, soft hyphens, variation selectors).
2. Unicode's NFKC: composed and decomposed letters, full-width digits, ligatures. NFC would leave the last two apart.
   NFKC can make two persons one client. That costs data, and no privacy.
3. White space and control characters are removed at both ends: fields of fixed width are padded with spaces or zeros.
4. A whole number that is written as a decimal becomes its digits, as typed columns have it: `17.0`, `1.7E1` and `1e+05`
   as Java, R and pandas write them. `017` stays, for the zeros of codes count. `12e4` stays, for it may be hexadecimal,
   and so does an exponent from 2^53 on, where a double stands for several numbers.
5. A UUID is written in lower case (RFC 9562, section 4), as typed columns have it.

Case matters otherwise.
"""

from collections.abc import Callable
import decimal
import re
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

from common import invisible
from pipelines.rows import casts

_INVISIBLE = re.compile('[' + invisible.write_class(r'\U{:08x}') + ']')
_BLANKS = ''.join(chr(code) for code in range(0x10000) if unicodedata.category(chr(code)) in ('Cc', 'Zs', 'Zl', 'Zp'))
# All other characters are printable ASCII, which only rules 4 and 5 change.
_NEEDS_UNICODE = '[^!-~]'
_PRINTABLE = bytes(range(ord('!'), ord('~') + 1))
_DECIMAL, _MINUS_ZERO = r'^(-?[0-9]+)\.0*$', r'^-0\.0*$'
_EXPONENT = r'^-?[0-9](\.[0-9]+[eE][+-]?|[eE]\+)[0-9]{1,3}$'
_UUID = r'^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$'
_UUID_LENGTH = 36


def normalize(text: pa.Array) -> pa.Array:
  """Returns texts, or nulls, in the form described above.

  Args:
    text: Distinct ones at best: what is not printable ASCII takes microseconds.
  """
  # A pattern costs far more than a look at all bytes at once, and few texts have what it begins with.
  if _content(text).translate(None, _PRINTABLE):
    text = _replace(text, _NEEDS_UNICODE, _clean)
  content = _content(text)
  if b'.' in content and casts.to_mask(pc.match_substring_regex(text, _DECIMAL)).any():
    text = pc.replace_substring_regex(pc.replace_substring_regex(text, _MINUS_ZERO, '0'), _DECIMAL, r'\1')
  if b'.' in content or b'+' in content:
    text = _replace(text, _EXPONENT, _write_digits)
  if b'-' not in content or not casts.to_mask(pc.equal(pc.binary_length(text), _UUID_LENGTH)).any():
    return text
  is_uuid = pc.match_substring_regex(text, _UUID)
  return pc.if_else(is_uuid, pc.utf8_lower(text), text) if is_uuid.true_count else text


def _content(text: pa.Array) -> bytes:
  return bytes(casts.content_of(text))


def _replace(text: pa.Array, pattern: str, rewrite: Callable[[str], str]) -> pa.Array:
  """Returns the texts, those that have the pattern rewritten one by one."""
  found = casts.to_mask(pc.match_substring_regex(text, pattern))
  if not found.any():
    return text
  written = pa.array([rewrite(value) for value in text.filter(pa.array(found)).to_pylist()], text.type)
  return pc.replace_with_mask(text, pa.array(found), written)


def _clean(text: str) -> str:
  return unicodedata.normalize('NFKC', _INVISIBLE.sub('', text)).strip(_BLANKS)


def _write_digits(text: str) -> str:
  number = decimal.Decimal(text)
  return str(int(number)) if abs(number) < casts.MAX_EXACT and number == int(number) else text
