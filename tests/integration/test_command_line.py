"""The commands that need no daemon: what they do, how they fail, and in which words."""

import array
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


# A model's defaults that serve refuses, and the words; {} obeys every rule.
DEFAULTS = [
    ({"foo": 4}, "/defaults/foo is not a field of this request"),
    ({"solver": {"method": "foo"}}, "/defaults/solver/method must be the name of a method"),
    ({"solver": {"steps": 0}}, "/defaults/solver/steps must be an integer from 1 to "),
    ({"stream": True}, "/defaults/stream is not supported by this release"),
    ({"labels": 0}, "/defaults/labels must be left out: the model has no labels"),
    ({"guidance": {"scale": 2}}, "/defaults/guidance/scale must be 0 or 1: the model has no null class"),
]


def test_inspect_and_sample_refuse_the_defaults_that_serve_refuses():
    for defaults, says in DEFAULTS:
        with Folder(defaults=defaults) as folder:
            report = folder.run("inspect")
            assert report.returncode == 1, report.stdout
            assert f"\nerror: {says}" in report.stdout, report.stdout
            assert report.stdout.endswith("\nusable: no\n"), report.stdout
            stated = folder.refuses("sample", code=2, says=f"velocityd: {folder.model}/config.json: {says}")
            assert len(stated.splitlines()) == 1, stated
            serve = subprocess.run([PROGRAM, "--models", str(folder.path), "--listen", "127.0.0.1:0"],
                                   timeout=PATIENCE, capture_output=True, text=True, check=False)
            assert serve.returncode == 1 and says[1:].split()[0].replace("/", ".") in serve.stderr, serve.stderr


def test_inspect_judges_a_model_by_the_limits_that_serve_is_given():
    with Folder(defaults={"solver": {"steps": 20000}}) as folder:
        says = "error: /defaults/solver/steps must be an integer from 1 to 10000\n"
        assert says in folder.run("inspect").stdout
        report = folder.run("inspect", "--limits-steps", 20000)
        assert report.returncode == 0 and report.stdout.endswith("\nusable: yes\n"), report.stdout
        folder.refuses("inspect", "--limits-stepz", 1, code=2, says="--limits-stepz: unknown flag")


def test_inspect_says_why_a_folder_is_no_model():
    with Folder(schema="velocityd.model/9") as folder:
        report = folder.run("inspect")
        assert report.returncode == 1 and "\nerror: /schema: " in report.stdout, report.stdout
        assert report.stdout.endswith("\nusable: no\n"), report.stdout


def test_sample_names_the_model_whose_folder_is_none():
    with Folder(schema="velocityd.model/9") as folder:
        folder.refuses("sample", code=1, says=f"velocityd: {folder.model}: /schema: ")
    with Folder(network={"architecture": "mlp"}) as folder:
        folder.refuses("sample", code=1, says=f"velocityd: {folder.model}: ")


def test_help_is_asked_for_by_one_letter_too():
    def says(*words):
        ended = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=PATIENCE, check=False)
        return ended.returncode, ended.stdout, ended.stderr

    for words in [], ["serve"], ["sample"], ["inspect"], ["check-config"], ["probe"], ["convert"], \
            ["serve", "--log-level", "info"]:
        long, short = says(*words, "--help"), says(*words, "-h")
        assert short == long and short[0] == 0 and short[1] and not short[2], (words, short)
    for command in "serve", "sample", "check-config", "convert":
        code, _, stated = says(command, "-x")
        assert code == 2 and "-x: " in stated, stated


def test_help_names_each_flag_once():
    stated = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, check=True).stdout
    flags = [line.split() for line in stated.splitlines() if line.startswith("  --")]
    names = [word.rstrip(",") for words in flags for word in words if word.startswith("--")]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    assert "\n  --log-level VALUE\n" in stated and "\n  --listen, --server-listen VALUE\n" in stated


def test_inspect_shows_the_plan_of_a_network_when_asked():
    models = pathlib.Path(__file__).resolve().parents[2] / "models"
    for flags, shown in [["--plan"], True], [[], False]:
        report = subprocess.run([PROGRAM, "inspect", models / "two-moons", *flags], capture_output=True, text=True, check=True)
        lines = [" ".join(line.split()) for line in report.stdout.splitlines()]
        assert any(line.startswith("0 input [x 2, t] -> ") for line in lines) == shown, report.stdout
        assert any(line.startswith("6 output ") for line in lines) == shown, report.stdout
    with Folder() as folder:
        assert "\na closed form: no plan\n" in folder.run("inspect", "--plan").stdout


