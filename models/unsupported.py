"""What is raised where a form or a variant of a file does not support a model."""


class Unsupported(ValueError):
  """A layer or an operation of the model is not supported; the message names it.

  Nothing is broken: where nobody listed the variant, it is skipped.
  """
