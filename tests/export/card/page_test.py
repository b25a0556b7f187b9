"""Tests that the page says what the card says, and that nobody can put HTML into it."""

from absl.testing import absltest
from absl.testing import parameterized

from export.card import page

_CARD = """# next\\_character on my\\_logs, run \\<b\\>

**Local layers**: none.

| file | size |
|---|---:|
| `a.tflite` | 5 kB |
| x\\|y | 6 kB |

<!-- figures: sizes latencies -->

## Privacy

- one
- two

```sh
python -m a --note=<b>|`x`
```
"""
_PLOTS = {'sizes': ('Size & more.', '<svg id="s"></svg>'), 'latencies': ('Time.', '')}


class PageTest(parameterized.TestCase):
  def test_all_of_the_card(self) -> None:
    text = page.render(_CARD, _PLOTS)
    self.assertIn('<h1>next_character on my_logs, run &lt;b&gt;</h1>', text)
    self.assertIn('<title>next_character on my_logs, run &lt;b&gt;</title>', text)
    self.assertIn('<strong>Local layers</strong>', text)
    self.assertIn('<td><code>a.tflite</code></td>', text)
    self.assertIn('<td>x|y</td>', text)
    self.assertIn('<li>one</li>', text)
    self.assertIn('python -m a --note=&lt;b&gt;|`x`\n</code></pre>', text)
    self.assertIn('<div class="scroll"><table>', text)

  def test_tables_fit_a_phone(self) -> None:
    text = page.render('| a | b | c | d |\n|---|---|---|--:|\n| 1 | 2 | 3 | 4 |\n', {})
    self.assertIn('<table class="stack">', text)
    self.assertIn('<td data-label="d" style="text-align: right;">4</td>', text)
    text = page.render('| | |\n|---|---|\n| 1 | 2 |\n', {})
    self.assertNotIn('<thead>', text)
    self.assertNotIn('data-label="', text)

  def test_plots_are_where_their_marks_are(self) -> None:
    text = page.render(_CARD, _PLOTS)
    self.assertIn(
      '<figure class="card"><figcaption>Size &amp; more.</figcaption><svg id="s"></svg></figure></div>', text
    )
    self.assertNotIn('figures:', text)
    self.assertNotIn('Time.', text)
    self.assertNotIn('charts">', page.render(_CARD, dict.fromkeys(_PLOTS, ('', ''))).partition('</style>')[2])

  def test_the_file_has_no_marks(self) -> None:
    text = page.strip(_CARD)
    self.assertNotIn('<!--', text)
    self.assertIn('6 kB |\n\n## Privacy\n', text)

  def test_nothing_from_outside(self) -> None:
    text = page.render(_CARD, _PLOTS)
    for outside in ('http:', 'https:', '//', 'src=', '@import', 'url('):
      self.assertNotIn(outside, text)

  @parameterized.parameters(
    '<script>alert(1)</script>', '\n<script>alert(1)</script>\n', '<img src=x onerror=alert(1)>', '<!-- x --><b>'
  )
  def test_html_is_text(self, typed: str) -> None:
    text = page.render(f'# card\n\n{typed}\n', {})
    self.assertNotIn('<script', text)
    self.assertNotIn('<img', text)
    self.assertNotIn('<b>', text)


if __name__ == '__main__':
  absltest.main()
