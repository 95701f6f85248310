"""The command line as a stranger meets it: real processes, their output and exit codes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import httpx
import msgspec
import pytest
from click.testing import CliRunner
from PIL import Image

from litestar_diffusion.cli import cli as command_line
from litestar_diffusion.cli.failures import told
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from tests.pictures import opened, seen_in

GENERATES_S = 400  # torch is imported and a model loaded, maybe on a machine with other work
DEMO_VPRED = Path(__file__).parents[2] / "models" / "demo-vpred.safetensors"
OUTLINE = DEMO_VPRED.parent / "loras" / "outline.safetensors"

INTERRUPTIBLE = """
import signal
from litestar_diffusion.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a job in the background starts without
main()
"""


def cli(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "litestar_diffusion", *arguments], cwd=cwd, capture_output=True, timeout=GENERATES_S
    )


def refused(done: subprocess.CompletedProcess[bytes], exit_code: int) -> str:
    """What a command said on standard error when it ended with this code, in words and with nothing else."""
    said = done.stderr.decode()
    assert done.returncode == exit_code, said
    assert done.stdout == b""
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("command", ["", "serve", "generate", "models", "adapters", "inspect"])
def test_every_command_has_help(command: str) -> None:
    shown = cli(*command.split(), "--help")
    assert b"\\b" not in shown.stdout
    assert shown.returncode == 0, shown.stderr
    assert b"Usage:" in shown.stdout


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option: str) -> None:
    script = f"""
