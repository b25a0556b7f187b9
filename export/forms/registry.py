"""The forms by name."""

from export.forms import base
from export.forms import step
from export.forms import train
from export.forms import whole

FORMS: dict[str, base.Form] = {form.name: form for form in (whole.Whole(), step.Step(), train.Train())}
