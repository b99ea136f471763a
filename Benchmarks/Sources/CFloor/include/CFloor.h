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
