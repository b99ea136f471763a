// Prototypes and constants of Linux calls that Swift's Glibc module does not show, because it is
// imported without _GNU_SOURCE. Other systems need nothing here: they declare these calls
// themselves.
#pragma once

#if defined(__linux__)
// renameat2(2) with RENAME_NOREPLACE, or RENAME_EXCHANGE. The C library's own function needs
// _GNU_SOURCE, and not every C library has it.
#include <sys/syscall.h>
#include <unistd.h>
long syscall(long, ...);
static inline int diskqueue_rename_new(
    int old_directory, const char *old_name, int new_directory, const char *new_name) {
  return (int)syscall(SYS_renameat2, old_directory, old_name, new_directory, new_name, 1u);
}
static inline int diskqueue_rename_exchange(const char *one, const char *other) {
  // AT_FDCWD: relative to the working directory, as with rename(2).
  return (int)syscall(SYS_renameat2, -100, one, -100, other, 2u);
}

// open(2): O_TMPFILE, a file without a name, needs _GNU_SOURCE.
#include <fcntl.h>
static const int DISKQUEUE_O_TMPFILE = 020000000 | O_DIRECTORY;

// statfs(2).
#include <sys/vfs.h>

// fcntl(2), "Open file description locks": <fcntl.h> under _GNU_SOURCE.
static const int DISKQUEUE_F_OFD_GETLK = 36;
static const int DISKQUEUE_F_OFD_SETLK = 37;

// fallocate(2): <fcntl.h> under _GNU_SOURCE. With a 64-bit off_t, as on every platform of Swift.
static const int DISKQUEUE_FALLOC_FL_KEEP_SIZE = 1;
int fallocate(int, int, long, long);

// preadv2(2): <sys/uio.h> under _GNU_SOURCE.
#include <sys/uio.h>
static const int DISKQUEUE_RWF_NOWAIT = 8;
#if defined(__GLIBC__)
ssize_t preadv2(int, const struct iovec *, int, long, int);
#endif
#endif
