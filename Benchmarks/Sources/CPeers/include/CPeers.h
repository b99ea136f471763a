// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// The peers, all with the same functions. They are called from C, so that no binding is measured.
#pragma once

#include <stdint.h>

/// A store of records in order. If it needs keys, they are numbers that begin with 0.
///
/// Functions that return an `int` return 0 or -1. After -1, `cpeers_error` returns the reason.
typedef struct cpeer {
  /// For example, "LMDB".
  const char *_Nonnull name;
  /// How the peer is tuned, and on which advice. The page of the results shows it below the table.
  const char *_Nonnull settings;

  /// Opens a store in an existing directory, which is empty or holds an earlier store. `is_synced`
  /// is whether `append_synced` will be called. If not, the store need not sync. Returns NULL after
  /// a failure.
  void *_Nullable (*_Nonnull open)(const char *_Nonnull directory, int is_synced);

  /// Appends `count` records of this payload, in batches of the size for which the peer is tuned.
  /// Hands all of them to the system.
  int (*_Nonnull append)(
    void *_Nonnull store, const uint8_t *_Nonnull payload, uint64_t bytes, uint64_t count);

  /// Appends one record, which is on stable storage when the function returns. Any number of
  /// threads may call it at once. NULL if the peer has no such function.
  int (*_Nullable append_synced)(
    void *_Nonnull store, const uint8_t *_Nonnull payload, uint64_t bytes);

  /// Reads all records in order, and verifies them as far as the peer can. If `copies` is not 0, it
  /// copies each record into its own memory, and frees that again. Returns the payload bytes seen,
  /// or -1. NULL if the peer has no such function.
  int64_t (*_Nullable scan)(void *_Nonnull store, int copies);

  int (*_Nonnull close)(void *_Nonnull store);
} cpeer;

/// All peers. A null pointer follows the last one.
extern const cpeer *_Nullable const *_Nonnull cpeers(void);

/// Name and version of the library that a peer uses, as the library states them itself.
const char *_Nonnull cpeers_version(const cpeer *_Nonnull peer);

/// The message of the last failed call on any thread.
const char *_Nonnull cpeers_error(void);

/// Lets `threads` threads append `each` synced records each. All threads start together. Returns
/// the nanoseconds from the start until the last thread ends, or -1. `latencies` is NULL, or gets
/// threads * each figures in nanoseconds.
int64_t cpeers_append_synced(
  const cpeer *_Nonnull peer, void *_Nonnull store, const uint8_t *_Nonnull payload,
  uint64_t bytes, uint32_t threads, uint64_t each, uint64_t *_Nullable latencies);

/// How often this process has asked the system to sync a file so far. Counts the calls of
/// `fsync`, `fdatasync`, `msync` and `sync_file_range` from every linked library: the peers' and
/// DiskQueue.
uint64_t cpeers_syncs(void);
