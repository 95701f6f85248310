"""What a person states beside a file: read as stated, or refused with every wrong key."""

from pathlib import Path

import pytest

from litestar_diffusion.domain.errors import InvalidSettings
from litestar_diffusion.domain.models.spec import ModelOverrides
from litestar_diffusion.infra.catalogue.models.sidecar import check_sampler, config_path, read_sidecar


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "model.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_no_sidecar_states_nothing(tmp_path: Path) -> None:
    assert read_sidecar(tmp_path / "model.toml") == ModelOverrides()
    (tmp_path / "model.toml").mkdir()
    assert read_sidecar(tmp_path / "model.toml") == ModelOverrides()


def test_a_sidecar_states_what_it_says(tmp_path: Path) -> None:
    text = 'prediction_type = "v_prediction"\nfew_step = false\nguidance_scale = 5\nwidth = 832\nsampler = "DPM++ 2M"\n'
    assert read_sidecar(written(tmp_path, text)) == ModelOverrides(
        prediction_type="v_prediction", few_step=False, guidance_scale=5.0, width=832, sampler="DPM++ 2M"
    )


def test_every_wrong_key_is_reported(tmp_path: Path) -> None:
    text = 'guidance = 3\nwidth = 32\nprediction_type = "x"\nnum_inference_steps = "12"\n'
    with pytest.raises(InvalidSettings) as caught:
        read_sidecar(written(tmp_path, text))
    assert {error.field for error in caught.value.errors} == {
        "guidance",
        "width",
        "prediction_type",
        "num_inference_steps",
    }
    assert caught.value.origin == "model.toml"


def test_preview_factors_are_read_or_refused_with_the_reason(tmp_path: Path) -> None:
    rows = "[[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]]"
    stated = read_sidecar(written(tmp_path, f"[preview]\nfactors = {rows}\n")).preview
    assert stated is not None
    assert stated.factors[3] == (0.5, 0.5, 0.5)
    assert stated.bias == (0, 0, 0)
    for text, field, message in [
        ("factors = []", "preview.factors", "length >= 1"),
        (f"factors = {rows.replace('0.5', 'nan')}", "preview.factors", ">= -100"),
        (f"factors = {rows}\nbias = [0, 0]", "preview.bias", "length 3"),
        (f"factors = {rows}\nbais = [0, 0, 0]", "preview.bais", "Did you mean 'bias'?"),
        ("bias = [0, 0, 0]", "preview.factors", "is required"),
    ]:
        with pytest.raises(InvalidSettings) as caught:
            read_sidecar(written(tmp_path, f"[preview]\n{text}\n"))
        assert [error.field for error in caught.value.errors] == [field]
        assert message in caught.value.errors[0].message


@pytest.mark.parametrize("text", ["width = ", b"\xff\xfa"])
def test_what_is_not_toml_is_refused(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(InvalidSettings, match="is not TOML"):
        read_sidecar(written(tmp_path, text))


def test_a_sidecar_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused as the system does, because tests that run as root may read everything."""

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    path = written(tmp_path, "width = 832")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InvalidSettings, match="cannot be read: Permission denied"):
        read_sidecar(path)


def test_a_default_sampler_must_exist(tmp_path: Path) -> None:
    check_sampler(ModelOverrides(), "here")
    check_sampler(ModelOverrides(sampler="euler_a"), "here")
    with pytest.raises(InvalidSettings, match="sampler: there is no sampler 'eulr'"):
        check_sampler(ModelOverrides(sampler="eulr"), "here")
    with pytest.raises(InvalidSettings, match=r"model\.toml is not valid"):
        read_sidecar(written(tmp_path, 'sampler = "eulr"'))


def test_the_config_folder_is_the_usual_one_or_the_named_sibling(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    assert config_path(file, None) is None
    (tmp_path / "model.config").mkdir()
    (tmp_path / "other.config").mkdir()
    assert config_path(file, None) == tmp_path / "model.config"
    assert config_path(file, "other.config") == tmp_path / "other.config"


@pytest.mark.parametrize("named", ["missing", "", ".", "..", "../other", "sub/folder", "/etc", "a\\b", "a\0b"])
def test_a_config_folder_elsewhere_is_refused(tmp_path: Path, named: str) -> None:
    (tmp_path / "sub" / "folder").mkdir(parents=True)
    with pytest.raises(InvalidSettings, match="must name a folder beside the file"):
        config_path(tmp_path / "model.safetensors", named)


def test_a_byte_order_mark_is_accepted_and_utf_16_is_told(tmp_path: Path) -> None:
    assert read_sidecar(written(tmp_path, b"\xef\xbb\xbfwidth = 832")).width == 832
    with pytest.raises(InvalidSettings, match="save it as UTF-8"):
        read_sidecar(written(tmp_path, "width = 832".encode("utf-16")))
