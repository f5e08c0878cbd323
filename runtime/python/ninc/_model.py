"""Networks that are ready to answer."""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union, overload

from . import _ninc
from ._arrays import array, given, picture
from ._errors import UsageError
from ._notes import told
from ._options import file_word, found_path, option_words, pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


class Guess(NamedTuple):
    """A class with the probability that the network gives to it, and the number of its output."""

    name: str
    probability: float
    output: int


class Answer(NamedTuple):
    """What a network says of a picture: its best classes, the most probable first."""

    input: str
    top: tuple[Guess, ...]

    @property
    def name(self) -> str:
        """The most probable class."""
        return self.top[0].name

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.top[0].probability

    def __str__(self) -> str:
        width = max(len(guess.name) for guess in self.top)
        rows = (f"  {guess.name:<{width}}  {guess.probability * 100:6.2f} %" for guess in self.top)
        return "\n".join([self.input, *rows])


class Layer(NamedTuple):
    """A layer: the shape of its result for one image, the numbers in its parameters, its multiply-adds and bytes for
    one image, and how many rows and columns of the input a cell of its result sees."""

    name: str
    function: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    bytes: int
    receptive_field: tuple[int, int]


class Map(NamedTuple):
    """Where in a picture the network sees something: what (`"cat 93.1%"`, `"block1 12"`), and float32 of
    [rows, columns], the higher the more."""

    label: str
    values: NDArray[np.float32]


class Model:
    """A network with its weights, compiled for this machine. `load` makes it.

    It may be called from several threads, which take turns, and lets other threads of Python run while it computes.
    Another process gets it as its files' names and its options (`pickle`), and loads it anew.
    """

    def __init__(self, network: _ninc.Network, words: list[str]) -> None:
        self._network = network
        self._words = words
        facts = json.loads(network.facts())
        self.name: str = facts["name"]
        """The network's name."""
        self.weights: str | None = found_path(facts["weights"])
        """The file of the weights; `None` for a network without parameters."""
        self.input_shape: tuple[int, ...] = tuple(facts["input_shape"])
        """The shape of an image as the network gets it, prepared: (channels, height, width), or (features,)."""
        self.image_shape: tuple[int, ...] = tuple(facts["image_shape"])
        """The shape of an image as it is given, before its preparation."""
        self.output_shape: tuple[int, ...] = tuple(facts["output_shape"])
        """The shape of the network's result for one image."""
        self.classes: tuple[str, ...] = tuple(facts["classes"])
        """What the outputs are called: their numbers, where nobody named them; empty where they are no classes."""
        self.layers: tuple[Layer, ...] = tuple(
            Layer(**{**row, "shape": tuple(row["shape"]), "receptive_field": tuple(row["receptive_field"])})
            for row in facts["layers"]
        )
        """A row for each layer, in order."""
        self.parameters: int = facts["parameters"]
        """How many numbers the weights have."""
        self.multiply_adds: int = facts["multiply_adds"]
        """Multiply-adds for one image."""
        self._summary: str = facts["summary"]

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.image_shape))
        what = f"{len(self.classes)} classes" if self.classes else f"result {list(self.output_shape)}"
        return f"<ninc.Model {self.name}: {shape} -> {what}, {self.parameters:,} parameters>"

    def __reduce__(self) -> tuple[Any, ...]:
        words = list(self._words)
        # What was looked for is what was found.
        own = self.weights is None or os.path.normpath(self.weights) == os.path.normpath(words[0])
        if not own and not any(word.startswith("--weights=") for word in words):
            words.append(f"--weights={self.weights}")
        return opened, (words,)

    def __call__(self, images: Any) -> NDArray[np.float64]:
        """Returns the classes' probabilities for images.

        Args:
            images: numbers of shape [N, C, H, W] (or [N, H, W] with one channel, [N, features]) as those that the
                weights learned from, before their preparation: a NumPy array, or anything with DLPack, the array
                interface or the buffer protocol. float32 and uint8 are read where they lie; other numbers are
                converted. An image without N in front is one image.

        Returns:
            float64 of shape [N, classes], or [classes] for one image: the numbers that `ninc run --json` prints. A
            network whose result is not one number a class gives it as float32 of [N, …].
        """
        found = array(images)
        try:
            result = self._network.answer(list(found.shape), given(found))
        finally:
            told()
        return result if self._is_batch(found.shape) else result[0]

    def predict_proba(self, images: Any) -> NDArray[np.float64]:
        """Returns the classes' probabilities of a batch of images, [N, classes], as calling the model does."""
        import numpy as np

        return np.atleast_2d(self(images))

    def predict(self, images: Any) -> NDArray[np.str_]:
        """Returns the name of each image's most probable class, [N]; `classes` has the names."""
        import numpy as np

        best: NDArray[np.str_] = np.asarray(self.classes)[self.predict_proba(images).argmax(axis=1)]
        return best

    def values(self, images: Any, *names: str) -> dict[str, NDArray[np.float32]]:
        """Returns named values of the network (`block1`; `layers` has the names), float32 of shape [N, …] each, for
        images as in calling the model."""
        found = array(images)
        try:
            results = self._network.values(list(found.shape), given(found), list(names))
        finally:
            told()
        return dict(zip(names, results))

    @overload
    def classify(self, pictures: list[Any] | tuple[Any, ...], top: int = 5) -> list[Answer]: ...

    @overload
    def classify(self, pictures: Any, top: int = 5) -> Answer: ...

    def classify(self, pictures: Any, top: int = 5) -> Answer | list[Answer]:
        """Says what is in pictures.

        Args:
            pictures: the path of a picture, its bytes, an open file, an image of Pillow, or an array of uint8 of shape
                [H, W] or [H, W, 3] (red, green, blue) of any size; or a list of these.
            top: how many classes are named, 1 or more.

        Returns:
            The best classes with their probabilities; for a list a list.
        """
        several = isinstance(pictures, (list, tuple))
        read = self._pictures(pictures)
        try:
            found = self._network.classify(read, _count(top))
        finally:
            told()
        answers = [Answer(name, tuple(Guess(*guess) for guess in one)) for (name, _), one in zip(read, found)]
        return answers if several else answers[0]

    def maps(self, pictures: Any, by: str = "class", of: str | None = None, top: int = 5) -> Any:
        """Finds where in pictures the network sees its best classes.

        Args:
            pictures: as in `classify`.
            by: `"class"` for the network's own maps, whose means are the classes' scores; `"grad-cam"` or `"occlusion"`
                for any network.
            of: maps of this value: its channels with the highest means, or where grad-cam looks.
            top: how many maps a picture gets, 1 or more.

        Returns:
            For each picture a list of `Map`; for a list of pictures a list of these.
        """
        several = isinstance(pictures, (list, tuple))
        words = option_words({"maps_by": by, "maps_of": of})
        try:
            found = self._network.maps(self._pictures(pictures), words, _count(top))
        finally:
            told()
        maps = [[Map(label, values) for label, values in one] for one in found]
        return maps if several else maps[0]

    def export_onnx(
        self,
        path: Path,
        *,
        opset: int | None = None,
        with_preparation: bool = False,
        overwrite: bool = False,
    ) -> str:
        """Writes the network with its weights as an ONNX file, and returns its path.

        Args:
            path: where to write it.
            opset: the version of ONNX's operators, 13 to 22.
            with_preparation: put the preparation of images in front, so that the file takes numbers of 0 to 255.
            overwrite: replace a file that is there.
        """
        name = os.fsdecode(path)
        options = {"out": name, "opset": opset, "with_preparation": with_preparation, "overwrite": overwrite}
        try:
            self._network.export(option_words(options))
        finally:
            told()
        return name

    def summary(self) -> str:
        """Returns a table: for each layer its shape, parameters, multiply-adds, bytes and receptive field."""
        return self._summary

    def svg(self, *, layers: bool = False) -> str:
        """Returns a picture of the network, with a frame for each kernel, or for each layer."""
        return self._network.svg(layers)

    def _repr_svg_(self) -> str:
        return self.svg()

    def _pictures(self, pictures: Any) -> list[tuple[str, str | bytes]]:
        several: Sequence[Any] = pictures if isinstance(pictures, (list, tuple)) else [pictures]
        return [picture(one, number) for number, one in enumerate(several)]

    def _is_batch(self, shape: tuple[int, ...]) -> bool:
        size = 1
        for side in self.image_shape:
            size *= side
        single = {self.input_shape, self.image_shape, (size,)}
        if self.image_shape[0] == 1:
            single.add(self.image_shape[1:])
        return tuple(shape) not in single


