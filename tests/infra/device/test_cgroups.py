"""Limits of containers as the kernel states them: each tree below is what a process sees in such a container."""

from pathlib import Path

import pytest

from litestar_diffusion.infra.device.cgroups import cpu_limit, memory_limit_nbytes
from litestar_diffusion.infra.device.cpu_threads import usable_cpus
from litestar_diffusion.infra.device.host_memory import host_nbytes

GB = 10**9
V2 = "30 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw"
V1_MEMORY = "31 23 0:27 {} /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory"
V1_CPU = "32 23 0:28 {} /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct"


def tree(root: Path, groups: str, mounts: list[str], files: dict[str, object]) -> Path:
    """A file system with the given control groups; `files` are below /sys/fs/cgroup."""
    contents = {f"sys/fs/cgroup/{name}": content for name, content in files.items()}
    contents |= {"proc/self/cgroup": groups, "proc/self/mountinfo": "\n".join(mounts)}
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


def v1(group: str) -> str:
    return f"9:memory:{group}\n4:cpu,cpuacct:{group}\n1:name=systemd:{group}"


def test_version_2_in_a_container_of_its_own_namespace(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/", [V2], {"memory.max": 3 * GB, "cpu.max": "150000 100000"})
    assert (memory_limit_nbytes(root), cpu_limit(root)) == (3 * GB, 1.5)


def test_the_tightest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    files = {
        "pods/memory.max": 4 * GB,
        "pods/cpu.max": "100000 100000",
        "pods/a/memory.max": 8 * GB,
        "pods/a/cpu.max": "max 100000",
        "pods/a/b/memory.max": "max",
        "pods/a/b/memory.high": 6 * GB,
        "pods/other/memory.max": GB,
    }
    root = tree(tmp_path, "0::/pods/a/b", [V2], files)
    assert (memory_limit_nbytes(root), cpu_limit(root)) == (4 * GB, 1.0)


@pytest.mark.parametrize("mounted", ["/docker/abc", "/"])
def test_version_1_whether_the_container_is_the_top_of_its_tree_or_not(tmp_path: Path, mounted: str) -> None:
    """Without a namespace the process knows its group by the host's name, and sees that group's folder as the topmost."""
    inside = "" if mounted != "/" else "docker/abc/"
    files = {
        f"memory/{inside}memory.limit_in_bytes": 3 * GB,
        f"cpu,cpuacct/{inside}cpu.cfs_quota_us": 200_000,
        f"cpu,cpuacct/{inside}cpu.cfs_period_us": 100_000,
    }
    mounts = [V1_MEMORY.format(mounted), V1_CPU.format(mounted)]
    root = tree(tmp_path, v1("/docker/abc"), mounts, files)
    assert (memory_limit_nbytes(root), cpu_limit(root)) == (3 * GB, 2.0)


def test_a_group_outside_of_what_is_mounted_has_the_limits_of_the_topmost_folder(tmp_path: Path) -> None:
    for number, (groups, mounted) in enumerate([(v1("/other"), "/docker/abc"), (v1("/../x"), "/"), ("", "/")]):
        root = tree(
            tmp_path / str(number), groups, [V1_MEMORY.format(mounted)], {"memory/memory.limit_in_bytes": 5 * GB}
        )
        assert memory_limit_nbytes(root) == 5 * GB


@pytest.mark.parametrize(
    ("mounts", "files"),
    [
        ([V2], {"memory.max": "max", "cpu.max": "max 100000"}),
        ([V1_MEMORY.format("/")], {"memory/memory.limit_in_bytes": 9223372036854771712}),
        ([V1_CPU.format("/")], {"cpu,cpuacct/cpu.cfs_quota_us": -1, "cpu,cpuacct/cpu.cfs_period_us": 100_000}),
        ([V2], {"memory.max": "", "cpu.max": "garbage"}),
        (["cut short -", "30 23 - cgroup2"], {}),
        ([], {}),
    ],
)
def test_no_limit_is_none(tmp_path: Path, mounts: list[str], files: dict[str, object]) -> None:
    root = tree(tmp_path, "0::/\nodd line", mounts, files)
    assert (memory_limit_nbytes(root), cpu_limit(root)) == (None, None)
    assert memory_limit_nbytes(tmp_path / "nothing") is None, "a system without /proc"


def test_the_budget_and_the_threads_go_by_the_container(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/", [V2], {"memory.max": GB, "cpu.max": "50000 100000"})
    assert host_nbytes(root) == GB
    assert usable_cpus(root) == 1
    assert host_nbytes(tmp_path / "nothing") > GB
    assert usable_cpus(tmp_path / "nothing") >= 1
