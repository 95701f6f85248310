"""The wheel in the environment of a host whose own package is called `app`: nothing of the host changes, and its types hold."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOST = Path(__file__).parent / "host_application"
pytestmark = pytest.mark.slow


def done(*command: "str | Path", cwd: Path) -> str:
    """Run a command to its end; returns what it printed."""
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel.

    torch and all other dependencies come from the environment of the tests: a `.pth` file adds its folder behind the fresh
    one. Files of that kind in a folder that is added so are not read, hence the checkout, which is installed there as
    editable, is not seen; `check.py` asserts it.
    """
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the path, and it builds the wheel")
    folder = tmp_path_factory.mktemp("fresh")
    done("uv", "build", "--quiet", "--wheel", "--out-dir", folder, ROOT, cwd=folder)
    done("uv", "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
    interpreter = folder / "venv" / "bin" / "python"
    wheel = next(folder.glob("*.whl"))
    done("uv", "pip", "install", "--quiet", "--no-deps", "--python", interpreter, wheel, cwd=folder)
    site = Path(done(interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return interpreter


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return shutil.copytree(HOST, tmp_path / "host")


def test_nothing_of_the_host_changes(python: Path, host: Path) -> None:
    assert done(python, "check.py", cwd=host).endswith("the same\n")


def test_mypy_is_content_with_the_host(python: Path, host: Path) -> None:
    done(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "app", cwd=host)


def test_pyright_is_content_with_the_host(python: Path, host: Path) -> None:
    (host / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    done(sys.executable, "-m", "pyright", "--pythonpath", python, "app", cwd=host)
