/* Preloaded into a process: the disk under one folder is full from the n-th write on, for it and its children.

   The first write that fails is cut in half, as on a real disk; those after it write nothing. Creating a file or
   a folder counts as a write. Deleting, renaming and reading go on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[4096];
static size_t folder_length;
static long full_from;
static atomic_long *calls; /* shared with the children */
static void (*tell)(const char *call, const char *path);
static int tells_all;

/* An empty path: no disk is full. */
void disk_full_from(const char *path, long call) {
    if (!calls)
        calls = mmap(0, sizeof *calls, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    folder_length = strlen(path);
    memcpy(folder, path, folder_length + 1);
    full_from = call;
    if (folder_length) atomic_store(calls, 0);
}

/* Told the name and the path of the write that fills the disk, or of all writes. */
void disk_tells(void (*to)(const char *call, const char *path), int all) {
    tell = to;
    tells_all = all;
}

long disk_writes(void) { return atomic_load(calls); }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_inside(const char *path) {
    return folder_length && !strncmp(path, folder, folder_length)
        && (path[folder_length] == '/' || !path[folder_length]);
}

/* 0: there is room. 1: this is the write that fills the disk. 2: it is full. */
static int fullness(const char *name, const char *path) {
    long call = atomic_fetch_add(calls, 1) + 1;
    if (tell && (tells_all || call == full_from)) tell(name, path);
    return call < full_from ? 0 : call == full_from ? 1 : 2;
}

/* 0 for a file that is not in the folder, too. */
static int fullness_of(const char *name, int file) {
    char link[64], path[4096];
    if (!folder_length || file <= 2) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_inside(path) ? fullness(name, path) : 0;
}

static int no_room(void) {
    errno = ENOSPC;
    return -1;
}

#define LIMITED(file, size, call_with) \
    int state = fullness_of(__func__, file); \
    size_t allowed = state == 0 ? (size) : state == 1 ? (size) / 2 : 0; \
    if (state && !allowed) return no_room(); \
    return call_with;

ssize_t write(int file, const void *data, size_t size) {
    LIMITED(file, size, REAL(write)(file, data, allowed))
}
ssize_t pwrite(int file, const void *data, size_t size, off_t place) {
    LIMITED(file, size, REAL(pwrite)(file, data, allowed, place))
}
ssize_t pwrite64(int file, const void *data, size_t size, off64_t place) {
    LIMITED(file, size, REAL(pwrite64)(file, data, allowed, place))
}
ssize_t sendfile(int file, int source, off_t *place, size_t size) {
    LIMITED(file, size, REAL(sendfile)(file, source, place, allowed))
}
ssize_t sendfile64(int file, int source, off64_t *place, size_t size) {
    LIMITED(file, size, REAL(sendfile64)(file, source, place, allowed))
}
ssize_t copy_file_range(int source, off64_t *from, int file, off64_t *to, size_t size, unsigned flags) {
    LIMITED(file, size, REAL(copy_file_range)(source, from, file, to, allowed, flags))
}

#define REFUSED(name, file, ...) \
    if (fullness_of(__func__, file)) return no_room(); \
    return REAL(name)(__VA_ARGS__);

ssize_t writev(int file, const struct iovec *parts, int count) { REFUSED(writev, file, file, parts, count) }
int fsync(int file) { REFUSED(fsync, file, file) }
int fdatasync(int file) { REFUSED(fdatasync, file, file) }

size_t fwrite(const void *data, size_t size, size_t count, FILE *stream) {
    if (fullness_of(__func__, fileno(stream))) {
        errno = ENOSPC;
        return 0;
    }
    return REAL(fwrite)(data, size, count, stream);
}

int mkdir(const char *path, mode_t mode) {
    if (is_inside(path) && fullness(__func__, path)) return no_room();
    return REAL(mkdir)(path, mode);
}

/* Opening counts where it makes a new file. */
#define OPENED(name, ...) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    } \
    if ((flags & O_CREAT) && is_inside(path) && access(path, F_OK) && fullness(__func__, path)) return no_room(); \
    return REAL(name)(__VA_ARGS__);

int open(const char *path, int flags, ...) { OPENED(open, path, flags, mode) }
int open64(const char *path, int flags, ...) { OPENED(open64, path, flags, mode) }
int openat(int at, const char *path, int flags, ...) { OPENED(openat, at, path, flags, mode) }
int openat64(int at, const char *path, int flags, ...) { OPENED(openat64, at, path, flags, mode) }
