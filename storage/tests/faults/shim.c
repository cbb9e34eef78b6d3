/* A disk that fails, for tests: loaded before the C library into a process that writes below one directory.
 *
 * Calls that change files below GEMMULE_SHIM_ROOT are counted: creating, writing, syncing, renaming, cutting. Call number
 * GEMMULE_SHIM_AT meets the fault that GEMMULE_SHIM_FAULT names:
 *
 *   EIO, ENOSPC   it fails with this error, and all after it too if GEMMULE_SHIM_LASTING is set
 *   short         the first write from there on writes half of its bytes, the next one fails with ENOSPC
 *   cut           the power goes: the process ends before the call
 *
 * GEMMULE_SHIM_LOG gets a line "call CALL PATH" for each, and "at CALL PATH" for the fault.
 *
 * With GEMMULE_SHIM_SHADOW, a directory on the same file system, what would survive a power cut is kept there:
 *
 *   f<inode>   the bytes of a file when it was last synced
 *   k<inode>   a link to the file itself, so that its inode is not used again
 *   d<inode>   the entries of a directory when it was last synced: a line "INODE NAME" each
 *
 * What is there when the process starts counts as synced. sync_file_range keeps nothing, as its manual says. Syncing sled's
 * file `db` keeps the names beside it too: sled relies on that when it renames its snapshot, and file systems with a journal
 * do so. For all other files only syncing their directory does.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *shadow, *fault, *log_path;
static long at, calls;
static int lasting, half_written;

static int is_below(const char *path) {
    size_t n = root ? strlen(root) : 0;
    return n > 0 && strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == 0);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return is_below(path);
}

static void note(const char *what, const char *rest) {
    char line[PATH_MAX + 64];
    int n = snprintf(line, sizeof line, "%s %s\n", what, rest);
    int fd = REAL(open)(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (REAL(write)(fd, line, n) != n) abort();
    close(fd);
}

static void keep_file(const char *path, const struct stat *stat) {
    char name[PATH_MAX], bytes[1 << 16];
    snprintf(name, sizeof name, "%s/k%lu", shadow, stat->st_ino);
    if (link(path, name) && errno != EEXIST) return; /* it is unlinked: nothing can survive of it */
    int from = REAL(open)(name, O_RDONLY);
    snprintf(name, sizeof name, "%s/f%lu", shadow, stat->st_ino);
    int to = REAL(open)(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (ssize_t n; (n = read(from, bytes, sizeof bytes)) > 0;)
        if (REAL(write)(to, bytes, n) != n) abort();
    close(from);
    close(to);
}

static void keep_dir(const char *path, const struct stat *stat) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s/d%lu", shadow, stat->st_ino);
    /* The first time it is left open, so that its inode is not used again. */
    if (access(name, F_OK)) REAL(open)(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = opendir(path);
    if (!dir) return;
    int to = REAL(open)(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        char line[512];
        int n = snprintf(line, sizeof line, "%lu %s\n", entry->d_ino, entry->d_name);
        if (REAL(write)(to, line, n) != n) abort();
    }
    close(to);
    closedir(dir);
}

static int keep(const char *path, const struct stat *stat, int kind, struct FTW *ftw) {
    (void)kind, (void)ftw;
    if (S_ISREG(stat->st_mode)) keep_file(path, stat);
    if (S_ISDIR(stat->st_mode)) keep_dir(path, stat);
    return 0;
}

__attribute__((constructor)) static void begin(void) {
    root = getenv("GEMMULE_SHIM_ROOT");
    shadow = getenv("GEMMULE_SHIM_SHADOW");
    fault = getenv("GEMMULE_SHIM_FAULT");
    log_path = getenv("GEMMULE_SHIM_LOG");
    at = atol(getenv("GEMMULE_SHIM_AT") ?: "0");
    lasting = getenv("GEMMULE_SHIM_LASTING") != NULL;
    if (root && shadow) nftw(root, keep, 16, FTW_PHYS);
}

