"""Characters without a glyph, such as zero-width spaces: two texts that differ in them alone look the same. A leaf."""

# First and last code point of each range: Unicode's category Cf, and what its standard calls default ignorable.
RANGES = (
  (0xAD, 0xAD),
  (0x34F, 0x34F),
  (0x600, 0x605),
  (0x61C, 0x61C),
  (0x6DD, 0x6DD),
  (0x70F, 0x70F),
  (0x890, 0x891),
  (0x8E2, 0x8E2),
  (0x115F, 0x1160),
  (0x17B4, 0x17B5),
  (0x180B, 0x180F),
  (0x200B, 0x200F),
  (0x202A, 0x202E),
  (0x2060, 0x206F),
  (0x3164, 0x3164),
  (0xFE00, 0xFE0F),
  (0xFEFF, 0xFEFF),
  (0xFFA0, 0xFFA0),
  (0xFFF0, 0xFFFB),
  (0x110BD, 0x110BD),
  (0x110CD, 0x110CD),
  (0x13430, 0x1343F),
  (0x1BCA0, 0x1BCA3),
  (0x1D173, 0x1D17A),
  (0xE0000, 0xE0FFF),
)


def write_class(escape: str) -> str:
  r"""Returns what stands between the brackets of a class of these characters in a regular expression.

  Args:
    escape: How one is written, as a format of its code point: `\x{{{:x}}}` in Java and ICU.
  """
  return ''.join('-'.join(escape.format(point) for point in dict.fromkeys(ends)) for ends in RANGES)
