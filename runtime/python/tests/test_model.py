"""Networks: arrays and pictures in, the numbers of `ninc run` out."""

from __future__ import annotations

import array as arrays
import io
import os
import pickle
import subprocess
import sys
import warnings
import xml.dom.minidom

import numpy as np
import pytest
from conftest import CAT, DIGITS, MODELS, ROOT, SEVEN, probabilities, run

import ninc


def test_what_a_network_is(digits):
    assert digits.name == "digits"
    assert digits.image_shape == digits.input_shape == (1, 8, 8)
    assert digits.output_shape == (10,)
    assert digits.classes == tuple("0123456789")
    assert digits.parameters == sum(layer.parameters for layer in digits.layers)
    assert [layer.name for layer in digits.layers][0] in digits.summary()
    assert "digits" in repr(digits) and "10 classes" in repr(digits)
    assert digits.weights == str(MODELS / "digits.safetensors")


@pytest.mark.parametrize(
    "name,dtype", [("digits", "uint8"), ("digits", "float32"), ("cifar10", "uint8"), ("cifar10", "float64")]
)
def test_arrays_give_the_numbers_of_run(name, dtype, tmp_path, request):
    model = request.getfixturevalue(name)
    count = 70 if name == "digits" else 3
    images = np.random.default_rng(2).integers(0, 256, (count, *model.image_shape)).astype(dtype)
    np.save(tmp_path / "x.npy", images)
    told = run("run", MODELS / f"{name}.nin", tmp_path / "x.npy", "--weights", model.weights, "--json", "--top", 10)
    found = model(images)
    assert found.dtype == np.float64 and found.shape == (len(images), 10)
    np.testing.assert_array_equal(found, probabilities(told.stdout, 10))


def test_threads_change_nothing(images, digits):
    one = ninc.load(DIGITS, weights=digits.weights, threads=1)
    two = ninc.load(DIGITS, weights=digits.weights, threads=2)
    np.testing.assert_array_equal(one(images), two(images))


class OnlyDlpack:
    """An array of another library."""

    def __init__(self, inside):
        self.inside = inside

    def __dlpack__(self, **words):
        return self.inside.__dlpack__(**words)

    def __dlpack_device__(self):
        return self.inside.__dlpack_device__()


class OnlyInterface:
    """An array of a library that has the array interface."""

    def __init__(self, inside):
        self.inside = inside
        self.__array_interface__ = inside.__array_interface__


def test_everything_that_holds_numbers_is_taken(digits, images):
    right = digits(images)
    floats = images.astype(np.float32)
    flat = arrays.array("f", floats.ravel())
    ways = [
        floats,
        images.astype(np.float16),
        images.astype(np.int64),
        images.astype(">f8"),
        np.asfortranarray(floats),
        floats.repeat(2, axis=0)[::2],
        images.tolist(),
        OnlyDlpack(floats),
        OnlyInterface(images),
        memoryview(flat).cast("B").cast("f", images.shape),
        images.reshape(len(images), 8, 8),
        images.reshape(len(images), 64),
    ]
    for way in ways:
        np.testing.assert_array_equal(digits(way), right)


def test_an_image_alone_has_an_answer_without_a_batch(digits, images):
    right = digits(images[:1])
    assert right.shape == (1, 10)
    for one in (images[0], images[0, 0], images[0].ravel()):
        found = digits(one)
        assert found.shape == (10,)
        np.testing.assert_array_equal(found, right[0])
    assert digits.predict_proba(images[0]).shape == (1, 10)
    assert list(digits.predict(images)) == [digits.classes[i] for i in digits(images).argmax(1)]


def test_arrays_are_left_as_they_are(digits, images):
    floats = images.astype(np.float32)
    floats.flags.writeable = False
    before = floats.copy()
    digits(floats)
    np.testing.assert_array_equal(floats, before)


@pytest.mark.parametrize(
    "wrong,says",
    [
        (np.zeros((2, 3, 8, 8), np.uint8), "shape"),
        (np.zeros((0, 1, 8, 8), np.float32), "no images"),
        (np.full((1, 1, 8, 8), np.nan, np.float32), "NaN"),
        (np.full((1, 1, 8, 8), 1e6, np.float32), "255"),
        (np.array(["a"]), "no numbers"),
        (np.array([[{}]]), "no numbers"),
        (np.zeros((1, 8, 8), np.complex64), "no numbers"),
        (None, "no numbers"),
        ([[1, 2], [3]], "no array"),
    ],
)
def test_what_is_no_image_is_an_error(digits, wrong, says):
    with pytest.raises(ninc.Error, match=says):
        digits(wrong)


def test_pictures_give_the_numbers_of_run(digits, cifar10):
    for model, name, picture in ((digits, "digits", SEVEN), (cifar10, "cifar10", CAT)):
        told = run("run", MODELS / f"{name}.nin", picture, "--weights", model.weights, "--json", "--top", 10)
        right = probabilities(told.stdout, 10)[0]
        answer = model.classify(picture, top=10)
        assert answer.input == str(picture)
        assert [guess.probability for guess in answer.top] == sorted(right, reverse=True)
        assert all(right[guess.output] == guess.probability for guess in answer.top)
        assert all(model.classes[guess.output] == guess.name for guess in answer.top)
    assert digits.classify(SEVEN).name == "7" and len(digits.classify(SEVEN).top) == 5
    assert "7" in str(digits.classify(SEVEN))


