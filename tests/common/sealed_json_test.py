"""Tests of JSON files that know their own checksum."""

import json
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized

from common import sealed_json

_CONTENT = {'name': 'é', 'size': 2, 'share': 0.1, 'files': {'a': {'bytes': 1}}, 'none': None}
_FORM = {
  'name': str,
  'size': int,
  'share': (int, float),
  'files': {str: {'bytes': int}},
  'none': type(None),
  'more?': [int],
}


def _loads(content: Any) -> dict[str, Any]:
  return sealed_json.loads(sealed_json.dumps(content).encode(), _FORM)


class SealedJsonTest(parameterized.TestCase):
  def test_gives_back_what_was_written(self) -> None:
    found = _loads(_CONTENT)
    self.assertEqual(found.pop(sealed_json.CHECKSUM), json.loads(sealed_json.dumps(_CONTENT))['checksum'])
    self.assertEqual(found, _CONTENT)

  def test_a_new_checksum_replaces_the_old_one(self) -> None:
    self.assertEqual(sealed_json.dumps(_loads(_CONTENT)), sealed_json.dumps(_CONTENT))

  @parameterized.parameters(
    ('', 'no valid JSON'),
    ('[' * 100_000, 'no valid JSON'),
    ('[]', 'a list'),
    ('null', 'a NoneType'),
    ('{}', 'no checksum'),
    ('{"checksum": NaN}', 'another content'),
    ('{"checksum": 1, "a": 1e999}', 'another content'),
    (json.dumps({**_CONTENT, 'checksum': 'x'}), 'another content'),
  )
  def test_refuses_what_it_did_not_write(self, text: str, found: str) -> None:
    with self.assertRaisesRegex(ValueError, found):
      sealed_json.loads(text.encode(), _FORM)

  def test_not_even_white_space_may_change(self) -> None:
    text = sealed_json.dumps(_CONTENT).encode()
    for changed in (text.strip(), b' ' + text, text.replace(b' ', b'  ')):
      with self.assertRaisesRegex(ValueError, 'another content'):
        sealed_json.loads(changed, _FORM)

  @parameterized.parameters(
    ({'size': True}, 'size to be a bool instead of int'),
    ({'size': None}, 'size to be null instead of int'),
    ({'size': 1 << 64}, 'size'),
    ({'share': '1'}, 'share to be a str instead of int or float'),
    ({'files': []}, 'files to be a list instead of an object'),
    ({'files': {'a': 1}}, 'files.a to be a int'),
    ({'files': {'a': {}}}, 'no files.a.bytes'),
    ({'more': {}}, 'more to be a dict instead of a list'),
    ({'more': [1, 'x']}, r'more\[1\] to be a str'),
  )
  def test_refuses_another_form(self, changed: dict[str, Any], found: str) -> None:
    with self.assertRaisesRegex(ValueError, found):
      _loads(_CONTENT | changed)

  def test_refuses_a_missing_key(self) -> None:
    for name in _CONTENT:
      with self.assertRaisesRegex(ValueError, f'no {name}'):
        _loads({key: value for key, value in _CONTENT.items() if key != name})


if __name__ == '__main__':
  absltest.main()
