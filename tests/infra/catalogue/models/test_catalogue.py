"""The catalogue over real files: what is there, what changed, what is broken, and who wins."""

import asyncio
import os
import re
import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from litestar_diffusion.domain.errors import UnknownModel
from litestar_diffusion.domain.models.spec import Checkpoint, HubModel, ModelOverrides, ModelSpec
from litestar_diffusion.infra.catalogue.models import local_models as local
from litestar_diffusion.infra.catalogue.models import sources
from litestar_diffusion.infra.catalogue.models.catalogue import ModelCatalogue
from tests.catalogues import everything, found
from tests.headers import SDXL, sparse_file
from tests.pipelines import put_pipeline

BUILTIN = Path(__file__).parents[4] / "models"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def put(models: Path, name: str) -> Path:
    """A file that is SDXL by its header, of zeros that take no room on disk."""
    return sparse_file(models / f"{name}.safetensors", SDXL)


def catalogue(*directories: Path, **options: Any) -> ModelCatalogue:
    usual = {"directories": directories, "overrides": {}, "hub": (), "hub_cache": Path("/nonexistent")}
    return ModelCatalogue(**{**usual, **options})


def reasons(known: ModelCatalogue) -> dict[str, str]:
    return {str(spec.name): spec.unusable or "" for spec in everything(known)}


def evidence(spec: ModelSpec) -> str:
    return "\n".join(spec.evidence)


def test_a_full_size_checkpoint_is_a_model(models: Path) -> None:
    spec = found(catalogue(put(models, "base").parent), "base")
    assert spec.unusable is None
    assert spec.source == Checkpoint(path=models / "base.safetensors")
    assert spec.traits.size_px == 1024
    assert spec.nbytes is not None
    assert spec.nbytes > 100_000_000


def test_the_built_in_models_are_models_with_their_configs_and_defaults() -> None:
    known = catalogue(BUILTIN, builtin=BUILTIN)
    demo, vpred = found(known, "demo"), found(known, "demo-vpred")
    assert demo.unusable is None
    assert vpred.unusable is None
    assert demo.builtin
    assert demo.source == Checkpoint(path=BUILTIN / "demo.safetensors", config=BUILTIN / "demo.config")
    assert (demo.traits.prediction_type, demo.traits.zero_snr, demo.traits.size_px) == ("epsilon", False, 128)
    assert (vpred.traits.prediction_type, vpred.traits.zero_snr) == ("v_prediction", True)
    assert vpred.overrides.num_inference_steps is not None


def test_without_its_config_a_small_model_is_refused_with_a_way_out(models: Path) -> None:
    shutil.copy(BUILTIN / "demo.safetensors", models / "mine.safetensors")
    known = catalogue(models)
    assert "<name>.config" in reasons(known)["mine"]
    shutil.copytree(BUILTIN / "demo.config", models / "mine.config")
    assert reasons(known) == {"mine": ""}


def test_added_replaced_and_removed_files_are_noticed(models: Path) -> None:
    known = catalogue(models)
    assert everything(known) == []
    path = put(models, "mine")
    first = found(known, "mine")
    sparse_file(path, {**SDXL, "v_pred": ()})
    second = found(known, "mine")
    assert second.version != first.version
    assert second.traits.prediction_type == "v_prediction"
    path.unlink()
    with pytest.raises(UnknownModel):
        found(known, "mine")
    assert everything(known) == []


def test_a_changed_sidecar_is_noticed(models: Path) -> None:
    known = catalogue(put(models, "mine").parent)
    before = found(known, "mine")
    sidecar = models / "mine.toml"
    sidecar.write_text('prediction_type = "v_prediction"\n')
    stated = found(known, "mine")
    assert stated.version != before.version
    assert stated.traits.prediction_type == "v_prediction"
    sidecar.unlink()
    assert found(known, "mine") == before


def test_a_changed_config_is_noticed(models: Path) -> None:
    put(models, "mine")
    config = models / "mine.config" / "unet" / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text('{"sample_size": 96}')
    known = catalogue(models)
    before = found(known, "mine")
    assert before.traits.size_px == 768
    config.write_text('{"sample_size": 64}')
    os.utime(config, ns=(0, 0))  # at any resolution of the clock
    after = found(known, "mine")
    assert after.traits.size_px == 512
    assert after.version != before.version


