"""The commands that need no daemon: what they do, how they fail, and in which words."""

import json
import pathlib
import subprocess
import tempfile
import time

from daemon import BINARY, ENDLESS, MIXTURE, PATIENCE, main

PROGRAM = str(pathlib.Path(BINARY).resolve())


class Folder:
    """A temporary folder with a model in it; use as a context manager."""

    def __init__(self, **changes):
        self.config = {**MIXTURE, **changes}

    def __enter__(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="velocityd-test-")
        self.path = pathlib.Path(self.temporary.name)
        self.model = self.path / "mixture"
        self.model.mkdir()
        (self.model / "config.json").write_text(json.dumps(self.config))
        return self

    def __exit__(self, kind, value, trace):
        self.temporary.cleanup()

    def run(self, command, *flags):
        """The ended process of a command on the model."""
        return subprocess.run([PROGRAM, command, str(self.model), *map(str, flags)], cwd=self.path, timeout=2 * PATIENCE,
                              capture_output=True, text=True, errors="replace", check=False)

    def refuses(self, command, *flags, code, says):
        """The command must fail with that code and these words, and leave no output file."""
        ended = self.run(command, *flags)
        assert ended.returncode == code, (ended.returncode, ended.stdout[-500:], ended.stderr)
        assert says in ended.stderr, ended.stderr
        assert not list(self.path.glob("out.*")), "an output file is left"
        return ended.stderr


def test_sample_ends_when_timeout_ms_has_passed():
    with Folder() as folder:
        started = time.monotonic()
        flags = ["--num-samples", ENDLESS["num_samples"], "--solver-steps", ENDLESS["solver"]["steps"]]
        folder.refuses("sample", *flags, "--timeout-ms", 1, "--output", "out.npy", code=1, says="timeout_ms has passed")
        (folder.path / "request.json").write_text(json.dumps({**ENDLESS, "timeout_ms": 50}))
        folder.refuses("sample", "--request", "request.json", "--output", "out.json", code=1,
                       says="timeout_ms has passed")
        assert time.monotonic() - started < PATIENCE


def test_sample_that_ends_in_time_is_not_cut_short_and_needs_no_timeout():
    with Folder() as folder:
        for flags in [], ["--timeout-ms", 600000]:
            ended = folder.run("sample", "--num-samples", 2, *flags)
            assert ended.returncode == 0, ended.stderr
            assert len(json.loads(ended.stdout)["samples"]) == 2


main(globals())
