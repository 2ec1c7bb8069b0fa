/* Makes a process's disk slow and its wall clock wrong, without its knowledge: an LD_PRELOAD.

   SLOW_HOST names a file of two 64-bit numbers in this machine's order: how many microseconds each
   fsync and fdatasync takes longer, and how many microseconds the wall clock is ahead. The file is
   mapped: whoever writes to it changes both at once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t none[2];
static volatile int64_t *wanted = none;
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_clock)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    real_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("SLOW_HOST");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *map = mmap(NULL, 16, PROT_READ, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED)
        wanted = map;
    close(fd);
}

static void delay(void)
{
    if (wanted[0] > 0)
        usleep((useconds_t)wanted[0]);
}

int fsync(int fd)
{
    delay();
    return real_fsync(fd);
}

int fdatasync(int fd)
{
    delay();
    return real_fdatasync(fd);
}

int clock_gettime(clockid_t id, struct timespec *at)
{
    int code = real_clock(id, at);
    if (code == 0 && id == CLOCK_REALTIME && wanted[1]) {
        int64_t us = at->tv_nsec / 1000 + wanted[1] % 1000000;
        at->tv_sec += wanted[1] / 1000000 + (us >= 1000000) - (us < 0);
        at->tv_nsec = ((us + 1000000) % 1000000) * 1000 + at->tv_nsec % 1000;
    }
    return code;
}
