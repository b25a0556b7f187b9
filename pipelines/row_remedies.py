"""What to declare otherwise when rows are refused: sentences for people, by what the refused values look like."""

from collections.abc import Iterator
import dataclasses

from pipelines.declarations import declaration as declarations
from pipelines.readers import encodings
from pipelines.rows import columns
from pipelines.rows import reports

# Of the rows read. Fewer are rows that happen to be wrong, and no declaration helps.
_CONSIDERABLE = 0.01
_SHOWN_VALUES = 5


def suggest(report: reports.Report, declaration: declarations.Declaration) -> list[str]:
  """Returns a sentence for each reason for which a considerable share of the rows is refused, if it has a remedy."""
  least = max(_CONSIDERABLE * report.total(reports.READ), 1)
  refused = {reason: rows for reason, rows in report.reasons(reports.QUARANTINED).items() if rows >= least}
  found = report.reasons(reports.FOUND)
  return [
    *_suggest_order(refused, found, declaration.client),
    *_suggest_decimal(refused, found, declaration),
    *_suggest_encoding(refused, declaration),
    *_suggest_values(refused, found, declaration),
  ]


def _suggest_order(refused: dict[str, int], found: dict[str, int], client: declarations.Client) -> Iterator[str]:
  wrong_type = refused.get(f'order_not_{client.order_type}')
  if wrong_type and found.get('=time'):
    yield f'What {client.order!r} has looks like times: write order_type = "time" in [client].'
  if refused.get('order_not_time'):
    yield f'If {client.order!r} has times of another form, write order_format in [client], such as "%d.%m.%y %H.%M".'


def _suggest_decimal(
  refused: dict[str, int], found: dict[str, int], declaration: declarations.Declaration
) -> Iterator[str]:
  names = [column.name for column in declaration.featurizer.columns if refused.get(f'not_a_number:{column.name}')]
  like = [name for name in names if found.get(f'{name}={columns.OTHER_DECIMALS}')]
  if refused.get('order_not_number') and found.get(f'={columns.OTHER_DECIMALS}'):
    like.append(str(declaration.client.order))
  if like:
    said, other = ('commas', ',') if declaration.reader.decimal == '.' else ('points', '.')
    remedy = f'write decimal = "{other}" in [input].'
    if not _has_option(declaration, 'decimal'):
      remedy = 'write numbers instead of text in the files.'
    yield f'What {", ".join(map(repr, like))} has looks like numbers with {said} before their decimals: {remedy}'


def _suggest_encoding(refused: dict[str, int], declaration: declarations.Declaration) -> Iterator[str]:
  if refused.get('not_utf8') and _has_option(declaration, 'encoding'):
    is_declared = encodings.normalize(getattr(declaration.reader, 'encoding')) != encodings.UTF8  # noqa: B009
    remedy = 'encoding = "latin-1", which reads any byte, or the one that they are in, in [input].'
    if not is_declared:
      remedy = 'encoding = "cp1252" in [input] if Western European Windows wrote them, or the one that they are in.'
    yield f'Some rows are not in the encoding of the input: write {remedy}'


def _suggest_values(
  refused: dict[str, int], found: dict[str, int], declaration: declarations.Declaration
) -> Iterator[str]:
  """Yields what is declared and what was found instead where a value is none of a column's."""
  categories = [category.column for category in getattr(declaration.featurizer, 'categories', ())]
  for column in declaration.featurizer.columns:
    if not isinstance(column.kind, columns.Category) or not refused.get(f'not_in_classes:{column.name}'):
      continue
    start = f'{column.name}='
    values = {key.removeprefix(start): number for key, number in found.items() if key.startswith(start)}
    declared = ', '.join(map(repr, column.kind.values[:_SHOWN_VALUES]))
    shown = sorted(values.items(), key=lambda entry: (-entry[1], entry[0]))[:_SHOWN_VALUES]
    instead = ', '.join(f'{value!r} {number:,}' for value, number in shown) or 'other values, which few rows have'
    remedy = 'Declare them too, or write other = true in that category, which gives all others one code of its own.'
    if column.name not in categories:
      remedy = 'Declare them too, or remove such rows.'
    yield f'Of {column.name}, {declared} are declared, found: {instead}. {remedy}'


def _has_option(declaration: declarations.Declaration, name: str) -> bool:
  reader = declaration.reader
  return dataclasses.is_dataclass(reader) and any(field.name == name for field in dataclasses.fields(reader))
