/* Stands between a process and the C library (LD_PRELOAD): counts what it does to the files below one folder,
   and at the n-th call kills the process or its group, fails, waits or damages what is written.

   Python, numpy and the Rust libraries all come through here. Nothing is counted before `faults_arm`. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum action { COUNT, KILL, KILL_HALFWAY, FAIL, FAIL_FROM_NOW_ON, DELAY, CORRUPT, SIGNAL, KILL_ALL, SIGNAL_TWICE };

static char folder[PATH_MAX];
static size_t folder_length;
static atomic_long calls;
static long wanted = -1;
static int what, argument, log_fd = -1;

static void note(long number, const char *call, const char *path) {
    char line[PATH_MAX + 64];
    int n = snprintf(line, sizeof line, "%ld\t%s\t%s\n", number, call, path);
    static ssize_t (*really)(int, const void *, size_t);
    if (!really) really = dlsym(RTLD_NEXT, "write");
    if (log_fd >= 0 && n > 0) (void)!really(log_fd, line, (size_t)n);
}

/* From the start of the next call on, faults befall calls below `below`; `number` counts from 0. */
void faults_arm(const char *below, long number, int action, int value, int log) {
    strncpy(folder, below, sizeof folder - 1);
    folder_length = strlen(folder);
    wanted = number, what = action, argument = value, log_fd = log;
    atomic_store(&calls, 0);
}

long faults_count(void) { return atomic_load(&calls); }

static int is_below(int at, const char *path, char *whole) {
    if (!folder_length || !path) return 0;
    if (path[0] == '/') {
        snprintf(whole, PATH_MAX, "%s", path);
    } else {
        char link[64], base[PATH_MAX];
        if (at == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return 0;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            ssize_t n = readlink(link, base, sizeof base - 1);
            if (n < 0) return 0;
            base[n] = 0;
        }
        if (snprintf(whole, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return 0;
    }
    return !strncmp(whole, folder, folder_length) && (whole[folder_length] == '/' || !whole[folder_length]);
}

static int is_open_below(int fd, char *whole) {
    char link[64];
    if (!folder_length || fd < 3 || fd == log_fd) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, whole, PATH_MAX - 1);
    if (n < 0) return 0;
    whole[n] = 0;
    return !strncmp(whole, folder, folder_length) && whole[folder_length] == '/';
}

/* The second of two signals, some milliseconds after the first. */
static void *signals_again(void *milliseconds) {
    usleep((useconds_t)(long)milliseconds * 1000);
    kill(getpid(), SIGTERM);
    return NULL;
}

/* The action that befalls this call: COUNT (none), FAIL with errno set, KILL_HALFWAY or CORRUPT for a write. */
static int befalls(const char *call, const char *path) {
    long number = atomic_fetch_add(&calls, 1);
    if (wanted < 0) { note(number, call, path); return COUNT; }
    if (number < wanted || (number > wanted && what != FAIL_FROM_NOW_ON)) return COUNT;
    if (number == wanted) note(number, call, path);
    switch (what) {
    case KILL: kill(getpid(), SIGKILL); pause(); break;
    case KILL_ALL: kill(0, SIGKILL); pause(); break;
    case SIGNAL: kill(getpid(), argument); return COUNT;
    case SIGNAL_TWICE: {
        pthread_t other;
        kill(getpid(), SIGINT);
        pthread_create(&other, NULL, signals_again, (void *)(long)argument);
        pthread_detach(other);
        return COUNT;
    }
    case FAIL: case FAIL_FROM_NOW_ON: errno = argument; return FAIL;
    case DELAY: usleep((useconds_t)argument * 1000); return COUNT;
    }
    return what;
}

/* A place in the program itself. */
void faults_point(const char *name) {
    if (folder_length && befalls("point", name) == KILL_HALFWAY) kill(getpid(), SIGKILL);
}

#define REALLY(result, name, ...) \
    static result (*really)(__VA_ARGS__); \
    if (!really) really = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define ON_PATH(result, at, path, call) do { \
    char whole[PATH_MAX]; \
    if (is_below(at, path, whole)) { \
        int found = befalls(call, whole); \
        if (found == FAIL) return -1; \
        if (found == KILL_HALFWAY) { (void)(result); kill(getpid(), SIGKILL); pause(); } \
    } \
    return result; \
} while (0)

#define ON_FILE(result, fd, call) do { \
    char whole[PATH_MAX]; \
    if (is_open_below(fd, whole)) { \
        int found = befalls(call, whole); \
        if (found == FAIL) return -1; \
        if (found == KILL_HALFWAY) { (void)(result); kill(getpid(), SIGKILL); pause(); } \
    } \
    return result; \
} while (0)

static int changes(int flags) { return (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) != 0; }

