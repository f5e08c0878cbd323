"""Many calls: from threads, in a copy of the process, for a long time."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import SEVEN


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
