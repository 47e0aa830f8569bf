"""Opens a page in a headless Chromium, where there is one, and asks it about itself."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def told_by_a_browser(text: str, folder: Path) -> dict[str, Any]:
    """What a page says of itself in a window 500 pixels wide, after a click on the heading of the test accuracy."""
    probe = """<script>
      const errors = []; window.addEventListener("error", e => errors.push(e.message));
      window.addEventListener("load", () => {
        const table = document.querySelector("table"), head = [...table.tHead.rows[0].cells];
        const index = head.findIndex(h => h.textContent.includes("test"));
        head[index].querySelector("button").click();
        const values = [...table.tBodies[0].rows].map(r => parseFloat(r.cells[index].textContent));
        const requests = performance.getEntriesByType("resource").map(r => r.name).filter(n => !n.startsWith("data:"));
        const wide = document.documentElement.scrollWidth;
        const ends = Object.fromEntries([...table.tBodies[0].rows[0].cells].map(
          cell => [cell.dataset.column, cell.getBoundingClientRect().right]));
        document.body.dataset.probe = JSON.stringify({errors, requests, values, wide, ends});
      });
    </script>"""
    page = folder / "report.html"
    page.write_text(text.replace("<head>", f"<head>{probe}", 1))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={folder / 'profile'}", "--window-size=500,900", "--enable-logging=stderr", "--v=0"]
    result = subprocess.run([*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    found = re.search(r'data-probe="([^"]*)"', result.stdout)
    assert found, result.stderr
    assert "CONSOLE" not in result.stderr
    return json.loads(html.unescape(found[1]))