import sys
import litestar_diffusion
from litestar_diffusion.cli import cli
cli([{option!r}], standalone_mode=False)
heavy = {{"torch", "diffusers", "transformers", "litestar", "uvicorn", "huggingface_hub", "rich"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_options_of_generate_are_the_parameters_of_the_api_that_act_without_a_server() -> None:
    """One request has no queue, so no priority, and no job whose events would show previews."""
    options = {name for option in command_line.commands["generate"].params for name in option.opts if "--" in name}
    of_the_command = {"--output", "--model", "--force", "--settings"}
    fields = {f"--{field.name.replace('_', '-')}" for field in msgspec.structs.fields(GenerationParameters)}
    parts_of_hires = {option for option in options if option.startswith("--hires-")}
    other_names = {"--lora": "--adapters"}
    assert {other_names.get(option, option) for option in options - of_the_command - parts_of_hires} == fields - {
        "--prompt",
        "--previews",
        "--priority",
    }


def test_every_option_says_what_it_does() -> None:
    for command in command_line.commands.values():
        silent = [option.name for option in command.params if isinstance(option, click.Option) and not option.help]
        assert silent == []


def test_generate_writes_the_picture_and_never_over_another(tmp_path: Path) -> None:
    done = cli("generate", "a red circle on a blue background", "-o", "out.webp", "--seed", "7", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    data = (tmp_path / "out.webp").read_bytes()
    assert opened(data).format == "WEBP"
    assert seen_in(data).background == "blue"
    assert b"seed 7" in done.stderr
    assert "--force" in refused(cli("generate", "a red circle", "-o", "out.webp", cwd=tmp_path), 2)
    assert (tmp_path / "out.webp").read_bytes() == data


def test_a_folder_is_refused_as_a_file_before_any_work(tmp_path: Path) -> None:
    assert "is a folder" in refused(cli("generate", "x", "-f", "-o", ".", "--output-format", "png", cwd=tmp_path), 2)


@pytest.mark.slow
def test_several_images_are_named_after_their_seeds(tmp_path: Path) -> None:
    small = ("--num-inference-steps", "1", "--model", "gpt-image-1")  # an alias of the default model
    done = cli("generate", "x", "-o", "o.png", "-n", "2", "--seed", "5", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o-5.png", "o-6.png"]


def test_several_images_are_never_written_over_others(tmp_path: Path) -> None:
    (tmp_path / "o-6.png").write_bytes(b"")
    assert "o-6.png exists" in refused(cli("generate", "x", "-o", "o.png", "-n", "2", "--seed", "5", cwd=tmp_path), 2)


@pytest.mark.slow
def test_a_dash_writes_the_bytes_and_nothing_else_to_standard_output(tmp_path: Path) -> None:
    done = cli(
        "generate", "x", "-o", "-", "--output-format", "jpeg", "--num-inference-steps", "1",
        "--output-quality", "50", "--guidance-scale", "1", "--negative-prompt", "y", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert opened(done.stdout).format == "JPEG"
    assert b"warning: negative_prompt has no effect" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--guidance-scale", "much", "--n", "0"], ["--guidance-scale", "--n", "'much'"]),
        (["--seed", "x", "--num-inference-steps", "y"], ["--seed", "--num-inference-steps"]),
        (["--width", "100"], ["--width", "96 and 104"]),
        (["--sampler", "nope"], ["--sampler", "euler_a"]),
        (["-o", "out.gif"], [".gif", ".webp", "--output-format"]),
        (["-o", "nowhere/out.png"], ["no folder nowhere"]),
        (["-o", "-", "-n", "2"], ["one image"]),
    ],
)
def test_wrong_options_are_all_named_and_exit_with_2(tmp_path: Path, arguments: list[str], named: list[str]) -> None:
    said = refused(cli("generate", "x", *arguments, cwd=tmp_path), 2)
    assert [part for part in named if part not in said] == []


def test_an_unknown_model_exits_with_1_and_names_those_that_exist(tmp_path: Path) -> None:
    assert "demo" in refused(cli("generate", "x", "-m", "nope", cwd=tmp_path), 1)


@pytest.mark.parametrize("command", [["serve"], ["generate", "x"], ["models"]])
def test_wrong_settings_exit_with_2_and_name_the_key(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "mine.toml").write_text("[server]\nport = 'x'\nhots = 'y'\n")
    said = refused(cli(*command, "--settings", "mine.toml", cwd=tmp_path), 2)
    assert "mine.toml" in said
    assert "server.port" in said
    assert "server.hots" in said
    assert "'host'" in said


def test_models_lists_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[models.aliases]\nsd = "demo-vpred"\nlost = "gone"\n')
    shown = cli("models", "--json", cwd=tmp_path)
    listed = {entry["name"]: entry for entry in json.loads(shown.stdout)}  # warnings do not stand among the JSON
    assert b"alias_of_unknown_model" in shown.stderr
    assert listed["demo-vpred"]["aliases"] == ["sd"]
    assert "dall-e-3" in listed["demo"]["aliases"]
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "old.ckpt").write_bytes(b"\x80\x02")
    lines = cli("models", cwd=tmp_path).stdout.decode().splitlines()
    assert any(re.match(r"old\s.*unusable: .*pickle", line) for line in lines), lines
    assert any(re.match(r"demo-vpred\s.*v_prediction, zero SNR\s+10\.\d MB\s+usable\s+sd", line) for line in lines), (
        lines
    )


def test_adapters_lists_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "models" / "loras").mkdir(parents=True)
    (tmp_path / "models" / "loras" / "old.pt").write_bytes(b"\x80\x02")
    lines = cli("adapters", cwd=tmp_path).stdout.decode().splitlines()
    assert any(re.match(r"old\s.*unusable: .*pickle", line) for line in lines), lines
    assert any(re.match(r"outline\s+sdxl\s+kohya\s+lora\s.*usable", line) for line in lines), lines
    listed = {entry["name"]: entry for entry in json.loads(cli("adapters", "--json", cwd=tmp_path).stdout)}
    assert (listed["outline"]["usable"], listed["outline"]["reading"]["family"]) == (True, "sdxl")


def test_inspect_says_what_an_adapter_is(tmp_path: Path) -> None:
    shown = cli("inspect", str(OUTLINE))
    assert shown.returncode == 0, shown.stderr
    assert b"usable, as adapter outline for SDXL" in shown.stdout
    assert b"<lora:outline:1>" in shown.stdout
    broken = tmp_path / "loras" / "broken.safetensors"
    broken.parent.mkdir()
    broken.write_bytes(OUTLINE.read_bytes()[:1000])
    assert "Adapter 'broken.safetensors' cannot be used" in refused(cli("inspect", str(broken)), 1)


@pytest.mark.slow
def test_generate_takes_loras(tmp_path: Path) -> None:
    body = ("generate", "a red circle", "--seed", "7", "--num-inference-steps", "4", "-o")
    for name, more in (("plain.png", ()), ("lora.png", ("--lora", "outline:0.8", "--lora", "OUTLINE:0.2:0"))):
        done = cli(*body, name, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    plain, lora = (opened((tmp_path / name).read_bytes()) for name in ("plain.png", "lora.png"))
    assert plain.tobytes() != lora.tobytes()
    (use,) = json.loads(lora.info["litestar-diffusion"])["request"]["adapters"]
    assert (use["name"], use["weight"], use["text_weight"]) == ("outline", 1.0, 0.8)
    assert "Did you mean 'outline'" in refused(cli(*body, "x.png", "--lora", "outlin", cwd=tmp_path), 1)


def test_warnings_do_not_stand_in_a_list_for_programs(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[models.local.no-such-model]\nwidth = 832\n")
    done = cli("models", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)
    assert b"no-such-model" in done.stderr


def test_inspect_says_what_a_file_is_and_why(tmp_path: Path) -> None:
    shown = cli("inspect", str(DEMO_VPRED))
    assert shown.returncode == 0, shown.stderr
    assert b"v-prediction: the file holds the key v_pred" in shown.stdout
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(DEMO_VPRED.read_bytes()[:1000])
    assert "truncated" in refused(cli("inspect", str(broken)), 1)


def test_serve_says_when_its_port_is_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = cli("serve", "--port", str(taken.getsockname()[1]), cwd=tmp_path)
    assert "in use" in refused(done, 1)


def test_serve_says_where_it_is_and_ctrl_c_ends_it_with_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "serve", "--port", "0"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LITESTAR_DIFFUSION__MODELS__DEFAULT": ""},
    )
    with process:
        assert process.stderr is not None
        said = process.stderr.readline() + process.stderr.readline()
        try:
            url = re.search(r"Serving on (http://127\.0\.0\.1:[1-9]\d*) ", said)
            assert url is not None, said
            assert f"curl -X POST {url[1]}/generate/demo " in said
            assert httpx.get(f"{url[1]}/health/live", timeout=60).status_code == 200
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 130, rest
    assert "Traceback" not in rest


@pytest.mark.parametrize("arguments", [["models"], ["--help"], ["inspect", str(DEMO_VPRED)]])
def test_a_reader_that_has_left_ends_the_command_without_a_word(arguments: list[str], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "litestar_diffusion", *arguments],
            cwd=tmp_path,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--nope"], "No such option"),
        (["nope"], "No such command"),
        (["generate"], "Missing argument"),
        (["inspect", "nowhere.safetensors"], "does not exist"),
        (["serve", "--port", "99999"], "65535"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_help(arguments: list[str], said: str) -> None:
    runner = CliRunner()
    with runner.isolation() as (_, err, _), pytest.raises(SystemExit) as ended, told():
        command_line(arguments, standalone_mode=False)
    (line,) = err.getvalue().decode().splitlines()
    assert ended.value.code == 2
    assert said in line
    assert "--help" in line


@pytest.mark.slow
def test_generate_begins_from_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (96, 64), "blue").save(tmp_path / "in.png")
    done = cli("generate", "a green square", "--image", "in.png", "--strength", "0.5", "-o", "out.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert opened((tmp_path / "out.png").read_bytes()).size == (96, 64)
    assert "none.png" in refused(cli("generate", "x", "--image", "none.png", cwd=tmp_path), 2)