def test_pictures_come_in_many_forms(cifar10):
    images = pytest.importorskip("PIL.Image")
    right = cifar10.classify(CAT, top=10).top
    opened = images.open(CAT)
    ways = [str(CAT), CAT.read_bytes(), bytearray(CAT.read_bytes()), opened]
    if opened.mode == "RGB":
        ways.append(np.asarray(opened))
    answers = cifar10.classify(ways, top=10)
    assert all(answer.top == right for answer in answers), answers
    assert cifar10.classify([]) == []
    assert isinstance(cifar10.classify((CAT,)), list)


def test_an_image_of_pillow_is_upright_as_its_file(cifar10, tmp_path):
    images = pytest.importorskip("PIL.Image")
    turned = images.open(CAT).convert("RGB")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    path = tmp_path / "turned.png"
    assert cifar10.classify(images.open(path)).top == cifar10.classify(path).top
    assert cifar10.classify(path).top != cifar10.classify(CAT).top


@pytest.mark.parametrize("mode", "1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr HSV".split())
def test_an_image_of_pillow_may_have_any_colours(cifar10, mode, tmp_path):
    images = pytest.importorskip("PIL.Image")
    cat = images.open(CAT).convert("RGB")
    if mode.endswith(("A", "a")):
        cat.putalpha(images.linear_gradient("L").resize(cat.size))
    # What Pillow turns into a mode by one step only.
    steps = {"La": ["LA"], "RGBa": ["RGBA"], "PA": ["P"]}.get(mode, [])
    for step in [*steps, mode]:
        cat = cat.convert(step)
    cat.info["icc_profile"] = b"of other colours"
    shown = cat.convert("LA") if mode == "La" else cat
    shown = shown.convert("RGBA" if mode.endswith(("A", "a")) else "RGB")
    shown.info.clear()
    shown.save(tmp_path / "cat.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ninc.Note)
        assert cifar10.classify(cat).top == cifar10.classify(tmp_path / "cat.png").top


def test_an_image_of_pillow_with_16_bits_is_its_file(cifar10, tmp_path):
    images = pytest.importorskip("PIL.Image")
    grey = np.asarray(images.open(CAT).convert("L")).astype(np.uint16) * 257
    images.fromarray(grey).save(tmp_path / "deep.png")
    assert cifar10.classify(images.open(tmp_path / "deep.png")).top == cifar10.classify(tmp_path / "deep.png").top


def test_an_image_of_pillow_that_is_none_is_an_error(digits, tmp_path):
    images = pytest.importorskip("PIL.Image")
    with pytest.raises(ninc.UsageError, match="mode F"):
        digits.classify(images.new("F", (8, 8)))
    # From 0 to 255, or to 65535? A file says so.
    with pytest.raises(ninc.UsageError, match="mode I,"):
        digits.classify(images.new("I", (8, 8)))
    (tmp_path / "cut.png").write_bytes(CAT.read_bytes()[:-500])
    with pytest.raises(ninc.Error, match="cut.png is not a readable picture"):
        digits.classify(images.open(tmp_path / "cut.png"))
    closed = images.open(SEVEN)
    closed.close()
    with pytest.raises(ninc.Error, match="is not a readable picture"):
        digits.classify(closed)


def test_open_files_are_pictures(digits):
    right = digits.classify(SEVEN)
    with open(SEVEN, "rb") as file:
        assert digits.classify(file) == right
    found = digits.classify(io.BytesIO(SEVEN.read_bytes()))
    assert (found.input, found.top) == ("image 0", right.top)
    with pytest.raises(ninc.UsageError, match="gives no bytes"):
        digits.classify(io.StringIO("text"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names of files may be bytes")
def test_paths_that_are_no_text(digits, images, tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    for name, file in ((b"digits.nin", DIGITS), (b"digits.safetensors", digits.weights), (b"seven.png", SEVEN)):
        with open(folder + b"/" + name, "wb") as copy, open(file, "rb") as original:
            copy.write(original.read())
    model = ninc.load(folder + b"/digits.nin", weights=folder + b"/digits.safetensors")
    assert os.fsencode(model.weights) == folder + b"/digits.safetensors"
    np.testing.assert_array_equal(model(images), digits(images))
    picture = os.fsdecode(folder + b"/seven.png")
    answer = model.classify(picture)
    assert answer.input == picture and answer.top == digits.classify(SEVEN).top
    assert len(model.maps(picture, top=2)) == 2
    assert os.path.isfile(model.export_onnx(folder + b"/x.onnx"))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model))(images), digits(images))
    made = ninc.train(folder + b"/digits.nin", out=folder, steps=2, overwrite=True, progress=False)
    assert os.path.isfile(made.weights) and os.path.isfile(made.checkpoint) and os.path.isfile(made.report)
    assert made.model()(images).shape == (5, 10)


@pytest.mark.parametrize("top", [0, -1, 1.5, "3", None])
def test_how_many_answers(digits, top):
    for ask in (digits.classify, digits.maps):
        with pytest.raises(ninc.UsageError, match="top=.* is not a whole number from 1"):
            ask(SEVEN, top=top)
    assert len(digits.classify(SEVEN, top=np.int64(1)).top) == 1 and len(digits.classify(SEVEN, top=1 << 70).top) == 10


def test_what_is_no_picture_is_an_error(digits, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    for wrong, says in [
        (tmp_path / "text.png", "not a picture"),
        (tmp_path / "none.png", "none.png"),
        (b"", "image 0"),
        (np.zeros((8, 8)), "no picture"),
        (np.zeros((8, 8, 4), np.uint8), "no picture"),
        (np.zeros((0, 0), np.uint8), "no picture"),
        (None, "None is no picture"),
        ((one for one in [SEVEN]), "type generator is no picture"),
    ]:
        with pytest.raises(ninc.Error, match=says):
            digits.classify(wrong)


def test_named_values(digits, images, tmp_path):
    name = digits.layers[0].name
    np.save(tmp_path / "x.npy", images)
    run("run", DIGITS, tmp_path / "x.npy", "--weights", digits.weights, "--dump", f"{name}={tmp_path / 'y.npy'}")
    values = digits.values(images, name)
    assert list(values) == [name] and values[name].dtype == np.float32
    np.testing.assert_array_equal(values[name], np.load(tmp_path / "y.npy"))
    with pytest.raises(ninc.Error, match="nothing"):
        digits.values(images, "nothing")


@pytest.mark.parametrize("by", ["class", "grad-cam", "occlusion"])
def test_maps_are_those_of_run(digits, by, tmp_path):
    run("run", DIGITS, SEVEN, "--weights", digits.weights, "--maps", tmp_path / "m.npy", "--maps-by", by, "--top", 3)
    maps = digits.maps(SEVEN, by=by, top=3)
    assert [one.label[0] for one in maps] == [guess.name for guess in digits.classify(SEVEN, top=3).top]
    np.testing.assert_array_equal(np.stack([one.values for one in maps]), np.load(tmp_path / "m.npy"))
    assert len(digits.maps([SEVEN, SEVEN], by=by, top=2)) == 2


def test_maps_of_a_value(cifar10):
    maps = cifar10.maps(CAT, of="block1", top=2)
    assert [one.values.shape for one in maps] == [(32, 32)] * 2
    assert all(one.label.startswith("block1 ") for one in maps)
    with pytest.raises(ninc.UsageError):
        cifar10.maps(CAT, by="guess")


def test_onnx_there_and_back(digits, images, tmp_path, monkeypatch):
    path = tmp_path / "digits.onnx"
    assert digits.export_onnx(path) == str(path)
    back = ninc.load(path)
    assert back.classes == digits.classes
    np.testing.assert_allclose(back(images), digits(images), atol=1e-6)
    with pytest.raises(ninc.UsageError, match="there already"):
        digits.export_onnx(path)
    # A file that changes is read again.
    digits.export_onnx(path, with_preparation=True, overwrite=True, opset=18)
    monkeypatch.chdir(tmp_path)
    assert digits.export_onnx("-o.onnx") == "-o.onnx" and (tmp_path / "-o.onnx").is_file()
    np.testing.assert_allclose(ninc.load(path)(images), digits(images), atol=1e-6)


def test_the_picture_of_a_network(digits):
    for svg in (digits.svg(), digits.svg(layers=True), digits._repr_svg_()):
        assert xml.dom.minidom.parseString(svg).documentElement.tagName == "svg"
    assert len(digits.svg(layers=True)) > len(digits.svg())


def test_a_network_whose_result_is_no_class(tmp_path):
    (tmp_path / "twice.nin").write_text("network twice { input image: [1, 2, 2]\n image |> relu }\n")
    model = ninc.load(tmp_path / "twice.nin")
    assert model.classes == () and model.weights is None
    found = model(np.array([[[[1.0, -2.0], [3.0, -4.0]]]], np.float32))
    np.testing.assert_array_equal(found, [[[[1, 0], [3, 0]]]])
    with pytest.raises(ninc.Error):
        model.classify(np.zeros((2, 2), np.uint8))


def test_parameters_of_a_network_and_precision(tmp_path):
    with pytest.raises(ninc.Error, match="width|shape"):
        ninc.load(MODELS / "cifar10.nin", weights=MODELS / "cifar10.safetensors", set={"width": 96})
    rounded = ninc.load(DIGITS, weights=MODELS / "digits.safetensors", precision="bf16", isa="portable")
    assert rounded.classify(SEVEN).name == "7"


def test_importing_is_cheap():
    """A command must not wait for NumPy."""
    code = "import sys, ninc; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
