"""The command line as a stranger meets it: real processes, their output and exit codes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from litestar_diffusion.domain.generation import GenerationParameters
from tests.pictures import opened, seen_in


def cli(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "litestar_diffusion", *arguments], cwd=cwd, capture_output=True, text=True, timeout=180
    )


@pytest.mark.parametrize("command", ["", "serve", "generate", "models", "inspect"])
def test_every_command_has_help(command: str) -> None:
    shown = cli(*command.split(), "--help")
    assert shown.returncode == 0
    assert "Usage:" in shown.stdout


def test_help_and_the_package_import_nothing_heavy() -> None:
    script = """
import sys
import litestar_diffusion
from litestar_diffusion.cli import cli
cli(["generate", "--help"], standalone_mode=False)
heavy = {"torch", "diffusers", "transformers", "litestar", "uvicorn", "huggingface_hub"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_parameter_of_the_api_is_an_option() -> None:
    shown = cli("generate", "--help").stdout
    options = set(re.findall(r"--([a-z0-9-]+)", shown))
    fields = {field.name.replace("_", "-") for field in msgspec.structs.fields(GenerationParameters)} - {"prompt"}
    assert fields <= options


def test_generate_writes_the_picture(tmp_path: Path) -> None:
    done = cli("generate", "a red circle on a blue background", "-o", "out.webp", "--seed", "7", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    data = (tmp_path / "out.webp").read_bytes()
    assert opened(data).format == "WEBP"
    assert seen_in(data).background == "blue"
    assert "seed 7" in done.stderr
    again = cli("generate", "a red circle", "-o", "out.webp", cwd=tmp_path)
    assert again.returncode == 2
    assert "--force" in again.stderr


def test_wrong_options_are_all_named_and_exit_with_2(tmp_path: Path) -> None:
    done = cli("generate", "x", "--guidance-scale", "much", "--n", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "--guidance-scale" in done.stderr
    assert "--n" in done.stderr


def test_an_unknown_model_exits_with_1_and_names_those_that_exist(tmp_path: Path) -> None:
    done = cli("generate", "x", "-m", "nope", cwd=tmp_path)
    assert done.returncode == 1
    assert "demo" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_settings_exit_with_2_and_name_the_key(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[server]\nport = 'x'\nhots = 'y'\n")
    done = cli("serve", cwd=tmp_path)
    assert done.returncode == 2
    assert "server.port" in done.stderr
    assert "server.hots" in done.stderr
    assert "'host'" in done.stderr
    assert "Traceback" not in done.stderr


def test_models_lists_what_there_is(tmp_path: Path) -> None:
    listed = json.loads(cli("models", "--json", cwd=tmp_path).stdout)
    assert {"demo", "demo-vpred"} <= {entry["name"] for entry in listed}
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "old.ckpt").write_bytes(b"\x80\x02")
    table = cli("models", cwd=tmp_path).stdout
    assert "old" in table
    assert "pickle" in table


def test_inspect_says_what_a_file_is_and_why(tmp_path: Path) -> None:
    demo = Path(__file__).parents[2] / "models" / "demo-vpred.safetensors"
    shown = cli("inspect", str(demo))
    assert shown.returncode == 0, shown.stderr
    assert "v-prediction: the file holds the key v_pred" in shown.stdout
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(demo.read_bytes()[:1000])
    refused = cli("inspect", str(broken))
    assert refused.returncode == 1
    assert "truncated" in refused.stderr


def test_serve_says_when_its_port_is_in_use(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = cli("serve", "--port", str(taken.getsockname()[1]), cwd=tmp_path)
    assert done.returncode == 1
    assert "in use" in done.stderr
