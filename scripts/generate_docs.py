#!/usr/bin/env python3
"""Prints a page of docs/ with its tables written anew: generate_docs.py docs/api.md

A table stands between "<!-- table NAME -->" and "<!-- end -->". What it says comes from the rows of a
*.def file, the same that the daemon is built from, so that neither can say what the other does not do.
"""

import json
import pathlib
import re
import sys

KIB, SECOND = 1024, 1000
UNITS = {"FMC_KIB": KIB, "FMC_MIB": KIB**2, "FMC_GIB": KIB**3, "FMC_SECOND": SECOND, "FMC_HOUR": 3600 * SECOND}
SIZES = [("G", KIB**3), ("M", KIB**2), ("K", KIB)]
DURATIONS = [("h", 3600 * SECOND), ("m", 60 * SECOND), ("s", SECOND), ("ms", 1)]

# The setting that each bound of a field comes from, and what is added to it.
LIMITS = {
    "FMP_LIMIT_SAMPLES": ("samples", 0),
    "FMP_LIMIT_STEPS": ("steps", 0),
    "FMP_LIMIT_GRID_POINTS": ("steps", 1),
    "FMP_LIMIT_EVALUATIONS": ("evaluations", 0),
    "FMP_LIMIT_TRAJECTORY_POINTS": ("trajectory_points", 0),
    "FMP_LIMIT_TIMEOUT_MS": ("timeout_max", 0),
}

# When each kind of problem is answered; None: not in this release.
WHEN = {
    "malformed": "the body is not JSON (duplicate keys, U+0000, and numbers beyond int64 or float64 count as that), or the "
                 "request is not HTTP as it should be",
    "not-found": "there is no such path or model",
    "method-not-allowed": "the path has other methods; `Allow` lists them",
    "not-acceptable": "`Accept` takes nothing that the route gives",
    "request-timeout": "headers or body came too slowly; the connection is closed",
    "too-large": "the body, the answer or the memory needed is over a limit",
    "unsupported-media-type": "the body is not `application/json`, or has a `Content-Encoding`",
    "invalid-request": "a rule is broken; `errors` lists every one",
    "queue-full": "too much work is admitted already; `Retry-After`",
    "cancelled": "the client went away; in the log and the metrics only",
    "internal": "a fault of the daemon or the model folder, logged with the request id",
    "draining": "the daemon is shutting down; `Retry-After`",
    "out-of-memory": "what `limits.memory` allows is in use; `Retry-After`",
    "overloaded": "too many connections; `Retry-After`",
    "deadline": "`timeout_ms` has passed; the work is dropped at once",
}


def rows(path, macros):
    """The macro calls of a .def file as (macro, list of arguments in C)."""
    text = re.sub(r"/\*.*?\*/", "", pathlib.Path(path).read_text(encoding="utf-8"), flags=re.DOTALL)
    for match in re.finditer(rf"^({macros})\(", text, flags=re.MULTILINE):
        yield match.group(1), arguments(text, match.end())


def arguments(text, at):
    """Splits a call's arguments at the commas outside of strings and brackets."""
    found, depth = [""], 0
    while depth > 0 or text[at] != ")":
        string = re.compile(r'"(?:[^"\\]|\\.)*"').match(text, at)
        if string:
            found[-1] += string.group()
            at = string.end()
            continue
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0 and text[at] == ",":
            found.append("")
        else:
            found[-1] += text[at]
        at += 1
    return [argument.strip() for argument in found]


def value(argument):
    """A C constant: adjacent strings, true or false, NULL, or a product of numbers and units."""
    strings = re.findall(r'"(?:[^"\\]|\\.)*"', argument)
    if strings:
        return "".join(json.loads(string) for string in strings)
    if argument in ("true", "false", "NULL"):
        return {"true": True, "false": False, "NULL": None}[argument]
    if re.fullmatch(r"-?(\d|FMC_)[\w.+-]*( \* \w+)*", argument):
        product = 1
        for factor in argument.split(" * "):
            product *= UNITS[factor] if factor in UNITS else float(factor)
        return product
    return argument


def plain(number):
    return f"{number:g}" if number != int(number) or number >= 1e15 else str(int(number))


def with_unit(number, units):
    for suffix, factor in units:
        if number > 0 and number % factor == 0:
            return plain(number / factor) + suffix
    return plain(number)


def table(head, lines):
    cells = [head, ["---"] * len(head)] + lines
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in cells)


# ---- Settings ----


def settings():
    kinds = "ADDRESSES|PATH|BOOLEAN|CHOICE|INTEGER|SIZE|DURATION"
    for macro, call in rows("config/options.def", f"FMC_(?:{kinds})"):
        kind, (section, key, *rest) = macro[4:], call
        yield kind, section, key, [value(argument) for argument in rest]


def settings_table():
    lines = []
    for kind, section, key, rest in settings():
        units = {"SIZE": SIZES, "DURATION": DURATIONS}.get(kind, [])
        default, *bounds, alias, doc = rest
        if kind == "CHOICE":
            bounds_text = " ".join(f"`{choice}`" for choice in bounds[0].split("|"))
        elif bounds:
            bounds_text = f"{with_unit(bounds[0], units)} … {with_unit(bounds[1], units)}"
        else:
            bounds_text = "`true` `false`" if kind == "BOOLEAN" else ""
        if isinstance(default, bool):
            default = str(default).lower()
        elif isinstance(default, (int, float)):
            default = with_unit(default, units)
        flag = f" (`--{alias}`)" if alias else ""
        lines.append([f"`{section}.{key}`{flag}", f"`{default}`" if default else "", bounds_text, doc])
    return table(["setting", "default", "values", "meaning"], lines)


