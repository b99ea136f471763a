// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// The functions that all peers use.
#pragma once

#include "CPeers.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

extern const cpeer cpeers_write, cpeers_stdio, cpeers_lmdb, cpeers_leveldb, cpeers_rocksdb,
  cpeers_sqlite;

/// The versions of libraries that no single call returns as text.
const char *_Nonnull cpeers_leveldb_version(void);
const char *_Nonnull cpeers_rocksdb_version(void);

enum {
  /// Records in one transaction or batch, if a store has transactions or batches.
  CPEERS_BATCH = 1000,
  /// The bytes that one call writes or reads: as many as the floor's.
  CPEERS_BUFFER_BYTES = 256 << 10,
};

/// Stores "what: why" for `cpeers_error`, and returns -1.
int cpeers_fail(const char *_Nonnull what, const char *_Nonnull why);

/// Does the same with the message for `errno`.
int cpeers_fail_errno(const char *_Nonnull what);

/// Makes the entries of a directory durable. Returns 0 or -1.
int cpeers_sync_directory(const char *_Nonnull directory);

/// Nanoseconds of the monotonic clock.
uint64_t cpeers_now(void);

/// Counts a sync. Call it for a sync that none of the counted calls makes.
void cpeers_count_sync(void);

/// A record's number as a key that sorts by its bytes.
enum { CPEERS_KEY_BYTES = 8 };

static inline void cpeers_make_key(uint64_t number, char *_Nonnull key) {
  uint64_t bytes = __builtin_bswap64(number);
  memcpy(key, &bytes, CPEERS_KEY_BYTES);
}

static inline uint64_t cpeers_number_of_key(const char *_Nonnull key) {
  uint64_t bytes;
  memcpy(&bytes, key, CPEERS_KEY_BYTES);
  return __builtin_bswap64(bytes);
}

/// Does the work of every reader with one payload: looks at it, and counts it. If `copies` is not
/// 0, it instead copies the payload into its own memory, frees that again, and counts it. Returns
/// 0, or -1 if there is no memory.
static inline int cpeers_take(
  const void *_Nullable payload, size_t bytes, int copies, int64_t *_Nonnull seen
) {
  if (copies) {
    uint8_t *copy = malloc(bytes > 0 ? bytes : 1);
    if (copy == NULL) return cpeers_fail_errno("malloc");
    if (bytes > 0) memcpy(copy, payload, bytes);
    // Without this, the compiler sees that the copy is never read, and makes none.
    __asm__ volatile("" : : "r"(copy) : "memory");
    free(copy);
  } else if (bytes > 0) {
    uint8_t first = *(const uint8_t *)payload;
    __asm__ volatile("" : : "r"(first));
  }
  *seen += (int64_t)bytes;
  return 0;
}