def test_sample_says_what_is_wrong_with_a_flag():
    with Folder() as folder:
        for flags, says in [
            (["--labels-foo", "1"], "velocityd: --labels-foo: no such flag; see velocityd sample --help\n"),
            (["-x"], "velocityd: -x: no such flag; see velocityd sample --help\n"),
            (["--labels"], "velocityd: --labels: needs a value; see velocityd sample --help\n"),
            (["--stream"], "velocityd: --stream is not supported by this release\n"),
            (["--log-likelihood", "1"], "velocityd: /log_likelihood must be true, false or an object\n"),
            (["--guidance-interval=[1, 0]"], "velocityd: /guidance/interval must be a list of ascending numbers, of 2 entries\n"),
            (["--encoding", "xml"], "velocityd: /encoding must be one of json, base64, png\n"),
            (["--encoding", "1"], "velocityd: /encoding must be one of json, base64, png\n"),
            (["--trajectory-fields", "[]"], "velocityd: /trajectory/fields must be a list of one or more of x, velocity, x1_hat, x0_hat, "
             "score, log_density, divergence\n"),
            (["--output", "out.txt"], 'velocityd: --output must end in .npy, .png or .json, not "out.txt"\n'),
        ]:
            stated = folder.refuses("sample", *flags, code=2, says=says)
            assert says in stated.splitlines(keepends=True), stated
        assert "--stream" not in folder.run("sample", "--help").stdout


def test_pairs_are_both_ends_of_the_trajectories():
    with Folder() as folder:
        common = ["sample", "--num-samples", 3, "--seed", 9]
        assert folder.run(*common, "--pairs", "pairs").returncode == 0
        answer = json.loads(folder.run(*common, "--trajectory-points", "2").stdout)
        for name, index in ("x0", 0), ("x1", -1):
            data = (folder.path / "pairs" / f"{name}.npy").read_bytes()
            header = 10 + int.from_bytes(data[8:10], "little")
            assert b"'shape': (3, 2)" in data[:header], data[:header]
            values = array.array("f", data[header:])
            expected = array.array("f", [value for x in answer["trajectory"]["x"] for value in x[index]])
            assert values == expected, name
        folder.refuses(*common, "--pairs", "pairs", "--output", "out.npy", code=2,
                       says="--pairs writes the ends of trajectories alone")


def test_sample_takes_the_numbers_of_an_answer_and_seeds_of_64_bits():
    with Folder() as folder:
        x0, seed = "[[300000000000000000000, 1], [0, 1e19]]", 2**64 - 1
        (folder.path / "request.json").write_text(f'{{"x0": {x0}, "num_samples": 2, "seed": 7}}')
        for flags, of_seed in [["--x0", x0, "--num-samples", 2, "--seed", seed], str(seed)], [["--request", "request.json"], 7]:
            ended = folder.run("sample", *flags)
            assert ended.returncode == 0, ended.stderr
            assert json.loads(ended.stdout)["seed"] == of_seed


def test_sample_names_the_line_of_a_request_that_is_not_json():
    with Folder() as folder:
        request = folder.path / "request.json"
        for text, says in [('{\n"a": "\\u0000"}', ":2: \\u0000 is not allowed\n"), ("[]", ": must be a JSON object\n")]:
            request.write_text(text)
            folder.refuses("sample", "--request", request, code=2, says=f"velocityd: {request}{says}")
        request.unlink()
        folder.refuses("sample", "--request", request, code=2, says="No such file or directory")


def test_a_file_of_samples_alone_is_refused_where_a_trajectory_is_asked_for():
    with Folder() as folder:
        says = "out.npy would hold the samples alone: --output must end in .json for a request with /trajectory"
        folder.refuses("sample", "--trajectory-points", 3, "--output", "out.npy", code=2, says=says)
        (folder.path / "request.json").write_text('{"trajectory": {"every_step": true}}')
        folder.refuses("sample", "--request", "request.json", "--output", "out.npy", code=2, says=says)


def test_the_end_of_the_output_name_chooses_the_format_in_either_case():
    with Folder() as folder:
        for name, begins in [("a.npy", b"\x93NUMPY"), ("a.NPY", b"\x93NUMPY"), ("a.json", b"{"), ("a.Json", b"{")]:
            ended = folder.run("sample", "--output", name)
            assert ended.returncode == 0, ended.stderr
            assert (folder.path / name).read_bytes().startswith(begins), name


main(globals())
