"""CIFAR-10, contrast-normalised and whitened, against an independent computation in NumPy.

    ninc run MODEL … is not enough: it must be the preparation that the weights carry. So:

    ninc train models/cifar10_bn.nin --data cifar-10-binary.tar.gz --steps 1 --out OUT
    python tests/zca/zca_check.py cifar-10-binary.tar.gz OUT/cifar10_bn.safetensors

Needs numpy and safetensors. Prints the largest relative difference of the prepared test images; fails above 1e-4.
"""

import sys
import tarfile

import numpy as np
from safetensors.numpy import load_file

SCALE, EPSILON, LIMIT = 55.0, 0.1, 1e-4


def records(archive, names):
    parts = []
    with tarfile.open(archive) as tar:
        for name in names:
            data = tar.extractfile(f"cifar-10-batches-bin/{name}.bin").read()
            parts.append(np.frombuffer(data, np.uint8).reshape(-1, 3073)[:, 1:])
    return np.concatenate(parts).astype(np.float64)


def gcn(images):
    images = images - images.mean(axis=1, keepdims=True)
    norms = np.sqrt((images**2).sum(axis=1, keepdims=True)) / SCALE
    return images / np.where(norms < 1e-8, 1.0, norms)


def main():
    archive, weights = sys.argv[1:3]
    train = gcn(records(archive, [f"data_batch_{i}" for i in range(1, 6)]))
    test = gcn(records(archive, ["test_batch"]))
    mean = train.mean(axis=0)
    centred = train - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(train) + EPSILON * np.eye(3072))
    matrix = vectors @ np.diag(1 / np.sqrt(values)) @ vectors.T
    expected = (test - mean) @ matrix
    ours = load_file(weights)
    prepared = (test.astype(np.float32) - ours["prepare.1.mean"]) @ ours["prepare.1.matrix"]
    worst = np.abs(prepared - expected).max() / np.abs(expected).max()
    typical = np.linalg.norm(prepared - expected) / np.linalg.norm(expected)
    print(f"largest difference {worst:.2e} of the largest value, {typical:.2e} in the L2 norm, {len(test)} images")
    print(f"matrix: {np.abs(ours['prepare.1.matrix'] - matrix).max() / np.abs(matrix).max():.2e}")
    sys.exit(0 if max(worst, typical) <= LIMIT else 1)


main()
