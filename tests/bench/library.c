/* Times a built library: medians of runs with one and with two threads, taken in turns.
 * Built with -DNAME=digits -DHEADER='"digits.h"' -DPIXELS=DIGITS_INPUT_SIZE -DRESULTS=DIGITS_OUTPUT_SIZE.
 * usage: library WEIGHTS BATCH THREADS SECONDS     prints the median of a run in microseconds */
#include HEADER
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define JOIN(a, b) a##_##b
#define CALL(name, function) JOIN(name, function)

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    long batch = atol(arguments[2]), threads = atol(arguments[3]);
    double seconds = atof(arguments[4]);
    char error[300];
    NAME *network;
    if (CALL(NAME, create)(&network, arguments[1], error, sizeof error)) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    float *images = malloc(batch * PIXELS * sizeof(float)), *result = malloc(batch * RESULTS * sizeof(float));
    for (long i = 0; i < batch * PIXELS; i++) images[i] = i % 251 / 251.0f;
    size_t size = CALL(NAME, workspace_size)(network, batch, threads);
    void *workspace = malloc(size);
    enum { MOST = 1 << 20 };
    double *times = malloc(MOST * sizeof(double)), end = 0;
    long runs = -20; /* The first ones warm up. */
    for (;;) {
        double start = now();
        if (CALL(NAME, run_with)(network, batch, images, result, threads, workspace, size)) return 1;
        double stop = now();
        if (runs >= 0) times[runs] = stop - start;
        if (++runs == 0) end = stop + seconds * 1e6;
        if (runs == MOST || (runs > 3 && stop > end)) break;
    }
    qsort(times, runs, sizeof *times, compare);
    printf("%.2f\n", times[runs / 2]);
    CALL(NAME, destroy)(network);
    return 0;
}
