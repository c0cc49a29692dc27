"""velocityd convert, and models whose weights are a PyTorch file: the same tensors, the same bits."""

import json
import pathlib
import shutil
import subprocess
import tempfile

from daemon import BINARY, PATIENCE, main

PROGRAM = str(pathlib.Path(BINARY).resolve())
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
TWIN = GOLDEN / "pytorch" / "twin.pt"
ORIGINAL = GOLDEN / "mlp-moons-otcfm"


def run(*words, code=0):
    ended = subprocess.run([PROGRAM, *map(str, words)], timeout=PATIENCE, capture_output=True, text=True, check=False)
    assert ended.returncode == code, (words, ended.returncode, ended.stdout[-2000:], ended.stderr)
    return ended


class Place:
    """A temporary folder; use as a context manager."""

    def __enter__(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="velocityd-test-")
        return pathlib.Path(self.temporary.name)

    def __exit__(self, kind, value, trace):
        self.temporary.cleanup()


def samples_of(model):
    out = model.parent / f"{model.name}.npy"
    run("sample", model, "--num-samples", 64, "--seed", 7, "--solver-method", "dopri5", "--output", out)
    return out.read_bytes()


def pytorch_folder(place):
    """The model folder of ORIGINAL, its weights as TWIN."""
    folder = place / "as-saved"
    folder.mkdir()
    config = json.loads((ORIGINAL / "config.json").read_text())
    config["weights"] = {"file": "twin.pt", "entry": "ema_model"}
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(TWIN, folder)
    return folder


def test_a_pytorch_file_gives_the_same_bits_as_its_safetensors_twin_before_and_after_conversion():
    with Place() as place:
        original = place / "original"
        shutil.copytree(ORIGINAL, original)
        expected = samples_of(original)
        folder = pytorch_folder(place)
        assert samples_of(folder) == expected
        run("convert", folder, place / "converted")
        assert samples_of(place / "converted") == expected
        assert sorted(path.name for path in (place / "converted").iterdir()) == ["config.json", "model.safetensors"]
        before, after = [json.loads((path / "config.json").read_text()) for path in (folder, place / "converted")]
        assert before.pop("weights") and after.pop("weights") == {"file": "model.safetensors"}
        assert before == after


def test_a_bare_checkpoint_becomes_a_model_that_is_served_and_says_what_was_assumed():
    with Place() as place:
        original = place / "original"
        shutil.copytree(ORIGINAL, original)
        ended = run("convert", TWIN, place / "guessed", "--entry", "ema_model")
        assert f"read {TWIN}: 8 tensors of ema_model\n" in ended.stdout, ended.stdout
        assert "\nassumed: network.activation selu, network.time concat_last: " in ended.stdout, ended.stdout
        assert "\nassumed: flow.time.direction noise_to_data" in ended.stdout, ended.stdout
        assert samples_of(place / "guessed") == samples_of(original)


def test_inspect_says_which_entry_was_taken_and_lists_its_tensors():
    with Place() as place:
        report = run("inspect", pytorch_folder(place)).stdout
        assert "\nweights       twin.pt\n" in report and "\nentry         ema_model\n" in report, report
        assert "used, in the file module.net.0.weight" in report, report
        assert "\nusable: yes\n" in report, report


def test_a_model_folder_without_an_entry_is_refused_with_the_state_dicts_of_its_file():
    with Place() as place:
        folder = pytorch_folder(place)
        config = json.loads((folder / "config.json").read_text())
        del config["weights"]["entry"]
        (folder / "config.json").write_text(json.dumps(config))
        ended = run("sample", folder, "--num-samples", 1, code=1)
        assert 'twin.pt: weights.entry must name one of the 2 state dicts: "net_model" (2 tensors), "ema_model" ' \
            "(8 tensors)" in ended.stderr, ended.stderr


def test_convert_writes_whole_folders_only_and_says_why_not():
    with Place() as place:
        (place / "there").mkdir()
        (place / "no-config").mkdir()
        (place / "bad.pt").write_bytes(TWIN.read_bytes()[:5000])
        (place / "old.pt").write_bytes((GOLDEN / "pytorch" / "legacy.pt").read_bytes())
        folder = pytorch_folder(place)
        before = sorted(place.iterdir())
        for words, code, says in [
            ([TWIN, place / "there", "--entry", "ema_model"], 2, "is there already"),
            ([TWIN, place / "Not-A-Name", "--entry", "ema_model"], 2, "name must match"),
            ([TWIN, place / "new"], 1, "weights.entry must name one of the 2 state dicts"),
            ([TWIN, place / "new", "--entry", "step"], 1, "step: expected a state dict, found a number"),
            ([TWIN, place / "new", "--entry", "net_model"], 1, "fit no architecture that can be guessed"),
            ([TWIN, place / "new", "--entry", "ema_model", "--architecture", "resnet"], 2, "must be one of mlp, "),
            ([TWIN, place / "new", "--entry", "ema_model", "--architecture", "sit"], 1, "x_embedder.proj.weight"),
            ([place / "bad.pt", place / "new"], 1, "expected a zip archive"),
            ([place / "old.pt", place / "new"], 1, "from before 1.6"),
            ([place / "none.pt", place / "new"], 1, "cannot open"),
            ([place / "no-config", place / "new"], 1, "config.json: cannot open"),
            ([folder, place / "new", "--entry", "net_model"], 2, "are for a bare checkpoint"),
            ([TWIN, place / "none" / "new", "--entry", "ema_model"], 1, "cannot make the folder"),
            ([TWIN], 2, "usage: velocityd convert IN OUT"),
            ([TWIN, place / "new", "--entri", "x"], 2, "no such flag"),
        ]:
            ended = run("convert", *words, code=code)
            assert says in ended.stderr, (words, ended.stderr)
            assert sorted(place.iterdir()) == before, words
        assert "Usage: velocityd convert" in run("convert", "--help").stdout


main(globals())
