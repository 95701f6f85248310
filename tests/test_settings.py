"""Settings: the shipped file says the defaults, the environment wins, and every wrong key is named."""

import os
from pathlib import Path

import msgspec
import pytest

from litestar_diffusion.bootstrap import build
from litestar_diffusion.domain.errors import InvalidSettings
from litestar_diffusion.settings import ModelsSettings, ServerSettings, Settings, load_settings
from litestar_diffusion.settings_sources import unknown_variables

AROUND = '{b = "a", a = "default"}'
SHIPPED = Path(__file__).parents[1] / "settings.toml"
NO_FILE = Path(os.devnull)
"""An empty settings file, so that that of the working directory is not read."""


def test_the_shipped_file_holds_the_defaults() -> None:
    shipped, plain = load_settings(SHIPPED, {}), Settings()
    where = msgspec.structs.replace(shipped.models, directory=plain.models.directory)
    assert msgspec.structs.replace(shipped, models=where) == plain
    assert [model.name for model in plain.models.hub] == ["sdxl-base", "sdxl-turbo"]
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


def test_aliases_are_set_by_the_file_and_by_variables_one_by_one_or_as_a_table(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[models.aliases]\n"dall-e-2" = "a"\n"my/own" = "a"\n')
    one = load_settings(file, {"LITESTAR_DIFFUSION__MODELS__ALIASES__DALL-E-2": "b"}).models.aliases
    assert (one["dall-e-2"], one["my/own"]) == ("b", "a")
    table = load_settings(file, {"LITESTAR_DIFFUSION__MODELS__ALIASES": '{"My.Own" = "c", "dall-e-2" = ""}'})
    assert table.models.aliases == {"dall-e-2": "", "my/own": "a", "My.Own": "c"}


def test_circular_aliases_are_refused_at_start_with_the_chain(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[models.aliases]\na = "b"\nb = "a"\n')
    with pytest.raises(InvalidSettings, match=r"models\.aliases: lead in a circle: 'a' -> 'b' -> 'a'"):
        load_settings(file, {})
    with pytest.raises(InvalidSettings, match=r"'default' -> 'b' -> 'a' -> 'default'"):
        load_settings(None, {"LITESTAR_DIFFUSION__MODELS__DEFAULT": "b", "LITESTAR_DIFFUSION__MODELS__ALIASES": AROUND})
    assert load_settings(None, {"LITESTAR_DIFFUSION__MODELS__DEFAULT": "dall-e-3"}).models.default == "dall-e-3"


def test_an_alias_with_a_space_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[models.aliases]\n"a b" = "demo"\n')
    with pytest.raises(InvalidSettings, match=r"models\.aliases: 'a b': must be of 1 to 128 characters without spaces"):
        load_settings(file, {})


def test_a_settings_object_with_circular_aliases_starts_nothing() -> None:
    with pytest.raises(InvalidSettings, match="circle"):
        build(Settings(models=ModelsSettings(aliases={"a": "a"})))


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


@pytest.mark.parametrize(
    "text",
    [
        '[{"name": "a", "repo": "some/one", "width": 832}]',
        '  [{"name": "a", "repo": "some/one", "width": 832}]',
        '[{name = "a", repo = "some/one", width = 832}]',
    ],
)
def test_lists_of_tables_in_the_environment_are_json_or_toml(text: str) -> None:
    (model,) = load_settings(NO_FILE, {"LITESTAR_DIFFUSION__MODELS__HUB": text}).models.hub
    assert (model.name, model.repo, model.width) == ("a", "some/one", 832)


def test_a_whole_table_in_the_environment_is_json_and_leaves_the_other_keys_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("[server]\nport = 1\nhost = 'x'\n")
    server = load_settings(file, {"LITESTAR_DIFFUSION__SERVER": '{"port": 9000}'}).server
    assert (server.host, server.port) == ("x", 9000)


def test_a_list_that_is_neither_json_nor_toml_says_how_to_write_it() -> None:
    with pytest.raises(InvalidSettings, match=r"MODELS__PRELOAD: must be JSON.*got 'demo,other'"):
        load_settings(NO_FILE, {"LITESTAR_DIFFUSION__MODELS__PRELOAD": "demo,other"})


def test_the_devices_in_the_environment_are_a_word_or_a_list() -> None:
    def names(text: str) -> object:
        return load_settings(NO_FILE, {"LITESTAR_DIFFUSION__DEVICE__NAMES": text}).device.names

    assert (names("all"), names('"all"'), names('["cpu", "cpu"]')) == ("all", "all", ("cpu", "cpu"))
    with pytest.raises(InvalidSettings, match=r"DEVICE__NAMES: must be JSON"):
        names('["cpu"')


def test_a_table_and_a_key_of_it_in_the_environment_are_refused_by_name() -> None:
    environment = {"LITESTAR_DIFFUSION__SERVER": "x", "LITESTAR_DIFFUSION__SERVER__PORT": "1"}
    for order in (environment, dict(reversed(environment.items()))):
        with pytest.raises(InvalidSettings, match=r"LITESTAR_DIFFUSION__SERVER: .*LITESTAR_DIFFUSION__SERVER__PORT"):
            load_settings(NO_FILE, order)


@pytest.mark.parametrize("text", ["yes", "on", "1", "true", "TRUE", " Yes "])
def test_booleans_in_the_environment_are_words_that_people_use(text: str) -> None:
    assert load_settings(NO_FILE, {"LITESTAR_DIFFUSION__LOG__PROMPTS": text}).log.prompts is True


@pytest.mark.parametrize("text", ["no", "off", "0", "false", "False"])
def test_booleans_in_the_environment_are_also_words_for_no(text: str) -> None:
    variables = {"LITESTAR_DIFFUSION__MODELS__BUILTIN": text, "LITESTAR_DIFFUSION__MODELS__LOCAL__A__FEW_STEP": text}
    models = load_settings(NO_FILE, variables).models
    assert models.builtin is False
    assert models.local["a"].few_step is False


def test_numbers_in_the_environment_may_have_blanks_around_them() -> None:
    assert load_settings(NO_FILE, {"LITESTAR_DIFFUSION__SERVER__PORT": " 9000 "}).server.port == 9000


def test_a_model_in_mixed_case_is_the_one_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("[models.local.MyModel]\nwidth = 832\n")
    local = load_settings(file, {"LITESTAR_DIFFUSION__MODELS__LOCAL__MYMODEL__HEIGHT": "640"}).models.local
    assert {name: (stated.width, stated.height) for name, stated in local.items()} == {"MyModel": (832, 640)}


def test_words_of_a_choice_take_any_case(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("[log]\nlevel = 'INFO'\n[models]\ndtype = 'BFloat16'\n")
    settings = load_settings(file, {"LITESTAR_DIFFUSION__LOG__FORMAT": "Console"})
    assert (settings.log.level, settings.log.format, settings.models.dtype) == ("info", "console", "bfloat16")


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("[server]\nport = 1\n", encoding="utf-8-sig")
    assert load_settings(file, {}).server.port == 1


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_says_to_save_it_as_utf_8(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text("[server]  # \u00e9\nport = 1\n", encoding=encoding)
    with pytest.raises(InvalidSettings, match="save it as UTF-8"):
        load_settings(file, {})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LITESTAR_DIFFUSION_SERVER_PORT", "LITESTAR_DIFFUSION__SERVER__PORT"),
        ("LITESTAR_DIFFUSION_LIMITS__MAX_N", "LITESTAR_DIFFUSION__LIMITS__MAX_N"),
        ("LITESTAR_DIFFUSION_SETTING", "LITESTAR_DIFFUSION_SETTINGS"),
        ("LITESTAR_DIFFUSIONS", None),
    ],
)
def test_a_variable_that_looks_like_a_setting_and_is_none_is_told(name: str, meant: str | None) -> None:
    known = {"LITESTAR_DIFFUSION_SETTINGS": "x", "LITESTAR_DIFFUSION__SERVER__PORT": "1", "PATH": "/"}
    assert unknown_variables({**known, name: "x"}) == {name: meant}


@pytest.mark.parametrize(
    ("stated", "used"),
    [
        ("", ("auto",)),
        ('names = "all"', ("auto",)),
        ('name = "cuda:1"', ("cuda:1",)),
        ('names = ["cuda:0", "cuda:2"]', ("cuda:0", "cuda:2")),
        ('names = ["cpu", "cpu"]', ("cpu", "cpu")),
    ],
)
def test_devices_are_all_those_that_are_named_or_the_only_one(
    tmp_path: Path, stated: str, used: tuple[str, ...]
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f"[device]\n{stated}\n")
    assert load_settings(file, {}).device.used == used


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ("names = []", "must name a device"),
        ('names = ["cuda:0", "cpu"]', "of one kind"),
        ('names = ["cuda:0", "cuda:0"]', "names a GPU twice"),
        ('names = ["cpu"]\nname = "cuda:1"', "cannot be stated beside device.name"),
    ],
)
def test_devices_that_cannot_be_used_together_are_refused(tmp_path: Path, stated: str, reason: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f"[device]\n{stated}\n")
    with pytest.raises(InvalidSettings, match=reason):
        load_settings(file, {})
