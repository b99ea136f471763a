// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// The least that any queue must do, in C. DiskQueue is measured against it. It has the same frame
// (a header of eight bytes and the payload) and the same hash, but no API, no locks and no
// safeguards.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
  /// The most bytes that one `write(2)` of `cfloor_write`, or one `pread(2)` of `cfloor_read`,
  /// transfers.
  CFLOOR_BUFFER_BYTES = 256 << 10,
};

/// Writes `records` frames of the same payload into the files 0, 1, ... of a directory, 64 MiB a
/// file. Nothing is synced. Returns 0, or the errno.
int cfloor_write(
  const char *directory, const uint8_t *payload, size_t payload_bytes, uint64_t records);

/// Verifies every frame of these files in place. Returns the payload bytes seen, or a negative
/// number if a call fails or a frame is not sound.
int64_t cfloor_read(const char *directory);

/// Appends `records` frames of the same payload to one file, each with its own `write(2)` and
/// `fdatasync(2)`. `nanoseconds` is NULL, or gets `records` figures: the time of each append.
/// Returns 0, or the errno.
int cfloor_write_synced(
  const char *directory, const uint8_t *payload, size_t payload_bytes, uint64_t records,
  uint64_t *nanoseconds);

/// Reads single records from the files of `cfloor_write`, like a log that looks for a record from
/// the mark before it. For each record, it reads a stretch of frames that ends with the record, by
/// one `pread(2)`, and verifies the hash of every payload in it. The stretch begins at a multiple
/// of `stretch` frames of its file. Returns the payload bytes of the requested records, or a
/// negative number if a call fails or a frame is not sound.
int64_t cfloor_read_at(
  const char *directory, size_t payload_bytes, uint64_t stretch, const uint64_t *records,
  uint64_t count);

/// Syncs the files of `cfloor_write`, and drops them from the system's cache. Returns 0, or the
/// errno.
int cfloor_drop(const char *directory);

/// Frames in blocks of memory: the least that a log in memory must do.
typedef struct cfloor_memory cfloor_memory;

/// Makes a log of at most 16 blocks of 4 MiB. When all are full, it overwrites the oldest one.
/// Returns NULL if there is no memory.
cfloor_memory *cfloor_memory_make(void);

/// Appends `records` frames of the same payload. Returns 0, or the errno.
int cfloor_memory_write(
  cfloor_memory *log, const uint8_t *payload, size_t payload_bytes, uint64_t records);

/// Verifies every frame in place. Returns the payload bytes seen, or a negative number if a frame
/// is not sound.
int64_t cfloor_memory_read(const cfloor_memory *log);

void cfloor_memory_free(cfloor_memory *log);

/// The version of libxxhash, as 10,000 * major + 100 * minor + release.
unsigned cfloor_xxhash_version(void);
