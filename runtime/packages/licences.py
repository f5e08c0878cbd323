"""Prints the licences of the libraries and data that are linked into ninc, each text once with the names of those that carry it."""

import collections
import json
import pathlib
import subprocess

TARGET = "x86_64-unknown-linux-gnu"
NAMES = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")


def linked(metadata):
    """The identifiers of packages that ninc links: normal dependencies of it, of these, and so on."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    roots = [package["id"] for package in metadata["packages"] if package["name"] == "ninc"]
    seen, todo = set(roots), list(roots)
    while todo:
        for dependency in nodes[todo.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if normal and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                todo.append(dependency["pkg"])
    return seen


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET]
    metadata = json.loads(subprocess.check_output(command))
    inside = linked(metadata)
    texts = collections.defaultdict(list)
    print("Libraries in ninc and their licences\n")
    for package in sorted(metadata["packages"], key=lambda p: (p["name"], p["version"])):
        if package["id"] not in inside or package["source"] is None:
            continue
        name = f"{package['name']} {package['version']}"
        print(f"{name}: {package['license'] or package['license_file']}")
        folder = pathlib.Path(package["manifest_path"]).parent
        for file in sorted(folder.iterdir()):
            if file.is_file() and file.name.upper().startswith(NAMES):
                texts[file.read_text(errors="replace").strip()].append(name)
    texts[pathlib.Path("runtime/data/digits.LICENSE").read_text().strip()].append("the embedded digits")
    for text, names in sorted(texts.items(), key=lambda pair: pair[1]):
        print("\n" + "-" * 100 + "\n" + ", ".join(names) + ":\n\n" + text)


main()
