"""Tests of how templates are filled in."""

import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jinja2

from export import templates


class TemplatesTest(parameterized.TestCase):
  @parameterized.parameters((False, '<b> & co\n'), (True, '&lt;b&gt; &amp; co\n'))
  def test_fills_in(self, autoescape: bool, expected: str) -> None:
    folder = self.enterContext(tempfile.TemporaryDirectory())
    pathlib.Path(folder, 'text.j2').write_text('{% if name %}\n{{ name }}\n{% endif %}\n')
    template = templates.build_environment(os.path.join(folder, 'module.py'), autoescape).get_template('text.j2')
    self.assertEqual(template.render(name='<b> & co'), expected)
    with self.assertRaises(jinja2.UndefinedError):
      template.render()


if __name__ == '__main__':
  absltest.main()
