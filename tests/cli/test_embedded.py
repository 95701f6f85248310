"""`litestar diffusion`: our commands in the command line of an application that embeds the plugin."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from litestar import Litestar
from litestar.cli.main import litestar_group

from litestar_diffusion import DiffusionConfig, DiffusionPlugin, Settings
from litestar_diffusion.settings import ModelsSettings
from litestar_diffusion.testing import fake_services, model

SETTINGS = Settings(models=ModelsSettings(default="mine"))
app = Litestar(
    plugins=[
        DiffusionPlugin(
            DiffusionConfig(
                settings=SETTINGS,
                build=lambda settings: fake_services(model("mine"), model("other"), settings=settings),
            )
        )
    ]
)

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(litestar_group, ["--app", f"{__name__}:app", *arguments])

    return invoke


def test_there_is_no_serve_and_no_settings_file(run: Run) -> None:
    assert run("diffusion", "serve").exit_code == 2
    assert "--settings" not in run("diffusion", "generate", "--help").output


def test_models_are_those_of_the_application(run: Run) -> None:
    done = run("diffusion", "models", "--json")
    assert [entry["name"] for entry in json.loads(done.stdout)] == ["mine", "other"]


def test_pictures_are_made_with_the_settings_of_the_application(run: Run, tmp_path: Path) -> None:
    done = run("diffusion", "generate", "a star", "-o", "star.png", "--width", "64", "--height", "64")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "star.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_is_inspected(run: Run) -> None:
    demo = Path(__file__).parents[2] / "models" / "demo.safetensors"
    assert "usable, as model demo" in run("diffusion", "inspect", str(demo)).output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [(("--model", "nope"), 1, "There is no model named 'nope'"), (("--seed", "-4"), 2, "--seed: expected int >= -1")],
)
def test_errors_are_messages(run: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = run("diffusion", "generate", "a star", *arguments)
    assert (done.exit_code, isinstance(done.exception, SystemExit)) == (code, True)
    assert words in done.output
