// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// The least that any queue must do, in C: what DiskQueue is measured against. The same frame (a
// header of eight bytes and the payload) with the same hash; no API, no locks, no care.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
  /// What is handed to the system, or asked of it, at once.
  CFLOOR_BUFFER_BYTES = 256 << 10,
};

/// Writes `records` frames of the same payload into the files 0, 1, ... of a directory, 64 MiB a
/// file. Nothing is synced. Returns 0, or the errno.
int cfloor_write(
  const char *directory, const uint8_t *payload, size_t payload_bytes, uint64_t records);

/// Verifies every frame of these files in place. Returns the payload bytes seen, or a negative
/// number where a call failed or a frame is not sound.
int64_t cfloor_read(const char *directory);

/// Appends `records` frames of the same payload to one file, each by a `write(2)` of its own and an
/// `fdatasync(2)`. `nanoseconds`, if not NULL, has room for what each of them took. Returns 0, or the
/// errno.
int cfloor_write_synced(
  const char *directory, const uint8_t *payload, size_t payload_bytes, uint64_t records,
  uint64_t *nanoseconds);

/// Reads single records of what `cfloor_write` wrote, as a log has to that finds its place at a mark:
/// for each, one `pread(2)` of the stretch of frames up to it, which begins at a multiple of
/// `stretch` frames of its file, and the hash of every payload in it. Returns the payload bytes of
/// the records asked for, or a negative number where a call failed or a frame is not sound.
int64_t cfloor_read_at(
  const char *directory, size_t payload_bytes, uint64_t stretch, const uint64_t *records,
  uint64_t count);

/// Puts the files of `cfloor_write` on the disk, and drops what the system has cached of them.
/// Returns 0, or the errno.
int cfloor_drop(const char *directory);

/// Frames in memory, in blocks: the least that a log in memory must do.
typedef struct cfloor_memory cfloor_memory;

/// Blocks of 4 MiB, 16 of them at most: then the oldest one is written anew. NULL: no memory.
cfloor_memory *cfloor_memory_make(void);

/// Puts `records` frames of the same payload behind those that are there. Returns 0, or the errno.
int cfloor_memory_write(
  cfloor_memory *log, const uint8_t *payload, size_t payload_bytes, uint64_t records);

/// Verifies every frame in place. Returns the payload bytes seen, or a negative number where a frame is
/// not sound.
int64_t cfloor_memory_read(const cfloor_memory *log);

void cfloor_memory_free(cfloor_memory *log);

/// The version of libxxhash, as 10,000 * major + 100 * minor + release.
unsigned cfloor_xxhash_version(void);
