"""Downloads through the real client, from a stand-in of the Hub that speaks real HTTP."""

import errno
import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import huggingface_hub
import pytest
from structlog.testing import capture_logs

from litestar_diffusion.domain.errors import Cancelled, DownloadFailed
from litestar_diffusion.domain.models.components import LoadProgress
from litestar_diffusion.domain.models.spec import HubRepository
from litestar_diffusion.infra.hub import fetcher as hub_module
from litestar_diffusion.infra.hub import resumable
from litestar_diffusion.infra.hub.fetcher import HubFetcher
from litestar_diffusion.infra.hub.snapshots import cached_snapshot, wanted_files
from tests.conftest import free_port
from tests.hub_stand_in import COMMIT, HubStandIn, running

CONFIGS = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder_2/config.json",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "tokenizer_2/tokenizer_config.json",
    "unet/config.json",
    "vae/config.json",
)
PLAIN = (
    "text_encoder/model.safetensors",
    "text_encoder_2/model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
)
FP16 = tuple(name.replace(".safetensors", ".fp16.safetensors") for name in PLAIN)
BF16 = tuple(name.replace(".safetensors", ".bf16.safetensors") for name in PLAIN)
UNWANTED = (
    "README.md",
    "sd_xl_base_1.0.safetensors",
    "text_encoder/flax_model.msgpack",
    "text_encoder/pytorch_model.bin",
    "text_encoder_2/model.onnx",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/model.ckpt",
    "vae_1_0/config.json",
    "vae_1_0/diffusion_pytorch_model.safetensors",
)
SHARDED = (
    "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
    "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
    "unet/diffusion_pytorch_model.safetensors.index.json",
)
SOURCE = HubRepository(repo="someone/sdxl")


def ignore(progress: LoadProgress) -> None:
    """Listen to nothing."""


def write(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode() * 100)


