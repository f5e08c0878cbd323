/* A library's threads: kept between runs, shared by nobody, and right in a child of the process. Says what is wrong. */
#include "lib/small.h"
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 64, MANY = 200 };
static float images[N * SMALL_INPUT_SIZE], expected[N * SMALL_OUTPUT_SIZE];
static small *network;
static int stop;

#define CHECK(condition)                                              \
    if (!(condition)) {                                               \
        fprintf(stderr, "line %d: not %s\n", __LINE__, #condition);   \
        exit(1);                                                      \
    }

/* The number of this process's threads, and the sum of their numbers. */
static int threads(long *sum) {
    DIR *dir = opendir("/proc/self/task");
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.') {
            count++;
            *sum += atol(entry->d_name);
        }
    closedir(dir);
    return count;
}

/* Is there this thread only? One that was joined is listed for a moment more. */
static int alone(void) {
    long sum = 0;
    for (int i = 0; i < 5000 && threads(&sum) > 1; i++) usleep(1000);
    return threads(&sum) == 1;
}

static void run(small *network, int64_t n, int64_t team) {
    float result[N * SMALL_OUTPUT_SIZE];
    memset(result, 0xff, sizeof result);
    CHECK(small_run_with(network, n, images, result, team, NULL, 0) == SMALL_OK);
    CHECK(memcmp(result, expected, n * SMALL_OUTPUT_SIZE * sizeof(float)) == 0);
}

static void *runner(void *data) {
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) run(data, N, 2);
    return NULL;
}

static void wait_for(pid_t child) {
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A child has none of its parent's threads, uses the handle, has a child itself, and ends as programs do. */
static void child(const char *weights) {
    for (int depth = 0; depth < 3; depth++) {
        long sum = 0;
        CHECK(alone());
        run(network, N, 2);
        CHECK(threads(&sum) == 2);
        run(network, N, 3);
        pid_t next = fork();
        if (next != 0) {
            wait_for(next);
            break;
        }
    }
    small *other;
    CHECK(small_create(&other, weights, NULL, 0) == SMALL_OK);
    run(other, N, 2);
    small_destroy(other);
    exit(0);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    alarm(300);
    for (int i = 0; i < N * SMALL_INPUT_SIZE; i++) images[i] = i % 251 / 251.0f;
    CHECK(small_create(&network, arguments[1], NULL, 0) == SMALL_OK);
    CHECK(small_run(network, N, images, expected) == SMALL_OK);

    /* The first run with two threads starts one, the others find it; one image is not worth it. */
    long first = 0, last = 0;
    small *idle;
    CHECK(small_create(&idle, arguments[1], NULL, 0) == SMALL_OK);
    static float result[SMALL_OUTPUT_SIZE];
    CHECK(small_run_with(network, 1, images, result, 2, NULL, 0) == SMALL_OK);
    CHECK(alone());
    run(network, N, 2);
    CHECK(threads(&first) == 2);
    for (int i = 0; i < MANY; i++) run(network, N, 2);
    sleep(1); /* The team sleeps as well. */
    run(network, N, 2);
    CHECK(threads(&last) == 2 && first == last);
    small_destroy(idle);

    /* Two callers of one handle at the same time. */
    pthread_t callers[3];
    for (int i = 0; i < 3; i++) CHECK(pthread_create(&callers[i], NULL, runner, network) == 0);
    for (int i = 0; i < MANY; i++) run(network, N, 2);
    /* Children, while the team is at work. */
    for (int i = 0; i < 10; i++) {
        pid_t next = fork();
        if (next == 0) child(arguments[1]);
        wait_for(next);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 3; i++) CHECK(pthread_join(callers[i], NULL) == 0);
    run(network, N, 3);
    small_destroy(network);
    CHECK(alone());

    /* More networks at the same time than there is room for teams. */
    static small *all[300];
    for (int i = 0; i < 300; i++) CHECK(small_create(&all[i], arguments[1], NULL, 0) == SMALL_OK);
    for (int i = 0; i < 300; i++) run(all[i], N, 2);
    for (int i = 0; i < 300; i++) small_destroy(all[i]);
    CHECK(alone());
    puts("done");
    return 0;
}
