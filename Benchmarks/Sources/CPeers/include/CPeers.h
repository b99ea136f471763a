// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// The peers, each behind the same calls, in C: what is measured is them, and not a binding.
#pragma once

#include <stdint.h>

/// A store that keeps records in order. Keys, where it wants some, are numbers from 0 on.
///
/// Functions that return an `int` return 0 or -1, and then `cpeers_error` says why.
typedef struct cpeer {
  /// "LMDB"
  const char *_Nonnull name;
  /// How it is tuned, and by which advice, for the page under the table.
  const char *_Nonnull settings;

  /// Opens a store in a directory that exists, empty or with what an earlier one left. `is_synced`:
  /// whether `append_synced` will be called; else nothing need be synced. NULL: failed.
  void *_Nullable (*_Nonnull open)(const char *_Nonnull directory, int is_synced);

  /// Appends `count` records of this payload, in the batches that it is tuned for, and hands all to
  /// the system.
  int (*_Nonnull append)(
    void *_Nonnull store, const uint8_t *_Nonnull payload, uint64_t bytes, uint64_t count);

  /// Appends one record, which is on stable storage when it returns; from any number of threads at
  /// once. NULL: it has no such thing.
  int (*_Nullable append_synced)(
    void *_Nonnull store, const uint8_t *_Nonnull payload, uint64_t bytes);

  /// Reads all records in order, verified as far as it can. `copies`: each into memory of its own,
  /// freed again. Returns the payload bytes seen, or -1. NULL: it has no such thing.
  int64_t (*_Nullable scan)(void *_Nonnull store, int copies);

  int (*_Nonnull close)(void *_Nonnull store);
} cpeer;

/// All of them; a null pointer is behind the last.
extern const cpeer *_Nullable const *_Nonnull cpeers(void);

/// Name and version of the library behind a peer, as it states it itself.
const char *_Nonnull cpeers_version(const cpeer *_Nonnull peer);

/// What the last call that failed, on any thread, said.
const char *_Nonnull cpeers_error(void);

/// Has `threads` threads append `each` synced records each, all started together. Returns the
/// nanoseconds from the start to the last one's end, or -1. `latencies`, if not NULL, has room for
/// threads * each figures in nanoseconds.
int64_t cpeers_append_synced(
  const cpeer *_Nonnull peer, void *_Nonnull store, const uint8_t *_Nonnull payload,
  uint64_t bytes, uint32_t threads, uint64_t each, uint64_t *_Nullable latencies);

/// How often this process asked the system to sync a file, so far: `fsync`, `fdatasync`, `msync` and
/// `sync_file_range` of whatever is linked into it, this library's peers and DiskQueue alike.
uint64_t cpeers_syncs(void);
