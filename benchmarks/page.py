"""How large the page is, and how soon it is seen: `uv run --group page python benchmarks/page.py`.

Opens the page of a server in Chromium, each time with an empty cache.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from benchmarks.server import server

_START_S = 120
_PAINT = """() => new Promise((resolve) => new PerformanceObserver((list) => resolve(list.getEntries()[0].startTime))
  .observe({ type: "paint", buffered: true }))"""
_FORM = 'input[placeholder="14"]'
_LOADED = """() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
  .filter((entry) => !entry.initiatorType.includes("fetch"))
  .reduce(({ sent, whole, files }, { transferSize, decodedBodySize }) =>
    ({ sent: sent + transferSize, whole: whole + decodedBodySize, files: files + 1 }), { sent: 0, whole: 0, files: 0 })"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=count, default=10, help="times that the page is opened (default: 10)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), {}) as started:
        started.wait_until_ok("/health/ready", _START_S)
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            opened = [_opened(chromium, started.url) for _ in range(options.repeats)]
            chromium.close()
    Console().print(_table(opened))


def _opened(browser: Browser, url: str) -> dict[str, Any]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    paint_ms = page.evaluate(_PAINT)
    page.locator(_FORM).wait_for()
    form_ms = page.evaluate("performance.now()")
    loaded = page.evaluate(_LOADED)
    context.close()
    return {"paint_ms": paint_ms, "form_ms": form_ms, **loaded}


def _table(opened: list[dict[str, Any]]) -> Table:
    table = Table("figure", "value", title=f"the page, opened {len(opened)} times")
    for name, label in (("paint_ms", "first paint, median"), ("form_ms", "form with the model's defaults, median")):
        table.add_row(label, f"{statistics.median(each[name] for each in opened):.0f} ms")
    table.add_row("the slowest first paint", f"{max(each['paint_ms'] for each in opened):.0f} ms")
    table.add_row("files", str(opened[0]["files"]))
    table.add_row("bytes on the wire", f"{opened[0]['sent'] / 1e3:.0f} kB")
    table.add_row("bytes unpacked", f"{opened[0]['whole'] / 1e3:.0f} kB")
    return table


if __name__ == "__main__":
    main()
