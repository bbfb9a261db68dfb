#!/usr/bin/env python3
"""Puts Python files of pinned trees into an environment; nobody's build is run, and RECORD lists what is there after.

python_parts.py strip PACKAGE: takes the native files of an installed package away.
python_parts.py overlay PACKAGE TREE NOTE: puts the Python files of TREE/PACKAGE over an installed package's; the file
NOTE says which, for who looks at the image.
python_parts.py install PACKAGE TREE VERSION COMMIT: TREE/PACKAGE as a package, with the entry points of TREE/setup.py.
"""
# ruff: noqa: E501

import ast
import base64
import csv
import hashlib
import io
import json
import re
import shutil
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

SITE = Path(sysconfig.get_paths()["purelib"])
NATIVE = re.compile(r"\.(so(\.\d+)*|a|o|cubin|fatbin|dylib|pyd)$")
MADE_BY_A_BUILD = {"_version.py"}


def stop(text):
    """End with a line that says why."""
    sys.exit(f"ERROR: {text}")


class Record:
    """The list of a package's files, in its dist-info: (digest, size) by name."""

    def __init__(self, package):
        distribution = next(iter(metadata.distributions(name=package, path=[str(SITE)])), None)
        if distribution is None:
            stop(f"{package} is not installed")
        self.version = distribution.version
        (listed,) = [file for file in distribution.files if str(file).endswith(".dist-info/RECORD")]
        self.file = SITE / str(listed)
        self.rows = {row[0]: row[1:] for row in csv.reader(self.file.read_text().splitlines()) if row}

    def add(self, name, content):
        """List a file with this content."""
        self.rows[name] = [digest(content), str(len(content))]

    def write(self):
        """Write the list, and see that every file is as it says."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([name, *rest] for name, rest in self.rows.items())
        self.file.write_text(text.getvalue())
        for name, (listed, _) in self.rows.items():
            path = SITE / name
            if not path.is_file() or (listed and digest(path.read_bytes()) != listed):
                stop(f"{name} is not what {self.file.parent.name} lists")


def digest(content):
    """As RECORD has it."""
    return f"sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()}"


def python_folder(tree, package):
    """TREE/PACKAGE. Ends where it is none, or has native code."""
    folder = Path(tree) / package
    if not (folder / "__init__.py").is_file():
        stop(f"the tree has no {package}/__init__.py")
    for path in sorted(folder.rglob("*")):
        if NATIVE.search(path.name):
            stop(f"{path.relative_to(tree)} is native code: a tree may bring Python files only")
    return folder


def strip(package):
    """Take native files away; nothing where the package is not installed."""
    if not any(metadata.distributions(name=package, path=[str(SITE)])):
        print(f"{package} is not installed: nothing to take away")
        return
    record = Record(package)
    gone = [name for name in record.rows if NATIVE.search(name)]
    for name in gone:
        (SITE / name).unlink(missing_ok=True)
        del record.rows[name]
    record.write()
    print(f"{package} {record.version}: {len(gone)} native files taken away")


def overlay(package, tree, note):
    """Put the tree's Python files over the package's, but what only a build makes."""
    record, changed = Record(package), []
    for path in sorted(python_folder(tree, package).rglob("*.py")):
        name, content = str(path.relative_to(tree)), path.read_bytes()
        if path.name not in MADE_BY_A_BUILD and record.rows.get(name, [""])[0] != digest(content):
            changed.append(name)
            (SITE / name).parent.mkdir(parents=True, exist_ok=True)
            (SITE / name).write_bytes(content)
            record.add(name, content)
    record.write()
    Path(note).parent.mkdir(parents=True, exist_ok=True)
    made = {"over": f"{package} {record.version}", "files": changed}
    Path(note).write_text(json.dumps(made, indent=1) + "\n")
    print(f"{package} {record.version}: {len(changed)} Python files are the tree's")


def entry_points(tree, package):
    """Those of setup.py that are of this package's modules; they must be written as a literal."""
    for node in ast.walk(ast.parse((Path(tree) / "setup.py").read_text())):
        if isinstance(node, ast.keyword) and node.arg == "entry_points":
            groups = ast.literal_eval(node.value)
            ours = {
                group: [line for line in lines if re.search(rf"= *{package}[:.]", line)]
                for group, lines in groups.items()
            }
            return {group: lines for group, lines in ours.items() if lines}
    return stop(f"{tree}/setup.py names no entry points")


def install(package, tree, version, commit):
    """Copy the tree's package, and write what an installer would have written of it."""
    folder, groups = python_folder(tree, package), entry_points(tree, package)
    shutil.copytree(folder, SITE / package, ignore=shutil.ignore_patterns("__pycache__"))
    info = SITE / f"{package}-{version}.dist-info"
    info.mkdir()
    name = package.replace("_", "-")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "INSTALLER").write_text("heteropd\n")
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{line}\n" for line in lines) + "\n" for group, lines in groups.items()
        )
    )
    if re.fullmatch(r"[0-9a-f]{40}", commit):
        origin = {
            "url": f"https://github.com/vllm-project/{name}",
            "vcs_info": {"vcs": "git", "commit_id": commit},
        }
        (info / "direct_url.json").write_text(json.dumps(origin) + "\n")
    (info / "RECORD").write_text(f"{info.name}/RECORD,,\n")
    record = Record(package)
    for path in sorted([*(SITE / package).rglob("*"), *info.iterdir()]):
        if path.is_file() and path.name != "RECORD":
            record.add(str(path.relative_to(SITE)), path.read_bytes())
    record.write()
    print(f"{package} {version}: entry points {', '.join(groups)}")


if __name__ == "__main__":
    {"strip": strip, "overlay": overlay, "install": install}[sys.argv[1]](*sys.argv[2:])