#define OPENS(name) \
int name(const char *path, int flags, ...) { \
    va_list more; va_start(more, flags); mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(more, mode_t) : 0; va_end(more); \
    REALLY(int, #name, const char *, int, ...); \
    if (!changes(flags)) return really(path, flags, mode); \
    ON_PATH(really(path, flags, mode), AT_FDCWD, path, "open"); \
}
OPENS(open)
OPENS(open64)

#define OPENS_AT(name) \
int name(int at, const char *path, int flags, ...) { \
    va_list more; va_start(more, flags); mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(more, mode_t) : 0; va_end(more); \
    REALLY(int, #name, int, const char *, int, ...); \
    if (!changes(flags)) return really(at, path, flags, mode); \
    ON_PATH(really(at, path, flags, mode), at, path, "open"); \
}
OPENS_AT(openat)
OPENS_AT(openat64)

/* The last byte has its lowest bit flipped, or half of it is written and the process ends. */
static ssize_t written(ssize_t (*really)(int, const void *, size_t), int fd, const void *data, size_t size) {
    char whole[PATH_MAX];
    if (!is_open_below(fd, whole)) return really(fd, data, size);
    int found = befalls("write", whole);
    if (found == FAIL) return -1;
    if (found == KILL_HALFWAY) { (void)!really(fd, data, size / 2); kill(getpid(), SIGKILL); pause(); }
    if (found != CORRUPT || !size) return really(fd, data, size);
    char *copy = malloc(size);
    memcpy(copy, data, size);
    copy[size / 2] ^= 1;
    ssize_t done = really(fd, copy, size);
    free(copy);
    return done;
}

ssize_t write(int fd, const void *data, size_t size) {
    REALLY(ssize_t, "write", int, const void *, size_t);
    return written(really, fd, data, size);
}

ssize_t writev(int fd, const struct iovec *pieces, int n) {
    REALLY(ssize_t, "writev", int, const struct iovec *, int);
    ON_FILE(really(fd, pieces, n), fd, "write");
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REALLY(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    ON_FILE(really(fd, data, size, at), fd, "write");
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REALLY(ssize_t, "pwrite", int, const void *, size_t, off_t);
    ON_FILE(really(fd, data, size, at), fd, "write");
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t size) {
    REALLY(ssize_t, "sendfile64", int, int, off64_t *, size_t);
    ON_FILE(really(to, from, offset, size), to, "write");
}

ssize_t copy_file_range(int from, off64_t *start, int to, off64_t *at, size_t size, unsigned flags) {
    REALLY(ssize_t, "copy_file_range", int, off64_t *, int, off64_t *, size_t, unsigned);
    ON_FILE(really(from, start, to, at, size, flags), to, "write");
}

/* numpy writes arrays with stdio. */
size_t fwrite(const void *data, size_t size, size_t n, FILE *file) {
    REALLY(size_t, "fwrite", const void *, size_t, size_t, FILE *);
    char whole[PATH_MAX];
    if (!is_open_below(fileno(file), whole)) return really(data, size, n, file);
    int found = befalls("write", whole);
    if (found == FAIL) return 0;
    if (found == KILL_HALFWAY) { really(data, size, n / 2, file); fflush(file); kill(getpid(), SIGKILL); pause(); }
    return really(data, size, n, file);
}

int fsync(int fd) { REALLY(int, "fsync", int); ON_FILE(really(fd), fd, "fsync"); }
int flock(int fd, int how) { REALLY(int, "flock", int, int); ON_FILE(really(fd, how), fd, "flock"); }
int fdatasync(int fd) { REALLY(int, "fdatasync", int); ON_FILE(really(fd), fd, "fsync"); }
int ftruncate64(int fd, off64_t size) { REALLY(int, "ftruncate64", int, off64_t); ON_FILE(really(fd, size), fd, "truncate"); }
int ftruncate(int fd, off_t size) { REALLY(int, "ftruncate", int, off_t); ON_FILE(really(fd, size), fd, "truncate"); }

int rename(const char *from, const char *to) {
    REALLY(int, "rename", const char *, const char *);
    ON_PATH(really(from, to), AT_FDCWD, to, "rename");
}
int renameat(int a, const char *from, int b, const char *to) {
    REALLY(int, "renameat", int, const char *, int, const char *);
    ON_PATH(really(a, from, b, to), b, to, "rename");
}
int unlink(const char *path) { REALLY(int, "unlink", const char *); ON_PATH(really(path), AT_FDCWD, path, "unlink"); }
int unlinkat(int at, const char *path, int flags) {
    REALLY(int, "unlinkat", int, const char *, int);
    ON_PATH(really(at, path, flags), at, path, "unlink");
}
int rmdir(const char *path) { REALLY(int, "rmdir", const char *); ON_PATH(really(path), AT_FDCWD, path, "rmdir"); }
int mkdir(const char *path, mode_t mode) { REALLY(int, "mkdir", const char *, mode_t); ON_PATH(really(path, mode), AT_FDCWD, path, "mkdir"); }
int chmod(const char *path, mode_t mode) { REALLY(int, "chmod", const char *, mode_t); ON_PATH(really(path, mode), AT_FDCWD, path, "chmod"); }
int fchmodat(int at, const char *path, mode_t mode, int flags) {
    REALLY(int, "fchmodat", int, const char *, mode_t, int);
    ON_PATH(really(at, path, mode, flags), at, path, "chmod");
}
