"""Settings: the shipped file says the defaults, the environment wins, and every wrong key is named."""

from pathlib import Path

import pytest

from litestar_diffusion.domain.errors import InvalidSettings
from litestar_diffusion.settings import ServerSettings, Settings, load_settings

SHIPPED = Path(__file__).parents[1] / "settings.toml"


def test_the_shipped_file_holds_the_defaults_and_two_hub_models() -> None:
    shipped = load_settings(SHIPPED, {})
    plain = Settings()
    tables = [name for name in Settings.__struct_fields__ if name != "models"]
    assert {name: getattr(shipped, name) for name in tables} == {name: getattr(plain, name) for name in tables}
    assert [model.name for model in shipped.models.hub] == ["sdxl-base", "sdxl-turbo"]
    assert shipped.models.default == "demo"
    assert shipped.models.directory == str(SHIPPED.parent / "models")


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("[server]\nport = 1\nhost = 'x'\n")
    settings = load_settings(
        file, {"LITESTAR_DIFFUSION__SERVER__PORT": "9000", "LITESTAR_DIFFUSION__LOG__PROMPTS": "true"}
    )
    assert (settings.server.host, settings.server.port, settings.log.prompts) == ("x", 9000, True)


def test_lists_in_the_environment_are_written_as_in_the_file() -> None:
    origins = load_settings(None, {"LITESTAR_DIFFUSION__SERVER__ALLOWED_ORIGINS": '["null", "https://a.example"]'})
    assert origins.server.allowed_origins == ("null", "https://a.example")


@pytest.mark.parametrize("origin", ["a.example", "https://a.example/", "https://*.example", "[https://a.example"])
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(InvalidSettings, match="allowed_origins"):
        load_settings(None, {"LITESTAR_DIFFUSION__SERVER__ALLOWED_ORIGINS": f"['{origin}']"})


def test_a_model_is_configured_key_by_key(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[models.local.mine]\nprediction_type = "v_prediction"\nsampler = "ddim"\nwidth = 832\n')
    mine = load_settings(file, {}).models.local["mine"]
    assert (mine.prediction_type, mine.sampler, mine.width) == ("v_prediction", "ddim", 832)


def test_every_wrong_key_is_named_with_its_path_its_value_and_what_is_allowed(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(
        '[server]\nport = 70000\nhots = "x"\n[models]\ndtype = "int8"\n[[models.hub]]\nname = "a b"\n'
        "[models.local.mine]\nwidth = 10\n[nothing]\n"
    )
    with pytest.raises(InvalidSettings) as caught:
        load_settings(file, {})
    told = {error.field: error.message for error in caught.value.errors}
    assert set(told) == {
        "server.port", "server.hots", "models.dtype", "models.hub[0].name", "models.hub[0].repo",
        "models.local.mine.width", "nothing",
    }  # fmt: skip
    assert "70000" in told["server.port"]
    assert "65535" in told["server.port"]
    assert "'host'" in told["server.hots"]
    assert "int8" in told["models.dtype"]


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(InvalidSettings, match=r"server\.port"):
        load_settings(None, {"LITESTAR_DIFFUSION__SERVER__PORT": "many"})


@pytest.mark.parametrize("content", ["[server", "\x00"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(content)
    with pytest.raises(InvalidSettings, match="TOML"):
        load_settings(file, {})


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="cannot be read"):
        load_settings(tmp_path / "none.toml", {})


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9000"),
        ("0.0.0.0", "http://127.0.0.1:9000"),
        ("", "http://127.0.0.1:9000"),
        ("::", "http://[::1]:9000"),
        ("fe80::1", "http://[fe80::1]:9000"),
        ("images.example.org", "http://images.example.org:9000"),
    ],
)
def test_the_url_of_the_server_can_be_opened_on_the_same_machine(host: str, url: str) -> None:
    """An address that means all addresses is none that a client can connect to."""
    assert ServerSettings(host=host, port=9000).url == url


def test_memory_takes_bytes_or_a_fraction(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("[memory]\ndevice = 8000000000\nhost = 0.5\n")
    memory = load_settings(file, {}).memory
    assert (memory.device, memory.host) == (8_000_000_000, 0.5)
