"""The model card as a page: its Markdown, with plots, as one HTML file without any outside part."""

from collections.abc import Mapping
import os
import re

import jinja2
import markdown
import markupsafe

_TEMPLATE = 'page.html.j2'
_FIGURE = re.compile(r'\n*<!-- figures: ([a-z ]+) -->\n')
# As it comes out of a converter that takes no HTML.
_ESCAPED_FIGURE = re.compile(r'<p>&lt;!-- figures: ([a-z ]+) --&gt;</p>')
_TABLE = re.compile('<table>.*?</table>', re.DOTALL)
_ROW = re.compile('<tr>(.*?)</tr>', re.DOTALL)
_HEADS = re.compile('<th(?: [^>]*)?>(.*?)</th>')
_NO_HEADS = re.compile('<thead>.*?</thead>', re.DOTALL)
# Columns of a table that a phone shows one below the other.
_MANY = 4
_TITLE = re.compile('<h1>(.*?)</h1>')
_STYLES = (os.path.dirname(__file__), os.path.join(os.path.dirname(__file__), '..', '..', 'reporting'))


def strip(text: str) -> str:
  """Returns the Markdown of the card as a file: without the marks of where plots are."""
  return _FIGURE.sub('\n', text)


def render(text: str, plots: Mapping[str, tuple[str, str]]) -> str:
  """Returns the page.

  Args:
    text: The Markdown of the card. A line `<!-- figures: NAME NAME -->` stands where plots are.
    plots: By name, what a plot shows and the plot as SVG; it is omitted if that is empty.
  """
  body = _convert(text)
  body = _TABLE.sub(lambda found: f'<div class="scroll">{_lay_out(found[0])}</div>', body)
  body = _ESCAPED_FIGURE.sub(lambda found: _draw(found[1].split(), plots), body)
  title = _TITLE.search(body)
  loader = jinja2.FileSystemLoader(_STYLES)
  environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
  # Safe to mark: the converter takes no HTML, and the plots are drawn from numbers and escaped labels.
  return environment.get_template(_TEMPLATE).render(
    title=markupsafe.Markup(re.sub('<.*?>', '', title[1]) if title else 'Model card'), body=markupsafe.Markup(body)
  )


def _convert(text: str) -> str:
  """Returns Markdown as HTML; HTML in it is text, whoever typed it."""
  converter = markdown.Markdown(extensions=['tables', 'fenced_code', 'sane_lists'])
  converter.preprocessors.deregister('html_block')
  converter.inlinePatterns.deregister('html')
  # The card writes `\<` for a sign that somebody typed.
  converter.ESCAPED_CHARS.append('<')
  return converter.convert(text)


def _lay_out(table: str) -> str:
  """Returns a table without an empty head; one of many columns names the column in each cell, for phones."""
  heads = _HEADS.findall(table)
  if not any(heads):
    return _NO_HEADS.sub('', table)
  if len(heads) < _MANY:
    return table

  def label(row: re.Match[str]) -> str:
    labels = iter(heads)
    return re.sub('<td', lambda _: f'<td data-label="{next(labels)}"', row[0])

  return _ROW.sub(label, table).replace('<table>', '<table class="stack">', 1)


def _draw(names: list[str], plots: Mapping[str, tuple[str, str]]) -> str:
  drawn = [
    f'<figure class="card"><figcaption>{markupsafe.escape(plots[name][0])}</figcaption>{plots[name][1]}</figure>'
    for name in names
    if plots[name][1]
  ]
  return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ''
