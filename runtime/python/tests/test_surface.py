"""What the package shows: stubs that are true, documentation for everything."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import ninc
from ninc import _ninc
from ninc._errors import words
from ninc._options import file_word, option_words, pair, several


def test_the_stub_names_what_the_native_module_has():
    stub = ast.parse((Path(ninc.__file__).parent / "_ninc.pyi").read_text())
    functions = {node.name for node in stub.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assert functions == {name for name in dir(_ninc) if not name.startswith("_")}
    (network,) = (node for node in stub.body if isinstance(node, ast.ClassDef))
    methods = {node.name for node in network.body if isinstance(node, ast.FunctionDef)}
    assert methods - {"__new__"} == {name for name in dir(_ninc.Network) if not name.startswith("_")}
    assert (Path(ninc.__file__).parent / "py.typed").is_file()


def test_everything_public_is_documented():
    for name in ninc.__all__:
        thing = getattr(ninc, name)
        assert thing.__doc__ and not thing.__doc__.startswith(f"{name}("), name
        if inspect.isclass(thing) and thing.__module__.startswith("ninc"):
            for member, value in vars(thing).items():
                if inspect.isfunction(value) and not member.startswith("_"):
                    assert value.__doc__, f"{name}.{member}"


def test_arguments_become_options():
    options = {"freeze": ["a", "*.bias"], "overwrite": True, "data": None, "raw": False, "range": (0, 1.5)}
    assert option_words(options) == ["--freeze=a", "--freeze=*.bias", "--overwrite", "--range=0,1.5"]
    assert option_words({"set": {"width": 96, "wide": True}}) == ["--set=width=96", "--set=wide=true"]
    assert option_words({"test_every": 2, "out": Path("a b")}) == ["--test-every=2", "--out=a b"]
    assert option_words({"weights": b"a b", "freeze": ["-x"]}) == ["--weights=a b", "--freeze=-x"]
    assert (several("block1"), several(("a", "b")), several(None)) == ("block1", ["a", "b"], None)
    assert (pair("0,255"), pair([0, 255]), pair(None)) == ("0,255", (0, 255), None)
    assert file_word("-x.nin") == "./-x.nin" and file_word(Path("x.nin")) == "x.nin"


def test_messages_speak_of_arguments():
    assert words("say it with `--weights FILE`") == "say it with `weights=FILE`"
    assert words("invalid value 'x' for '--test-every <N>'") == "invalid value 'x' for test_every=N"
    for said, right in [
        ("'--overwrite' cannot be used with '--find-rate[=<L,H>]'", "overwrite=True cannot be used with find_rate"),
        ("say with `--raw` that", "say with `raw=True` that"),
        ("give `--range 0,255`", "give `range=(0, 255)`"),
        ("as --range says", "as range says"),
        ("--opset 9 is not written", "opset=9 is not written"),
        ("--freeze b fits no layer", "freeze b fits no layer"),
        ("go on with `--out /a --resume --epochs 4`", 'go on with `out="/a", resume=True, epochs=4`'),
        ("`--set width=96`", '`set={"width": 96}`'),
        ("`--prepare '[scale(1/255)]'` does", '`prepare="[scale(1/255)]"` does'),
        ("'nix' for '--maps-by <WAY>'", "'nix' for by=WAY"),
    ]:
        assert words(said).endswith(right) and "--" not in words(said), words(said)
    command = "train them with `ninc train x.nin --out y`"
    assert words(command) == command


def test_names_are_there_although_they_come_late():
    code = (
        "import sys, ninc; early = set(sys.modules); assert not {'ninc._model', 'logging', 'typing'} & early, early\n"
        "assert all(getattr(ninc, name) for name in ninc.__all__) and set(ninc.__all__) <= set(dir(ninc))\n"
        "from ninc import load, Error; import ninc._command\n"
        "assert load is ninc._model.load and not hasattr(ninc, 'nothing')"
    )
    # Without the modules that an environment imports at the start of every program.
    done = subprocess.run([sys.executable, "-S", "-c", code], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def environment():
    folder = str(Path(ninc.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": folder}
