"""The dialects that the plugin mounts. To add one: a package beside `api`, and a line here."""

from .a1111.dialect import A1111
from .api.dialect import NATIVE
from .dialect import Dialect
from .huggingface.dialect import HUGGINGFACE
from .openai.dialect import OPENAI

DIALECTS: tuple[Dialect, ...] = (NATIVE, HUGGINGFACE, OPENAI, A1111)