def _count(top: Any) -> int:
    """Returns how many answers are wanted."""
    try:
        count = operator.index(top)
    except TypeError:
        count = 0
    if count < 1:
        raise UsageError(f"top={top!r} is not a whole number from 1", "5 unless said; `len(model.classes)` are all")
    return min(count, 1 << 31)


def opened(words: list[str]) -> Model:
    """Opens what `ninc run` opens with these words behind it."""
    try:
        network = _ninc.Network(words)
    finally:
        told()
    return Model(network, words)


def load(
    file: Path,
    *,
    weights: Path | None = None,
    threads: int | None = None,
    precision: str | None = None,
    set: Mapping[str, Any] | None = None,
    data: Path | None = None,
    raw: bool = False,
    range: Iterable[float] | str | None = None,
    rename: Mapping[str, str] | None = None,
    device: str | None = None,
    **options: Any,
) -> Model:
    """Reads a network with its weights, and compiles it.

    Args:
        file: a model file (`.nin`), or a network of another program (`.onnx`, `.prototxt`).
        weights: its weights; without it they are looked for beside the model and in `out/`, as `ninc run` does.
        threads: how many threads compute; one for each processor unless said. Results never depend on it.
        precision: `"f32"`, `"bf16"` or `"tf32"`; what the weights state unless said.
        set: parameters of the network: `{"width": 96}`.
        data: file or folder of the data, to which `prepare` is fitted where the weights hold no preparation.
        raw: arrays are prepared already: the network gets them as they are.
        range: from and to which number the training data ran, where the weights do not say it: `(0, 255)`.
        rename: names of the weights' tensors and what the network calls them.
        device: `"cpu"`, `"opencl"`, `"opencl:1"`.
        options: further options of `ninc run`: `isa="avx2"`, `prepare="[scale(1/255)]"`, `classes="names.txt"`.

    Raises:
        Error: what is wrong; of a model's text with `code`, `span` and `diagnostics`.
    """
    given_options = {
        "weights": weights,
        "threads": threads,
        "precision": precision,
        "set": set,
        "data": data,
        "raw": raw,
        "range": pair(range),
        "rename": rename,
        "device": device,
        **options,
    }
    return opened([file_word(file), *option_words(given_options)])
