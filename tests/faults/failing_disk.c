/* A disk that fails on demand, for processes that are started with LD_PRELOAD.

   The file that FAILING_DISK names says what fails; without it, or where it is empty, nothing does:

       <calls> <part of a path> <errno> <from which call on>          write,fsync headrace.db-wal 5 1

   "write" stands for write, pwrite and ftruncate, "fsync" for fsync and fdatasync. Calls are counted in each process,
   from the moment at which the file was changed. Each call that failed is a line of <that file>.log. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long seen_calls, seen_change;

/* 0, or the errno with which this call is to fail. */
static int fault(const char *call, int fd) {
    const char *control = getenv("FAILING_DISK");
    struct stat about;
    char text[600], calls[32], part[500], place[32], path[1024], line[1200];
    int number, length;
    long first;

    if (control == NULL || stat(control, &about) != 0 || about.st_size == 0) return 0;
    int file = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return 0;
    text[length] = 0;
    if (sscanf(text, "%31s %499s %d %ld", calls, part, &number, &first) != 4 || strstr(calls, call) == NULL) return 0;
    snprintf(place, sizeof place, "/proc/self/fd/%d", fd);
    length = readlink(place, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    if (strstr(path, part) == NULL) return 0;
    long change = about.st_mtim.tv_sec * 1000000000L + about.st_mtim.tv_nsec;
    if (change != seen_change) seen_change = change, seen_calls = 0;
    if (++seen_calls < first) return 0;
    snprintf(line, sizeof line, "%s.log", control);
    file = syscall(SYS_openat, AT_FDCWD, line, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (file >= 0) {
        length = snprintf(line, sizeof line, "%d %s %s\n", getpid(), call, path);
        syscall(SYS_write, file, line, length);
        close(file);
    }
    return number;
}

#define FAILS(type, name, kind, takes, gives)                                                                          \
    type name takes {                                                                                                  \
        static type(*real) takes;                                                                                      \
        if (real == NULL) real = (type(*) takes)dlsym(RTLD_NEXT, #name);                                               \
        int number = fault(kind, fd);                                                                                  \
        if (number != 0) return errno = number, -1;                                                                    \
        return real gives;                                                                                             \
    }

FAILS(ssize_t, write, "write", (int fd, const void *body, size_t n), (fd, body, n))
FAILS(ssize_t, pwrite, "write", (int fd, const void *body, size_t n, off_t at), (fd, body, n, at))
FAILS(ssize_t, pwrite64, "write", (int fd, const void *body, size_t n, off64_t at), (fd, body, n, at))
FAILS(int, ftruncate, "write", (int fd, off_t size), (fd, size))
FAILS(int, ftruncate64, "write", (int fd, off64_t size), (fd, size))
FAILS(int, fsync, "fsync", (int fd), (fd))
FAILS(int, fdatasync, "fsync", (int fd), (fd))