def test_a_replaced_file_is_noticed_where_size_and_time_are_the_same(models: Path) -> None:
    path = put(models, "mine")
    known = catalogue(models)
    before, stat = found(known, "mine"), path.stat()
    put(models, "new").rename(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert found(known, "mine").version != before.version


def test_a_file_that_does_not_change_is_read_once(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(models, "one")
    put(models, "two")
    read: list[str] = []
    read_header = local.read_header
    monkeypatch.setattr(local, "read_header", lambda path: (read.append(path.name), read_header(path))[1])
    known = catalogue(models)
    for _ in range(3):
        everything(known)
        found(known, "one")
    assert sorted(read) == ["one.safetensors", "two.safetensors"]


def test_settings_beat_the_sidecar_and_the_sidecar_beats_the_header(models: Path) -> None:
    sparse_file(models / "mine.safetensors", {**SDXL, "v_pred": ()})
    (models / "mine.toml").write_text('prediction_type = "epsilon"\nguidance_scale = 4.0\nnum_inference_steps = 9\n')
    sidecar = found(catalogue(models), "mine")
    assert sidecar.traits.prediction_type == "epsilon"
    assert "its sidecar 'mine.toml' says so" in evidence(sidecar)
    stated = ModelOverrides(prediction_type="v_prediction", guidance_scale=6.0, dtype="float32")
    spec = found(catalogue(models, overrides={"mine": stated}), "mine")
    assert spec.traits.prediction_type == "v_prediction"
    assert "the settings file says so" in spec.evidence[0]
    assert (spec.overrides.guidance_scale, spec.overrides.num_inference_steps, spec.dtype) == (6.0, 9, "float32")
    assert spec.version != sidecar.version


def test_broken_files_stay_listed_with_the_reason_and_harm_no_other(models: Path) -> None:
    whole = (BUILTIN / "demo.safetensors").read_bytes()
    put(models, "whole")
    (models / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (models / "empty.safetensors").touch()
    (models / "folder.safetensors").mkdir()
    (models / "fake.safetensors").write_bytes(b"PK\x03\x04 and so on")
    (models / "old.ckpt").write_bytes(b"\x80\x02")
    (models / "older.PT").touch()
    (models / "gone.safetensors").symlink_to(models / "nowhere")
    put(models, "bad-sidecar").with_suffix(".toml").write_text("guidance = 3\nwidth = 1\n")
    put(models, "bad-sampler").with_suffix(".toml").write_text('sampler = "eulr"\n')
    put(models, "bad-config").with_suffix(".toml").write_text('config = "../hub"\n')
    (put(models, "odd-config").with_suffix(".config") / "unet").mkdir(parents=True)
    (models / "odd-config.config" / "unet" / "config.json").write_text('{"block_out_channels": []}')
    found = reasons(catalogue(models))
    expected = {
        "whole": "",
        "cut": "truncated",
        "empty": "empty",
        "folder": "directory",
        "fake": "pickle",
        "old": "convert it to .safetensors",
        "older": "pickle",
        "gone": "link to a file that is gone",
        "bad-sidecar": "guidance_scale",
        "bad-sampler": "there is no sampler 'eulr'",
        "bad-config": "beside the file",
        "odd-config": "differ in length",
    }
    assert found.keys() == expected.keys()
    assert found["whole"] == ""
    for name, reason in expected.items():
        assert reason in found[name], (name, found[name])
    assert "width" in found["bad-sidecar"]


def test_sidecars_configs_hidden_and_other_files_are_no_models(models: Path) -> None:
    for name in ("a.toml", ".hidden.safetensors", "README.md", "a.safetensors.part"):
        (models / name).touch()
    for name in ("a.config", "loras", ".cache"):
        (models / name).mkdir()
    (models / "a.config" / "model_index.json").touch()
    assert everything(catalogue(models)) == []


def test_a_link_is_a_model_under_its_own_name(models: Path, tmp_path: Path) -> None:
    (models / "link.safetensors").symlink_to(put(tmp_path, "target"))
    assert reasons(catalogue(models)) == {"link": ""}


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("My Model (v2)", "My-Model-v2"),
        ("_leading", "leading"),
        ("x" * 200, "x" * 128),
        ("grün blau", "grün-blau"),
        ("🐱", "model-[0-9a-f]{8}"),
    ],
)
def test_names_that_cannot_stand_in_a_url_are_made_safe_always_in_the_same_way(
    models: Path, file_name: str, name: str
) -> None:
    put(models, file_name).with_suffix(".toml").write_text("num_inference_steps = 7\n")
    [spec] = everything(catalogue(models))
    assert spec.unusable is None
    assert re.fullmatch(name, spec.name)
    assert spec.overrides.num_inference_steps == 7
    assert "cannot stand in a URL" in evidence(spec)
    assert found(catalogue(models), spec.name) == spec


@pytest.mark.parametrize("name", ["grün", "модель_v2", "模型", "हिन्दी", "نموذج", "모델-1.0"])
def test_names_of_any_script_stay_themselves(models: Path, name: str) -> None:
    put(models, name)
    assert [spec.name for spec in everything(catalogue(models))] == [name]
    assert found(catalogue(models), name).unusable is None


@pytest.mark.parametrize(
    "names",
    [
        ("a b", "a-b", "a (b)"),
        ("🐱 cat", "🐶 cat"),
        ("caf\u00e9", "cafe\u0301"),
        ("x" * 130, "x" * 131),
        ("sub--x", "sub/x"),
    ],
)
def test_names_never_collide(models: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (models / name).parent.mkdir(exist_ok=True)
        put(models, name)
    listed = {spec.name for spec in everything(catalogue(models))}
    assert len(listed) == len(names)
    assert all(found(catalogue(models), name).unusable is None for name in listed)
    assert all(name in listed for name in names if name in ("a-b", "sub--x"))


def test_files_in_subfolders_are_listed_under_both_names(models: Path) -> None:
    (models / "anime" / "new").mkdir(parents=True)
    for reserved in ("loras", "VAE", "embeddings", "upscalers", ".hidden"):
        (models / reserved).mkdir()
        put(models, f"{reserved}/x")
    put(models, "anime/new/x").with_suffix(".toml").write_text("num_inference_steps = 7\n")
    (models / "anime" / "again").symlink_to(models)
    known = catalogue(models)
    [spec] = everything(known)
    assert (spec.name, spec.overrides.num_inference_steps) == ("anime--new--x", 7)
    put(models, "anime/y")
    assert found(known, "anime--y").unusable is None


@pytest.mark.parametrize("suffix", [".aria2", ".part", ".crdownload", ".partial", ".incomplete"])
def test_a_file_that_is_still_being_downloaded_is_unusable_until_it_is_whole(models: Path, suffix: str) -> None:
    mark = put(models, "x").with_name(f"x.safetensors{suffix}")
    mark.touch()
    known = catalogue(models)
    assert "still being downloaded" in (found(known, "x").unusable or "")
    mark.unlink()
    assert found(known, "x").unusable is None


def test_names_that_are_no_text_can_be_listed_as_json(models: Path) -> None:
    path = models / os.fsdecode(b"bad-\xff\xfe.safetensors")
    path.touch()
    path.with_suffix(".toml").write_text("x = 1\n")
    [spec] = everything(catalogue(models))
    assert msgspec.json.encode([spec.name, spec.unusable, spec.evidence])


def test_the_earlier_folder_wins_a_name_and_it_shows(tmp_path: Path) -> None:
    mine, builtin = tmp_path / "mine", tmp_path / "builtin"
    for folder in (mine, builtin):
        folder.mkdir()
    put(builtin, "demo")
    (mine / "demo.safetensors").touch()
    known = catalogue(mine, builtin, builtin=builtin)
    with capture_logs() as logs:
        [spec] = everything(known)
        everything(known)
    assert spec.source == Checkpoint(path=mine / "demo.safetensors")
    assert "empty" in (spec.unusable or "")
    assert not spec.builtin
    assert "hides 'demo.safetensors' in the folder 'builtin'" in evidence(spec)
    assert [line["event"] for line in logs] == ["model_hidden"]


def test_a_safetensors_file_wins_over_its_namesakes(models: Path) -> None:
    put(models, "same")
    (models / "same.ckpt").touch()
    put_pipeline(models / "same")
    [spec] = everything(catalogue(models))
    assert spec.unusable is None
    assert spec.source == Checkpoint(path=models / "same.safetensors")
    assert "'same.ckpt'" in evidence(spec)


def test_a_local_model_wins_over_a_repository_and_costs_no_download(models: Path) -> None:
    put(models, "sdxl-turbo")
    hub = [HubModel(name="sdxl-turbo", repo="stabilityai/sdxl-turbo")]
    [spec] = everything(catalogue(models, hub=hub))
    assert isinstance(spec.source, Checkpoint)
    assert "hides the repository stabilityai/sdxl-turbo" in evidence(spec)


def test_folders_that_are_not_there_or_cannot_be_read_are_empty(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with capture_logs() as logs:
        assert everything(catalogue(tmp_path / "nothing", tmp_path / "file")) == []
    assert [line["event"] for line in logs] == ["models_directory_missing", "models_directory_unreadable"]
    assert logs[0]["directory"] == str(tmp_path / "nothing")


def test_what_loading_found_broken_stays_so_until_the_file_changes(models: Path) -> None:
    path = put(models, "mine")
    known = catalogue(models)
    spec = found(known, "mine")
    known.mark_unusable(spec.name, "an earlier version", "it was another file")
    assert found(known, "mine").unusable is None
    known.mark_unusable(spec.name, spec.version, "a tensor is missing")
    assert found(known, "mine").unusable == "a tensor is missing"
    assert reasons(known) == {"mine": "a tensor is missing"}
    sparse_file(path, {**SDXL, "another": (4,)})
    assert found(known, "mine").unusable is None


def test_hub_models_are_listed_without_a_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", refuse_to_connect)
    hub = [HubModel(name="sdxl-turbo", repo="stabilityai/sdxl-turbo"), HubModel(name="x", repo="a/b", zero_snr=True)]
    known = catalogue(hub=hub, hub_cache=tmp_path)
    turbo = found(known, "sdxl-turbo")
    assert turbo.traits.few_step is not None
    assert (turbo.traits.few_step.steps, turbo.traits.size_px, turbo.nbytes) == (1, 512, None)
    assert "not been downloaded" in evidence(turbo)
    assert found(known, "x").traits.zero_snr


def refuse_to_connect(*args: object) -> None:
    raise AssertionError("the catalogue opened a connection")


def test_a_hub_model_is_told_by_its_files_once_they_are_here_and_keeps_its_version(tmp_path: Path) -> None:
    """A new version would unload what has just been downloaded and loaded."""
    known = catalogue(hub=[HubModel(name="x", repo="a/b", variant="fp16", guidance_scale=2.0)], hub_cache=tmp_path)
    before = found(known, "x")
    snapshot = put_pipeline(tmp_path / "models--a--b" / "snapshots" / COMMIT, ".fp16")
    references = tmp_path / "models--a--b" / "refs"
    references.mkdir()
    (references / "main").write_text(COMMIT)
    after = found(known, "x")
    assert after.version == before.version
    assert after.traits.size_px == 128
    assert after.nbytes
    assert after.overrides.guidance_scale == 2.0
    with (snapshot / "unet" / "diffusion_pytorch_model.fp16.safetensors").open("r+b") as file:
        file.truncate(100)
    assert "Delete a/b from the Hub's cache" in (found(known, "x").unusable or "")
    shutil.rmtree(tmp_path / "models--a--b")
    assert found(known, "x") == before


def test_a_hub_model_with_an_unknown_sampler_is_unusable_with_the_reason(tmp_path: Path) -> None:
    known = catalogue(hub=[HubModel(name="x", repo="a/b", sampler="eulr")], hub_cache=tmp_path)
    assert "there is no sampler 'eulr'" in reasons(known)["x"]


def test_an_unknown_name_lists_the_usable_ones(models: Path) -> None:
    put(models, "mine")
    (models / "empty.safetensors").touch()
    known = catalogue(models)
    everything(known)
    for name in ("nope", "../mine", "mine.safetensors", "", "MINE"):
        with pytest.raises(UnknownModel) as caught:
            found(known, name)
        assert caught.value.available == ("mine",)


def test_many_may_ask_while_files_come_and_go(models: Path) -> None:
    put(models, "steady")
    known = catalogue(models)

    async def ask() -> None:
        for _ in range(20):
            assert (await known.find("steady")).unusable is None
            assert "steady" in [spec.name for spec in await known.refresh()]

    async def come_and_go() -> None:
        for _ in range(20):
            await asyncio.to_thread(lambda: put(models, "fleeting").unlink())

    async def main() -> None:
        await asyncio.gather(ask(), ask(), ask(), come_and_go())

    asyncio.run(main())


def test_the_event_loop_touches_no_file(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(models, "mine")
    known = catalogue(models)
    touched: list[str] = []
    for module, name in ((os, "stat"), (os, "scandir"), (os, "open"), (Path, "stat"), (Path, "open")):
        real = getattr(module, name)

        def watched(*arguments: Any, name: str = name, real: Any = real, **options: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                touched.append(name)
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, watched)

    async def main() -> None:
        touched.clear()
        await known.find("mine")
        await known.refresh()
        await known.list()
        known.get("mine")
        assert touched == []

    asyncio.run(main())


def test_a_file_is_found_before_the_first_look_at_all_files_is_complete(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(models, "slow")
    held = threading.Event()
    real = local.read_header

    def slow(path: Path) -> Any:
        if path.stem == "slow":
            held.wait(30)
        return real(path)

    monkeypatch.setattr(local, "read_header", slow)
    known = catalogue(models)

    async def main() -> None:
        looking = asyncio.create_task(known.refresh())
        await asyncio.sleep(0)
        put(models, "new")
        assert (await asyncio.wait_for(known.find("new"), 10)).unusable is None
        assert not looking.done()
        held.set()
        assert "slow" in [spec.name for spec in await looking]

    asyncio.run(main())


def test_concurrent_requests_for_new_names_share_one_look_through_the_folders(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that runs when a request arrives may have missed its file; all later requests share the next one."""
    looks: list[int] = []
    real = sources.find_candidates
    monkeypatch.setattr(sources, "find_candidates", lambda folder: (looks.append(1), real(folder))[1])
    known = catalogue(models)

    async def main() -> None:
        looking = asyncio.create_task(known.refresh())
        await asyncio.sleep(0)
        put(models, "new")
        specs = await asyncio.gather(*(known.find("new") for _ in range(50)), looking)
        assert all(spec.name == "new" for spec in specs[:50])
        assert len(looks) == 2

    asyncio.run(main())


def test_concurrent_requests_for_a_changed_model_read_its_header_once(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(models, "mine")
    known = catalogue(models)
    before = found(known, "mine").version
    sparse_file(models / "mine.safetensors", {**SDXL, "v_pred": ()})
    read: list[Path] = []
    real = local.read_header
    monkeypatch.setattr(local, "read_header", lambda path: (read.append(path), real(path))[1])

    async def main() -> None:
        specs = await asyncio.gather(*(known.find("mine") for _ in range(50)))
        assert {spec.version == before for spec in specs} == {False}
        assert len(read) == 1

    asyncio.run(main())


def test_a_look_at_all_files_ends_with_the_event_loop(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is told to end while it reads its headers waits for one file, not for all."""
    read: list[Path] = []
    begun = threading.Event()
    real = local.read_header
    monkeypatch.setattr(local, "read_header", lambda path: (read.append(path), begun.set(), real(path))[2])
    for index in range(20):
        put(models, f"m{index}")
    known = catalogue(models)

    async def main() -> None:
        looking = asyncio.create_task(known.refresh())
        await asyncio.to_thread(begun.wait, 30)
        assert not looking.done()

    asyncio.run(main())
    assert len(read) < 20
