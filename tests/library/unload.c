/* A library that comes and goes: afterwards there is nothing left of it, whether the networks were freed or not. */
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 64 };
static float images[N * 192], result[N * 10];

#define CHECK(condition)                                              \
    if (!(condition)) {                                               \
        fprintf(stderr, "line %d: not %s\n", __LINE__, #condition);   \
        exit(1);                                                      \
    }

static int threads(void) {
    DIR *dir = opendir("/proc/self/task");
    int count = -2;
    while (readdir(dir)) count++;
    closedir(dir);
    return count;
}

/* A thread that was joined is listed for a moment more. */
static int alone(void) {
    for (int i = 0; i < 5000 && threads() > 1; i++) usleep(1000);
    return threads() == 1;
}

static int loaded(void) {
    char line[500];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) found |= strstr(line, "libsmall.so") != NULL;
    fclose(maps);
    return found;
}

static void *open_and_run(const char *weights, int destroy) {
    void *library = dlopen("lib/libsmall.so", RTLD_NOW | RTLD_LOCAL), *network;
    if (!library) fprintf(stderr, "%s\n", dlerror());
    CHECK(library);
    int (*create)(void **, const char *, char *, size_t) = dlsym(library, "small_create");
    int (*run)(void *, long, const float *, float *, long, void *, size_t) = dlsym(library, "small_run_with");
    void (*end)(void *) = dlsym(library, "small_destroy");
    CHECK(create && run && end && !dlsym(library, "small_nothing"));
    CHECK(create(&network, weights, NULL, 0) == 0);
    CHECK(run(network, N, images, result, 2, NULL, 0) == 0);
    CHECK(threads() == 2);
    if (destroy) {
        end(network);
        CHECK(alone());
    }
    return library;
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    alarm(300);
    for (int i = 0; i < 60; i++) {
        void *library = open_and_run(arguments[1], i % 2);
        if (i % 3 == 0) usleep(20000); /* Its thread sleeps, or else still polls. */
        CHECK(dlclose(library) == 0);
        CHECK(alone() && !loaded());
    }
    /* The program ends with a team that waits. */
    open_and_run(arguments[1], 0);
    puts("done");
    return 0;
}