# ---- Requests ----


def fields():
    for _, call in rows("proto/api.def", "FMP_FIELD"):
        members = dict(re.match(r"\.(\w+) = (.*)", member, flags=re.DOTALL).groups() for member in call[1:])
        yield {key: value(text) for key, text in members.items()}


def choices_text(words):
    return ", ".join(f"`{word}`" for word in words.split())


def upper_bound(field):
    if "limit" not in field:
        return field.get("maximum", 0), ""
    name, more = LIMITS[field["limit"]]
    default = next(rest[0] for _, section, key, rest in settings() if (section, key) == ("limits", name))
    return default + more, f" (`limits.{name}`{' + 1' if more else ''})"


def type_text(field):
    maximum, source = upper_bound(field)
    least = field.get("minimum", 0)
    bounds = plain(maximum) if maximum and least == maximum else f"{plain(least)} … {plain(maximum)}{source}" if maximum else ""
    length = f"1 … {plain(maximum)}{source}"
    return {
        "OBJECT": lambda: "object",
        "INTEGER": lambda: f"integer {bounds}".strip(),
        "NUMBER": lambda: f"number {bounds}".strip(),
        "POSITIVE": lambda: "number > 0",
        "BOOLEAN": lambda: "`true` or `false`",
        "SWITCH": lambda: "`true`, `false` or object",
        "CHOICE": lambda: " or ".join(f"`{word}`" for word in field["choices"].split()),
        "CHOICES": lambda: f"list of {choices_text(field['choices'])}",
        "METHOD": lambda: "string",
        "SEED": lambda: "integer or string of digits",
        "LABELS": lambda: "integer, string or `null`, or a list of them",
        "TENSOR": lambda: f"[tensor](#tensors) of {length} points" if maximum else "[tensor](#tensors)",
        "TIMES": lambda: f"list of {bounds} numbers, or a [tensor](#tensors) of them",
        "NUMBERS": lambda: f"list of {bounds} numbers, or a [tensor](#tensors) of them",
        "MODEL": lambda: "name of a model",
        "CHANNELS": lambda: "`all`, or an integer ≥ 1",
        "NUMBER_OR_NUMBERS": lambda: "number, or a list or a [tensor](#tensors) of them",
    }[field["type"].removeprefix("FMP_TYPE_")]()


def name_of(field):
    return "`" + field["pointer"][1:].replace("/", ".") + "`"


def fields_table(*routes):
    """Of rows whose routes are one of these."""
    lines = []
    for field in fields():
        if field["routes"].replace("FMP_API_", "") in routes and not field.get("later"):
            default = "**required**" if field.get("required") else field.get("fallback", "")
            lines.append([name_of(field), type_text(field), default, field["doc"]])
    return table(["field", "type and bounds", "default", "meaning"], lines)


def later_table():
    lines = []
    for field in fields():
        if field.get("later"):
            accepted = f"`{field['inert']}`" if "inert" in field else ""
            lines.append([name_of(field), accepted, field["doc"]])
    return table(["field", "accepted all the same", "meaning"], lines)


def problems_table():
    calls = [[value(argument) for argument in call] for _, call in rows("proto/problem.def", "FMP_PROBLEM")]
    return table(["status", "kind", "when"],
                 [[plain(status), f"`{slug}`", WHEN[slug]] for _, slug, status, _ in calls if WHEN[slug]])


# ---- Metrics ----


def metrics_table():
    calls = [[value(argument) for argument in call] for _, call in rows("server/metrics.def", "FMD_METRIC")]
    return table(["metric", "type", "meaning"], [[f"`{name}`", kind, text] for _, kind, name, text in calls])


OF_POINTS = ("VELOCITY | LOG_LIKELIHOOD", "POINTS", "ALL & ~SAMPLES")
TABLES = {
    "settings": settings_table,
    "fields of all": lambda: fields_table("ALL"),
    "fields of sample": lambda: fields_table("SAMPLE", "SAMPLES", "STATES", "FLOWS"),
    "fields of velocity": lambda: fields_table("VELOCITY", *OF_POINTS),
    "fields of encode": lambda: fields_table("ENCODE", "ENCODE | EDIT", "ALL & ~SAMPLES"),
    "fields of log_likelihood": lambda: fields_table("LOG_LIKELIHOOD", *OF_POINTS),
    "fields of interpolate": lambda: fields_table("INTERPOLATE"),
    "fields of edit": lambda: fields_table("EDIT", "ENCODE | EDIT"),
    "refused": later_table,
    "problems": problems_table,
    "metrics": metrics_table,
}


def main():
    text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")

    def write(match):
        return f"{match.group(1)}\n{TABLES[match.group(2)]()}\n<!-- end -->"

    sys.stdout.write(re.sub(r"(<!-- table ([\w ]+) -->)\n.*?<!-- end -->", write, text, flags=re.DOTALL))


main()
