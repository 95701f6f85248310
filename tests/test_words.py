"""Names and words that stay out of the sources: one model family beside the others, and prose that is hard to read."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import litestar_diffusion

APP = Path(litestar_diffusion.__file__).parent
ROOT = Path(__file__).parent.parent
KNOWS_SDXL = ("domain/families/sdxl/", "domain/families/registry.py", "infra/sdxl/")
UNPLAIN = re.compile(r"\b(whoever|whatever|nobody|everybody|somebody|meanwhile)\b", re.IGNORECASE)
NO_VERB = re.compile(
    r"(The|An?|What|Whether|How|Everything|All|Each|Of|One|Which|Where|From|Those|Names|Every|In|As|With|Returns|Makes|Gives)"
)


def lines_of(*paths: Path) -> Iterator[tuple[str, str]]:
    for path in paths:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            yield f"{path}:{number}", line


def test_only_the_packages_of_sdxl_name_it() -> None:
    general = [
        path
        for layer in ("domain", "infra")
        for path in (APP / layer).rglob("*.py")
        if not path.relative_to(APP).as_posix().startswith(KNOWS_SDXL)
    ]
    assert len(general) > 100
    assert [place for place, line in lines_of(*general) if "sdxl" in line.lower()] == []


def test_sources_and_documents_are_in_plain_words() -> None:
    paths = [
        *APP.rglob("*.py"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / name for name in ("README.md", "settings.toml")),
    ]
    assert [place for place, line in lines_of(*paths) if UNPLAIN.search(line)] == []


def test_docstrings_of_functions_begin_with_a_verb() -> None:
    """A heuristic: the words that begin a noun phrase, and third persons."""
    functions = [
        (f"{path}:{node.lineno} {docstring.splitlines()[0]}", docstring.split()[0])
        for path in APP.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        if not any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
        if (docstring := ast.get_docstring(node)) is not None
    ]
    assert len(functions) > 500
    assert [place for place, word in functions if NO_VERB.fullmatch(word)] == []
