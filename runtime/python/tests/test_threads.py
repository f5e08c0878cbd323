"""Many calls: from threads, in a copy of the process, for a long time."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import MODELS, SEVEN

import ninc


def test_a_thousand_calls_from_eight_threads_agree(digits, images):
    right, seven = digits(images), digits.classify(SEVEN)
    fives = images[:, :, ::-1].astype(np.float32)
    other = digits(fives)

    def call(number):
        if number % 10 == 0:
            return digits.classify(SEVEN) == seven
        if number % 2:
            return (digits(images) == right).all()
        return (digits(fives) == other).all()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(1000)))


def test_other_threads_run_while_a_network_computes(cifar10):
    images = np.random.default_rng(3).integers(0, 256, (128, 3, 32, 32), dtype=np.uint8)
    counted, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0)

    thread = threading.Thread(target=count)
    thread.start()
    before = counted[0]
    cifar10(images)
    during = counted[0] - before
    stop.set()
    thread.join()
    assert during > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_copy_of_the_process_answers_too(digits, images):
    right = digits(images)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if (digits(images) == right).all() else 1)
        except BaseException:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert (digits(images) == right).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_memory_is_steady_over_many_calls(digits, images):
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def calls(count):
        for number in range(count):
            digits(images if number % 2 else images.astype(np.float32))
            if number % 20 == 0:
                digits.classify(SEVEN)
                with pytest.raises(Exception):
                    digits(images[:, :, :3])

    count = int(os.environ.get("NINC_CALLS", "10000"))
    calls(500)
    before = resident()
    calls(count)
    # A leak of one image a call would be 640 kB of bytes, of a batch as floats 13 MB.
    assert resident() - before < 2 << 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_copy_made_while_a_network_computes_is_told_so(cifar10):
    """A signal's handler runs within the call that it interrupts, or between two."""
    images = np.random.default_rng(4).integers(0, 256, (300, 3, 32, 32), dtype=np.uint8)
    within = []

    def copy(*_):
        child = os.fork()
        if child == 0:
            try:
                cifar10(images[:1])
                os._exit(0)
            except ninc.Error as e:
                os._exit(3 if "os.fork" in e.message else 4)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        try:
            cifar10(images[:1])
            assert code == 0
        except ninc.Error as e:
            assert "in this thread" in e.message and code == 3
            within.append(code)

    before = signal.signal(signal.SIGALRM, copy)
    try:
        while not within:
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            cifar10(images)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert cifar10(images[:1]).shape == (1, 10)


def test_another_process_loads_the_same_network(digits, images):
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(digits, (images,)), digits(images))
    found = pickle.loads(pickle.dumps(ninc.load(MODELS / "digits.nin", threads=1, raw=True)))
    assert found.weights == str(MODELS / "digits.safetensors")
    np.testing.assert_array_equal(found(images), ninc.load(MODELS / "digits.nin", raw=True)(images))
