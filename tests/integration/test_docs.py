"""The documentation holds: its commands run, answers have the keys that it shows, its links lead somewhere.

Every ```sh block of README.md, CONTRIBUTING.md and docs/*.md is run by bash, against a daemon with the shipped models. A ```json
block right behind it shows what it prints; where that is a problem document, the error is the point.
"""

import json
import os
import pathlib
import re
import subprocess
import tempfile

from daemon import BINARY, PATIENCE, Daemon, main

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ADDRESS = "127.0.0.1:8080"  # the daemon's, in the documentation
PROBLEM = "urn:velocityd:problem:"

# Lines that build or install, which this test must not: they are left out of their block.
SKIPPED = re.compile(r"^\s*(make|apt-get|sudo)\b")
SERVES = re.compile(r"build/velocityd (serve\b|--(?!version|help))")

# Commands that would serve for ever end when they are ready.
WRAPPER = r"""#!/bin/bash
case "${1:-serve}" in
--version | --help) exec "$BINARY" "$@" ;;
serve | -*) ;;
*) exec "$BINARY" "$@" ;;
esac
: >serve.log # of an earlier command
"$BINARY" "$@" 2>>serve.log &
until grep -qE '(info |"event":")ready' serve.log; do
    kill -0 $! 2>/dev/null || { cat serve.log >&2; exit 1; }
    sleep 0.02
done
kill -INT $!
wait $!
"""


class Block:
    """A fenced block: where it is, its language and text; shown is the ```json block right behind it."""

    def __init__(self, page, line, language, text):
        self.place = f"{page.relative_to(ROOT)}:{line}"
        self.language, self.text, self.shown = language, text, None


def blocks(page):
    """The fenced blocks of a page."""
    text, found, end = page.read_text(), [], 0
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
        block = Block(page, text.count("\n", 0, match.start()) + 1, match.group(1), match.group(2))
        directly = found and text[end:match.start()].strip() == ""
        if block.language == "json" and directly and found[-1].language == "sh":
            found[-1].shown = json.loads(re.sub(r"(?<=[\[ ])…(?=[\],])", '"…"', block.text))
        end = match.end()
        found.append(block)
    return found


def script_of(block, address, wrapper):
    """A block's text as it is run."""
    lines = []
    for line in block.text.splitlines():
        if SKIPPED.match(line):
            assert not line.rstrip().endswith("\\"), f"{block.place}: a skipped command of several lines"
            continue
        line = line.replace(":8080", ":0") if SERVES.search(line) else line.replace(ADDRESS, address)
        lines.append(line.replace("build/velocityd", wrapper))
    is_problem = isinstance(block.shown, dict) and str(block.shown.get("type")).startswith(PROBLEM)
    if not is_problem:
        lines.insert(0, 'curl() { command curl --fail-with-body --show-error "$@"; }')
    return "\n".join(["set -euo pipefail", *lines])


def difference(shown, found, place=""):
    """Where the keys of what is shown are not those of what was found, or None; "…" stands for anything."""
    if isinstance(shown, dict):
        if not isinstance(found, dict) or shown.keys() != found.keys():
            return f"{place or 'the answer'} has {list(found) if isinstance(found, dict) else found}"
        return next(filter(None, (difference(shown[k], found[k], f"{place}/{k}") for k in shown)), None)
    if isinstance(shown, list):
        if not isinstance(found, list) or ("…" not in shown and len(shown) != len(found)):
            return f"{place} is {json.dumps(found)[:100]}"
        pairs = zip(shown[:shown.index("…")] if "…" in shown else shown, found)
        return next(filter(None, (difference(s, f, f"{place}/{i}") for i, (s, f) in enumerate(pairs))), None)
    same = type(shown) is type(found) or {type(shown), type(found)} == {int, float}
    return None if same else f"{place} is {found!r}"


def run(block, address, folder):
    """Runs a block; the text of what went wrong, or None."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VELOCITYD_")}
    environment.update(BINARY=str(pathlib.Path(BINARY).resolve()), XDG_CACHE_HOME=folder)
    wrapper = str(pathlib.Path(folder, "velocityd"))
    done = subprocess.run(["bash", "-c", script_of(block, address, wrapper)], cwd=folder, env=environment,
                          capture_output=True, check=False, timeout=3 * PATIENCE)
    if done.returncode != 0:
        return f"exit code {done.returncode}: {(done.stdout + done.stderr).decode(errors='replace')[:2000]}"
    return None if block.shown is None else difference(block.shown, json.loads(done.stdout))


def test_every_command_runs_and_prints_what_is_shown():
    failed, count = [], 0
    with Daemon("--models", str(ROOT / "models")) as daemon, tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "models").symlink_to(ROOT / "models")
        wrapper = pathlib.Path(folder) / "velocityd"
        wrapper.write_text(WRAPPER)
        wrapper.chmod(0o755)
        ipv6 = pathlib.Path("/proc/net/if_inet6").exists()
        for block in (b for page in PAGES for b in blocks(page) if b.language == "sh"):
            if "[::1]" in block.text and not ipv6:
                print(f"skipped: no IPv6 here for {block.place}")
                continue
            count += 1
            problem = run(block, f"127.0.0.1:{daemon.port}", folder)
            if problem:
                failed.append(f"{block.place}: {problem}")
    assert not failed, "\n".join(failed)
    assert count > 20, f"only {count} blocks found"


def test_every_route_has_a_command():
    text = "".join(b.text for b in blocks(ROOT / "docs" / "api.md") if b.language == "sh")
    with Daemon() as daemon:
        for path in daemon.request("GET", "/openapi.json").json()["paths"]:
            pattern = re.escape(path).replace(r"\{model\}", r"[a-z0-9-]+")
            assert re.search(rf"{ADDRESS}{pattern}(?=[\s'?])", text), f"docs/api.md shows no request of {path}"


def test_suites_that_are_named_exist():
    sources = "".join(path.read_text() for path in (ROOT / "tests" / "unit").glob("*.c"))
    suites = set(re.findall(r'suite_create\("([^"]+)"\)', sources))
    named = {name for page in PAGES for name in re.findall(r"SUITE=([^\s`]+)", page.read_text())}
    assert named and named <= suites, named - suites


def anchors(page):
    """The fragments that a page's headings make."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, fragment = target.partition("#")
            found = (page.parent / path).resolve() if path else page
            assert found.exists(), f"{page.name}: {target}"
            assert not fragment or fragment in anchors(found), f"{page.name}: no heading for {target}"


main(globals())
