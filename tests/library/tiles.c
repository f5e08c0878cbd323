/* A library on matrix units: children of the process, many threads of the caller's, and signals while it computes give
 * the bits of a quiet run. With `refused` behind the weights the process has a stack for signals that is too small for
 * the units' state, and says what came of that. */
#include "lib/wide.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 5, THREADS = 16, SIGNALS = 100 };
static float images[N * WIDE_INPUT_SIZE], expected[N * WIDE_OUTPUT_SIZE];
static wide *network;
static const char *weights;
static volatile sig_atomic_t signals, wrong;

#define CHECK(condition)                                              \
    if (!(condition)) {                                               \
        fprintf(stderr, "line %d: not %s\n", __LINE__, #condition);   \
        exit(1);                                                      \
    }

static void run(const wide *network) {
    float result[N * WIDE_OUTPUT_SIZE];
    memset(result, 0xff, sizeof result);
    CHECK(wide_run(network, N, images, result) == WIDE_OK);
    CHECK(memcmp(result, expected, sizeof result) == 0);
}

static void child(void) {
    run(network);
    wide *own;
    CHECK(wide_create(&own, weights, NULL, 0) == WIDE_OK);
    run(own);
    wide_destroy(own);
    exit(0);
}

static void *thread(void *data) {
    for (int i = 0; i < 4; i++) run(data);
    return NULL;
}

/* Floating point in vectors, whose result is known. */
static void handler(int signal) {
    volatile float sums[16] = {0};
    for (int i = 0; i < 100; i++)
        for (int j = 0; j < 16; j++) sums[j] = sums[j] + 0.5f * j;
    for (int j = 0; j < 16; j++) wrong |= sums[j] != 50.0f * j;
    (void)signal;
    signals++;
}

static int refused(void) {
    static char memory[8192];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory};
    CHECK(sigaltstack(&stack, NULL) == 0);
    char text[200];
    int status = wide_create(&network, weights, text, sizeof text);
    printf("%d %s\n", status, status ? text : "");
    return 0;
}

int main(int count, char **arguments) {
    weights = arguments[1];
    if (count > 2) return refused();
    for (int i = 0; i < N * WIDE_INPUT_SIZE; i++) images[i] = (float)(i * 7 % 251) / 251;
    CHECK(wide_create(&network, weights, NULL, 0) == WIDE_OK);
    CHECK(wide_run(network, N, images, expected) == WIDE_OK);
    run(network);

    pid_t pid = fork();
    if (pid == 0) child();
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);

    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, thread, network) == 0);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);

    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    struct itimerval storm = {{0, 100}, {0, 100}}, calm = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &storm, NULL) == 0);
    while (signals < SIGNALS) run(network);
    CHECK(setitimer(ITIMER_REAL, &calm, NULL) == 0);
    CHECK(!wrong);
    wide_destroy(network);
    puts("done");
}