/* Counts a call; its error, or 0 if it is to be done. For a write, *n_bytes may be made less. */
static int meets(const char *call, const char *path, size_t *n_bytes) {
    char where[PATH_MAX + 64];
    int error = 0;
    pthread_mutex_lock(&mutex);
    long number = ++calls;
    snprintf(where, sizeof where, "%s %s", call, path);
    note("call", where);
    if (at > 0 && number >= at && fault) {
        int is_first = number == at;
        if (!strcmp(fault, "short")) {
            is_first = n_bytes && *n_bytes > 1 && half_written == 0;
            if (is_first) *n_bytes /= 2;
            else if (n_bytes && half_written == 1) error = ENOSPC;
            half_written += n_bytes && half_written < 2 && (is_first || error);
        } else if (is_first || lasting) {
            error = strcmp(fault, "ENOSPC") ? EIO : ENOSPC;
        }
        if (is_first) note("at", where);
        if (!strcmp(fault, "cut")) _exit(9);
    }
    pthread_mutex_unlock(&mutex);
    return error;
}

#define FAIL_IF_MET(condition, call, path, n_bytes)                                                                    \
    do {                                                                                                               \
        int met = (condition) ? meets(call, path, n_bytes) : 0;                                                        \
        if (met) return errno = met, -1;                                                                               \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t n) {
    char path[PATH_MAX];
    FAIL_IF_MET(root && path_of(fd, path), "write", path, &n);
    return REAL(write)(fd, bytes, n);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset) {
    char path[PATH_MAX];
    FAIL_IF_MET(root && path_of(fd, path), "pwrite", path, &n);
    return REAL(pwrite64)(fd, bytes, n, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset) { return pwrite64(fd, bytes, n, offset); }

static int sync_fd(int fd, const char *call) {
    char path[PATH_MAX];
    if (!root || !path_of(fd, path)) return 0;
    FAIL_IF_MET(1, call, path, NULL);
    struct stat stat;
    if (shadow && !fstat(fd, &stat)) {
        pthread_mutex_lock(&mutex);
        keep(path, &stat, 0, NULL);
        char *name = strrchr(path, '/');
        if (!strcmp(name, "/db") && S_ISREG(stat.st_mode)) {
            *name = 0;
            if (!lstat(path, &stat)) keep_dir(path, &stat);
        }
        pthread_mutex_unlock(&mutex);
    }
    return 0; /* The system itself keeps running, so there is nothing to wait for. */
}

int fsync(int fd) { return sync_fd(fd, "fsync"); }

int fdatasync(int fd) { return sync_fd(fd, "fdatasync"); }

int sync_file_range(int fd, off64_t offset, off64_t n, unsigned flags) {
    char path[PATH_MAX];
    (void)offset, (void)n, (void)flags;
    FAIL_IF_MET(root && path_of(fd, path), "sync_file_range", path, NULL);
    return 0;
}

int ftruncate64(int fd, off64_t n) {
    char path[PATH_MAX];
    FAIL_IF_MET(root && path_of(fd, path), "ftruncate", path, NULL);
    return REAL(ftruncate64)(fd, n);
}

int ftruncate(int fd, off_t n) { return ftruncate64(fd, n); }

int rename(const char *from, const char *to) {
    FAIL_IF_MET(is_below(from), "rename", from, NULL);
    return REAL(rename)(from, to);
}

int mkdir(const char *path, mode_t mode) {
    FAIL_IF_MET(is_below(path) && access(path, F_OK), "mkdir", path, NULL);
    return REAL(mkdir)(path, mode);
}

int link(const char *from, const char *to) {
    FAIL_IF_MET(is_below(to), "link", to, NULL);
    return REAL(link)(from, to);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    FAIL_IF_MET(is_below(to), "link", to, NULL);
    return REAL(linkat)(from_dir, from, to_dir, to, flags);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    FAIL_IF_MET(flags & O_CREAT && is_below(path) && access(path, F_OK), "create", path, NULL);
    return REAL(open64)(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open64(path, flags, mode);
}

int unlink(const char *path) {
    FAIL_IF_MET(is_below(path), "unlink", path, NULL);
    return REAL(unlink)(path);
}
