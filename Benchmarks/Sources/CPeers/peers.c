// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// For the variant of strerror_r that returns the text.
#define _GNU_SOURCE

#include "peers.h"

#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <lmdb.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static const cpeer *const all[] = {
  &cpeers_write,
  &cpeers_stdio,
  &cpeers_lmdb,
  &cpeers_leveldb,
  &cpeers_rocksdb,
  &cpeers_sqlite,
  NULL,
};

const cpeer *const *cpeers(void) { return all; }

// MARK: Versions

static struct utsname system_name;
static char libc_version[64];
static char sqlite_version[64];
static pthread_once_t versions_made = PTHREAD_ONCE_INIT;

static void make_versions(void) {
  if (uname(&system_name) != 0) strcpy(system_name.release, "unknown");
  snprintf(libc_version, sizeof libc_version, "glibc %s", gnu_get_libc_version());
  snprintf(sqlite_version, sizeof sqlite_version, "SQLite %s", sqlite3_libversion());
}

const char *cpeers_version(const cpeer *peer) {
  pthread_once(&versions_made, make_versions);
  if (peer == &cpeers_write) return system_name.release;
  if (peer == &cpeers_stdio) return libc_version;
  if (peer == &cpeers_lmdb) return mdb_version(NULL, NULL, NULL);
  if (peer == &cpeers_leveldb) return cpeers_leveldb_version();
  if (peer == &cpeers_rocksdb) return cpeers_rocksdb_version();
  if (peer == &cpeers_sqlite) return sqlite_version;
  return "unknown";
}

// MARK: Errors

static pthread_mutex_t error_lock = PTHREAD_MUTEX_INITIALIZER;
static char error_text[1024] = "no call has failed";

int cpeers_fail(const char *what, const char *why) {
  pthread_mutex_lock(&error_lock);
  snprintf(error_text, sizeof error_text, "%s: %s", what, why);
  pthread_mutex_unlock(&error_lock);
  return -1;
}

int cpeers_fail_errno(const char *what) {
  char text[256];
  return cpeers_fail(what, strerror_r(errno, text, sizeof text));
}

const char *cpeers_error(void) {
  // A copy for each thread, so that a later failure does not change a text that a caller reads.
  static _Thread_local char copy[sizeof error_text];
  pthread_mutex_lock(&error_lock);
  memcpy(copy, error_text, sizeof copy);
  pthread_mutex_unlock(&error_lock);
  return copy;
}

// MARK: The system

int cpeers_sync_directory(const char *directory) {
  int file = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return cpeers_fail_errno(directory);
  int result = fsync(file) == 0 ? 0 : cpeers_fail_errno("fsync of the directory");
  close(file);
  return result;
}

uint64_t cpeers_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}
