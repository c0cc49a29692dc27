"""What `make install` puts in place serves by itself."""

import json
import os
import pathlib
import subprocess
import tempfile

from daemon import main

ROOT = pathlib.Path(__file__).resolve().parents[2]


ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("VELOCITYD_", "MAKE", "MFLAGS"))}


def install(prefix):
    subprocess.run(["make", "-s", "install", f"PREFIX={prefix}"], cwd=ROOT, env=ENVIRONMENT, check=True)


def test_an_installed_daemon_serves_the_installed_models_by_its_own_configuration():
    with tempfile.TemporaryDirectory() as folder:
        prefix = pathlib.Path(folder) / "prefix"
        install(prefix)
        settings = subprocess.run(
            [prefix / "bin/velocityd", "check-config", "--print", "--config", prefix / "etc/velocityd/velocityd.conf"],
            cwd=folder, env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout
        (line,) = (line for line in settings.splitlines() if line.startswith("server.models = "))
        models = pathlib.Path(line.split()[2])
        assert models == prefix / "share/velocityd/models", line
        assert {path.name for path in models.iterdir()} == {path.parent.name for path in ROOT.glob("models/*/config.json")}
        sample = [prefix / "bin/velocityd", "sample", models / "two-moons", "--num-samples", "3", "--seed", "7"]
        answer = json.loads(subprocess.run(sample, cwd=folder, check=True, capture_output=True).stdout)
        assert len(answer["samples"]) == 3

def test_installing_again_keeps_an_edited_configuration():
    with tempfile.TemporaryDirectory() as folder:
        prefix = pathlib.Path(folder) / "prefix"
        install(prefix)
        configuration = prefix / "etc/velocityd/velocityd.conf"
        configuration.write_text("[server]\nworkers = 1\n")
        install(prefix)
        assert configuration.read_text() == "[server]\nworkers = 1\n"


main(globals())