def names_in(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    huggingface_hub.close_session()  # its client has read the environment of an earlier test
    folder = tmp_path / "repository"
    write(folder, (*CONFIGS, *PLAIN, *FP16, *UNWANTED))
    with running(HubStandIn(folder)) as stand_in:
        yield stand_in
        huggingface_hub.close_session()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def fetch(hub: HubStandIn, cache: Path) -> HubFetcher:
    return HubFetcher(cache=cache, offline=False, endpoint=hub.endpoint)


def test_the_plain_weights_configs_and_tokenizers_are_downloaded_and_nothing_else(
    hub: HubStandIn, fetch: HubFetcher
) -> None:
    folder = fetch(SOURCE, ignore)
    assert names_in(folder) == hub.downloaded() == sorted(CONFIGS + PLAIN)
    assert (folder / PLAIN[0]).read_bytes() == (hub.folder / PLAIN[0]).read_bytes()


def test_a_variant_replaces_the_plain_weights(hub: HubStandIn, fetch: HubFetcher) -> None:
    fetch(HubRepository(repo=SOURCE.repo, variant="fp16"), ignore)
    assert hub.downloaded() == sorted(CONFIGS + FP16)


def test_a_component_without_the_variant_comes_plain_and_is_not_asked_for_again(
    hub: HubStandIn, fetch: HubFetcher
) -> None:
    source = HubRepository(repo=SOURCE.repo, variant="fp16")
    (hub.folder / FP16[3]).unlink()
    folder = fetch(source, ignore)
    assert hub.downloaded() == sorted((*CONFIGS, *FP16[:3], PLAIN[3]))
    hub.received.clear()
    assert fetch(source, ignore) == folder
    assert hub.received == []


def test_shards_come_with_their_index_and_a_snapshot_that_lacks_one_is_unfinished(
    hub: HubStandIn, fetch: HubFetcher, cache: Path
) -> None:
    (hub.folder / PLAIN[2]).unlink()
    write(hub.folder, SHARDED)
    folder = fetch(SOURCE, ignore)
    assert set(names_in(folder)) == {*CONFIGS, *PLAIN, *SHARDED} - {PLAIN[2]}
    assert cached_snapshot(SOURCE, cache) == folder
    (folder / SHARDED[0]).unlink()
    assert cached_snapshot(SOURCE, cache) is None


def test_progress_counts_bytes_up_to_the_total(hub: HubStandIn, fetch: HubFetcher) -> None:
    heard: list[LoadProgress] = []
    fetch(SOURCE, heard.append)
    total = sum((hub.folder / name).stat().st_size for name in CONFIGS + PLAIN)
    assert {(progress.phase, progress.total_nbytes) for progress in heard} == {("download", total)}
    done = [progress.done_nbytes for progress in heard]
    assert (done[0], done[-1]) == (0, total)
    assert done == sorted(set(done))
    assert len(done) > len(PLAIN)


def test_a_download_goes_on_where_it_stopped_and_counts_what_was_there(hub: HubStandIn, fetch: HubFetcher) -> None:
    (fetch(SOURCE, ignore) / PLAIN[2]).resolve().unlink()  # the blob: the link in the snapshot leads nowhere now
    hub.received.clear()
    heard: list[LoadProgress] = []
    fetch(SOURCE, heard.append)
    assert hub.downloaded() == [PLAIN[2]]
    missing = (hub.folder / PLAIN[2]).stat().st_size
    assert heard[0].done_nbytes == heard[0].total_nbytes - missing
    assert heard[-1].done_nbytes == heard[-1].total_nbytes


def test_a_transfer_that_breaks_off_resumes_in_the_middle_and_counts_no_byte_twice(
    hub: HubStandIn, fetch: HubFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.cut_once = {PLAIN[2]}
    heard: list[LoadProgress] = []
    folder = fetch(SOURCE, heard.append)
    whole = (hub.folder / PLAIN[2]).read_bytes()
    assert (folder / PLAIN[2]).read_bytes() == whole
    assert [request.start for request in hub.received if request.start] == [len(whole) // 2]
    assert [progress.done_nbytes for progress in heard].count(heard[-1].total_nbytes) == 1


def test_what_an_earlier_download_has_left_is_used_only_if_the_whole_is_what_the_hub_says(
    hub: HubStandIn, fetch: HubFetcher, cache: Path
) -> None:
    hub.digest = "sha256"  # as large files are named
    whole = (hub.folder / PLAIN[2]).read_bytes()
    name = hashlib.sha256(whole).hexdigest()
    partial = cache / "models--someone--sdxl" / "blobs" / f"{name}.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * (len(whole) - 5))  # as after a loss of power
    with pytest.raises(DownloadFailed, match="not what the Hub says"):
        fetch(SOURCE, ignore)
    partial.write_bytes(whole + b"and more")
    assert (fetch(SOURCE, ignore) / PLAIN[2]).read_bytes() == whole


def test_a_server_that_ignores_the_middle_sends_the_whole(hub: HubStandIn, fetch: HubFetcher, cache: Path) -> None:
    hub.ignores_range = True
    whole = (hub.folder / PLAIN[2]).read_bytes()
    partial = cache / "models--someone--sdxl" / "blobs" / f"{hashlib.sha1(whole).hexdigest()}.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(whole[:100])
    heard: list[LoadProgress] = []
    assert (fetch(SOURCE, heard.append) / PLAIN[2]).read_bytes() == whole
    assert heard[-1].done_nbytes == heard[-1].total_nbytes


def test_two_downloads_of_one_repository_share_the_work(
    hub: HubStandIn, fetch: HubFetcher, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "_LOOK_AGAIN_S", 0.01)
    hub.stalled[PLAIN[2]] = threading.Event()
    deadline = time.monotonic() + 30
    with ThreadPoolExecutor() as threads:
        first = threads.submit(fetch, SOURCE, ignore)
        second = threads.submit(fetch_again, hub, cache)
        while sum(each.path.endswith(PLAIN[2]) and each.method == "HEAD" for each in hub.received) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        hub.stalled[PLAIN[2]].set()
        assert first.result(60) == second.result(60)
    assert sum(each.path.endswith(PLAIN[2]) and each.method == "GET" for each in hub.received) == 1


def test_a_closed_fetcher_stops_at_the_next_piece_and_leaves_nothing_half_done(
    hub: HubStandIn, fetch: HubFetcher, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else the process would stay until the last gigabyte has come."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    with pytest.raises(Cancelled):
        fetch(SOURCE, lambda progress: fetch.close())
    assert cached_snapshot(SOURCE, cache) is None
    assert names_in(cache / "models--someone--sdxl" / "snapshots") == []
    hub.received.clear()
    with pytest.raises(Cancelled):
        fetch(SOURCE, ignore)
    assert hub.received == []
    assert fetch_again(hub, cache).is_dir()


def fetch_again(hub: HubStandIn, cache: Path) -> Path:
    return HubFetcher(cache=cache, offline=False, endpoint=hub.endpoint)(SOURCE, ignore)


def test_the_log_tells_start_and_end_and_the_terminal_shows_no_bar(
    fetch: HubFetcher, capfd: pytest.CaptureFixture[str]
) -> None:
    with capture_logs() as lines:
        fetch(SOURCE, ignore)
    events = [line["event"] for line in lines]
    assert (events[0], events[-1]) == ("download_started", "download_done")
    assert lines[-1]["nbytes"] == lines[0]["nbytes"] > 0
    assert lines[-1]["seconds"] >= 0
    assert capfd.readouterr() == ("", "")


def test_a_complete_snapshot_costs_no_request_and_works_offline(
    hub: HubStandIn, fetch: HubFetcher, cache: Path
) -> None:
    assert cached_snapshot(SOURCE, cache) is None
    folder = fetch(SOURCE, ignore)
    hub.received.clear()
    assert fetch(SOURCE, ignore) == cached_snapshot(SOURCE, cache) == folder
    assert HubFetcher(cache=cache, offline=True, endpoint=hub.endpoint)(SOURCE, ignore) == folder
    assert cached_snapshot(HubRepository(repo=SOURCE.repo, revision=COMMIT), cache) == folder
    assert hub.received == []


def test_what_a_killed_download_leaves_behind_does_not_spoil_a_complete_snapshot(
    fetch: HubFetcher, cache: Path
) -> None:
    folder = fetch(SOURCE, ignore)
    (folder.parents[1] / "blobs" / "abc.1234.incomplete").touch()
    assert cached_snapshot(SOURCE, cache) == folder


@pytest.mark.parametrize("name", ["model_index.json", "scheduler/scheduler_config.json", PLAIN[0]])
def test_an_unfinished_snapshot_is_none(fetch: HubFetcher, cache: Path, name: str) -> None:
    (fetch(SOURCE, ignore) / name).unlink()
    assert cached_snapshot(SOURCE, cache) is None


@pytest.mark.parametrize("name", ["tokenizer/merges.txt", "tokenizer/vocab.json"])
def test_a_snapshot_with_half_a_vocabulary_is_unfinished(
    hub: HubStandIn, fetch: HubFetcher, cache: Path, name: str
) -> None:
    folder = fetch(SOURCE, ignore)
    (folder / name).unlink()
    assert cached_snapshot(SOURCE, cache) is None
    with pytest.raises(DownloadFailed, match=rf"lacks {name}\."):
        HubFetcher(cache=cache, offline=True)(SOURCE, ignore)
    fetch(SOURCE, ignore)
    assert (folder / name).is_file()
    (folder / name).unlink()
    (folder / "tokenizer/tokenizer.json").touch()
    assert cached_snapshot(SOURCE, cache) == folder


def test_a_snapshot_with_weights_has_all_other_files(hub: HubStandIn, fetch: HubFetcher) -> None:
    """Or else a file of a tokenizer, without which the snapshot looks whole, would not be asked for again."""
    hub.refused = {"tokenizer_2/tokenizer_config.json"}
    with pytest.raises(DownloadFailed):
        fetch(SOURCE, ignore)
    assert not {*PLAIN} & {*hub.downloaded()}
    hub.refused.clear()
    assert names_in(fetch(SOURCE, ignore)) == sorted(CONFIGS + PLAIN)


def test_offline_without_the_files_says_so_and_makes_no_request(hub: HubStandIn, cache: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"hub\.offline"):
        HubFetcher(cache=cache, offline=True, endpoint=hub.endpoint)(SOURCE, ignore)
    assert hub.received == []


def test_the_token_of_the_environment_is_sent(
    hub: HubStandIn, fetch: HubFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_right"
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    fetch(SOURCE, ignore)
    assert {request.token for request in hub.received} == {"hf_right"}


def test_a_private_repository_asks_for_a_token(hub: HubStandIn, fetch: HubFetcher) -> None:
    hub.token = "hf_right"
    with pytest.raises(DownloadFailed, match=r"private.* set HF_TOKEN"):
        fetch(SOURCE, ignore)


def test_a_wrong_token_is_told_from_a_missing_one_and_not_repeated(
    hub: HubStandIn, fetch: HubFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_right"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(DownloadFailed, match=r"401.* Set HF_TOKEN to a valid token") as failure:
        fetch(SOURCE, ignore)
    assert "hf_wrong" not in failure.value.message


def test_a_gated_repository_asks_to_accept_its_terms(hub: HubStandIn, fetch: HubFetcher) -> None:
    hub.gated = True
    with pytest.raises(DownloadFailed, match=r"gated.* set HF_TOKEN"):
        fetch(SOURCE, ignore)


def test_a_403_asks_for_a_token(hub: HubStandIn, fetch: HubFetcher) -> None:
    hub.forbidden = True
    with pytest.raises(DownloadFailed, match=r"403.* Set HF_TOKEN"):
        fetch(SOURCE, ignore)


def test_an_unknown_repository_is_named(fetch: HubFetcher) -> None:
    with pytest.raises(DownloadFailed, match="no repository someone/else"):
        fetch(HubRepository(repo="someone/else"), ignore)


def test_an_unknown_revision_is_named(fetch: HubFetcher) -> None:
    with pytest.raises(DownloadFailed, match=r"no revision 'v2'.* `revision`"):
        fetch(HubRepository(repo=SOURCE.repo, revision="v2"), ignore)


def test_an_unreachable_hub_points_at_the_network(hub: HubStandIn, cache: Path) -> None:
    fetch = HubFetcher(cache=cache, offline=False, endpoint=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(DownloadFailed, match=r"could not be reached.* Check the network"):
        fetch(SOURCE, ignore)


def test_a_name_that_is_no_repository_is_refused(fetch: HubFetcher) -> None:
    with pytest.raises(DownloadFailed, match="does not name a repository"):
        fetch(HubRepository(repo="someone/-sdxl-"), ignore)


def test_too_small_a_disk_is_found_before_the_download(
    hub: HubStandIn, fetch: HubFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module.shutil, "disk_usage", lambda _: hub_module.shutil._ntuple_diskusage(1, 0, 1))
    with pytest.raises(DownloadFailed, match=r"hub\.cache"):
        fetch(SOURCE, ignore)
    assert hub.downloaded() == []


def test_what_is_there_of_a_file_needs_no_space_again(
    hub: HubStandIn, fetch: HubFetcher, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (hub.folder / PLAIN[2]).read_bytes()
    total = sum((hub.folder / name).stat().st_size for name in CONFIGS + PLAIN)
    partial = cache / "models--someone--sdxl" / "blobs" / f"{hashlib.sha1(whole).hexdigest()}.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(whole[:-1])
    free = total - len(whole) + 1
    usage = hub_module.shutil._ntuple_diskusage
    monkeypatch.setattr(hub_module.shutil, "disk_usage", lambda _: usage(free, 0, free - 1))
    with pytest.raises(DownloadFailed, match=r"hub\.cache"):
        fetch(SOURCE, ignore)
    monkeypatch.setattr(hub_module.shutil, "disk_usage", lambda _: usage(free, 0, free))
    assert (fetch(SOURCE, ignore) / PLAIN[2]).read_bytes() == whole


def test_a_disk_that_fills_up_meanwhile_is_told_from_the_network(
    fetch: HubFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    with pytest.raises(DownloadFailed, match="The disk is full"):
        fetch(SOURCE, ignore)


@pytest.mark.parametrize(
    ("names", "variant", "text"),
    [
        (CONFIGS + FP16 + BF16, None, r"no plain weights of its unet.* 'bf16', 'fp16'"),
        (CONFIGS + FP16, "bf16", r"no variant 'bf16' of its unet.* 'fp16'"),
        ((*CONFIGS, *PLAIN[:2], PLAIN[3], "unet/diffusion_pytorch_model.bin"), "fp16", "pickled weights"),
    ],
)
def test_missing_weights_name_what_the_repository_offers(
    names: tuple[str, ...], variant: str | None, text: str
) -> None:
    with pytest.raises(DownloadFailed, match=text):
        wanted_files(names, HubRepository(repo=SOURCE.repo, variant=variant))


def test_the_only_variant_is_downloaded() -> None:
    assert set(wanted_files(CONFIGS + BF16, SOURCE)) == {*CONFIGS, *BF16}


def test_a_repository_without_a_config_is_told() -> None:
    names = [name for name in CONFIGS + PLAIN if not name.startswith("scheduler")]
    with pytest.raises(DownloadFailed, match=r"no scheduler/scheduler_config\.json"):
        wanted_files(names, SOURCE)


def test_a_copied_cache_without_refs_serves_and_so_does_one_whose_ref_is_partial(cache: Path) -> None:
    repository = cache / "models--someone--sdxl"
    write(repository / "snapshots" / COMMIT, CONFIGS + PLAIN)
    assert cached_snapshot(SOURCE, cache) == repository / "snapshots" / COMMIT
    write(repository / "snapshots" / "partial", CONFIGS)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("partial")
    assert cached_snapshot(SOURCE, cache) == repository / "snapshots" / COMMIT
    (repository / "refs" / "other").write_text(COMMIT)
    assert cached_snapshot(SOURCE, cache) is None


def test_offline_the_message_says_what_a_partial_cache_lacks(cache: Path) -> None:
    names = tuple(name for name in CONFIGS + PLAIN if not name.startswith(("scheduler", "vae/diff")))
    write(cache / "models--someone--sdxl" / "snapshots" / COMMIT, names)
    with pytest.raises(DownloadFailed, match=rf"{COMMIT}.*lacks scheduler/scheduler_config\.json, the weights of vae"):
        HubFetcher(cache=cache, offline=True)(SOURCE, ignore)


def test_importing_the_module_does_not_import_the_client() -> None:
    code = "import sys, litestar_diffusion.infra.hub.fetcher; sys.exit('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
