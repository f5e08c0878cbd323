"""What is wrong: one sentence, with code and place."""

from __future__ import annotations

import pickle

import pytest
from conftest import DIGITS, MODELS, ROOT

import ninc

TYPO = (ROOT / "tests" / "data" / "typo.nin").read_text()


def test_check_says_all_that_is_wrong():
    found = ninc.check(TYPO)
    assert [d.code for d in found] == ["unknown-function"]
    (typo,) = found
    assert typo.severity == "error" and "conv" in typo.help and TYPO[typo.span.start : typo.span.end] == "convv"
    assert (typo.span.line, typo.span.column) == (3, 14)
    assert "unknown-function" in str(typo)
    assert ninc.check(DIGITS.read_text()) == []


def test_places_are_counted_in_characters():
    text = "// größer als ü, ein Zug 🚂\n" + TYPO
    (typo,) = ninc.check(text)
    assert text[typo.span.start : typo.span.end] == "convv"


def test_parameters_are_checked():
    text = (MODELS / "cifar10.nin").read_text()
    assert ninc.check(text, set={"width": 96}) == []
    assert [d.code for d in ninc.check(text, set={"with": 96})] == ["bad-set"]


def test_a_broken_model_has_a_code_and_a_place():
    with pytest.raises(ninc.Error) as caught:
        ninc.load(ROOT / "tests" / "data" / "typo.nin")
    error = caught.value
    assert error.code == "unknown-function" and TYPO[error.span.start : error.span.end] == "convv"
    assert len(error.diagnostics) == 1 and error.help and "convv" in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, again.span, str(again)) == (error.code, error.span, str(error))
    with pytest.raises(ninc.Error) as caught:
        ninc.train(ROOT / "tests" / "data" / "typo.nin")
    assert caught.value.code == "unknown-function"


@pytest.mark.parametrize(
    "words,says",
    [
        ({"weights": "none.safetensors"}, "none.safetensors"),
        ({"precision": "f31"}, "precision"),
        ({"precision": "int8"}, "quantised"),
        ({"threads": 0}, "threads"),
        ({"sped": 3}, "sped"),
        ({"raw": True, "range": (0, 1)}, "raw"),
        ({"isa": "avx1024"}, "isa"),
        ({"set": {"nothing": 1}}, "nothing"),
    ],
)
def test_arguments_that_are_wrong(words, says):
    with pytest.raises(ninc.Error, match=says) as caught:
        ninc.load(DIGITS, **{"weights": MODELS / "digits.safetensors", **words})
    # Options are spoken of as arguments.
    assert "--" not in caught.value.message


def test_the_way_out_is_one_of_python(tmp_path):
    with pytest.raises(ninc.UsageError, match="foo") as caught:
        ninc.load(DIGITS, foo=1)
    assert caught.value.help is None
    with pytest.raises(ninc.UsageError, match="'nix' for by=WAY"):
        ninc.load(DIGITS, weights=MODELS / "digits.safetensors").maps(ROOT / "tests" / "data" / "digit-7.png", by="nix")
    with pytest.raises(ninc.Error, match="^freeze nothing fits no layer"):
        ninc.train(DIGITS, out=tmp_path, freeze="nothing", progress=False)
    (found,) = ninc.check((MODELS / "cifar10.nin").read_text(), set={"with": 96})
    assert "--" not in str(found)


def test_a_text_is_one_value():
    with pytest.raises(ninc.Error, match="'0;255' for range="):
        ninc.load(DIGITS, weights=MODELS / "digits.safetensors", range="0;255")
    with pytest.raises(ninc.Error, match="none.safetensors"):
        ninc.load(DIGITS, weights=b"none.safetensors")


def test_missing_files(tmp_path):
    with pytest.raises(ninc.Error, match="none.nin"):
        ninc.load(tmp_path / "none.nin")
    (tmp_path / "alone.nin").write_text(DIGITS.read_text().replace("network digits", "network alone"))
    with pytest.raises(ninc.UsageError, match="no weights") as caught:
        ninc.load(tmp_path / "alone.nin")
    assert "`weights=FILE`" in caught.value.help and "`ninc train" in caught.value.help


def test_usage_errors_are_errors_of_values():
    assert issubclass(ninc.UsageError, ValueError) and issubclass(ninc.Error, Exception)
    assert issubclass(ninc.Interrupted, KeyboardInterrupt)


def test_notes_are_warnings(tmp_path):
    safetensors = (MODELS / "digits.safetensors").read_bytes()
    import json

    length = int.from_bytes(safetensors[:8], "little")
    header = json.loads(safetensors[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {k: v for k, v in header.items() if not k.startswith("prepare.")}
    new = json.dumps(tensors).encode()
    new += b" " * (-len(new) % 8)
    kept = safetensors[8 + length :]
    ends = max(v["data_offsets"][1] for v in tensors.values())
    starts = min(v["data_offsets"][0] for v in tensors.values())
    if starts == 0 and ends == sum(v["data_offsets"][1] - v["data_offsets"][0] for v in tensors.values()):
        (tmp_path / "bare.safetensors").write_bytes(len(new).to_bytes(8, "little") + new + kept[:ends])
        with pytest.warns(ninc.Note, match="no data preparation") as caught:
            ninc.load(DIGITS, weights=tmp_path / "bare.safetensors")
        assert caught[0].filename == __file__
    else:
        pytest.skip("the preparation's numbers stand between the weights")
