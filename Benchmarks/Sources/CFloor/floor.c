// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

#include "CFloor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>
// Hashing runs as fast as libxxhash can. If the library has this header, the calls below use the
// machine's vector instructions.
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#endif

enum { FILE_BYTES = 64 << 20, HEADER_BYTES = 8 };

static int open_file(const char *directory, unsigned number, int flags) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%u", directory, number);
  return open(path, flags | O_CLOEXEC, 0600);
}

static int write_all(int file, const uint8_t *bytes, size_t count) {
  while (count > 0) {
    ssize_t written = write(file, bytes, count);
    if (written < 0) return errno;
    bytes += written;
    count -= (size_t)written;
  }
  return 0;
}

int cfloor_write(
  const char *directory, const uint8_t *payload, size_t payload_bytes, uint64_t records
) {
  uint8_t *buffer = malloc(CFLOOR_BUFFER_BYTES);
  unsigned number = 0;
  int file = open_file(directory, number, O_WRONLY | O_CREAT | O_TRUNC);
  int error = file < 0 ? errno : 0;
  uint64_t address = 0;
  uint64_t file_end = FILE_BYTES;
  size_t used = 0;
  size_t frame = HEADER_BYTES + payload_bytes;
  for (uint64_t i = 0; i < records && error == 0; i++) {
    if (used + frame > CFLOOR_BUFFER_BYTES || address + frame > file_end) {
      error = write_all(file, buffer, used);
      used = 0;
      if (error == 0 && address + frame > file_end) {
        close(file);
        file = open_file(directory, ++number, O_WRONLY | O_CREAT | O_TRUNC);
        if (file < 0) error = errno;
        file_end = address + FILE_BYTES;
      }
    }
    uint32_t length = (uint32_t)payload_bytes;
    uint32_t checksum = (uint32_t)XXH3_64bits_withSeed(payload, payload_bytes, address);
    memcpy(buffer + used, &length, 4);
    memcpy(buffer + used + 4, &checksum, 4);
    memcpy(buffer + used + HEADER_BYTES, payload, payload_bytes);
    used += frame;
    address += frame;
  }
  if (error == 0) error = write_all(file, buffer, used);
  if (file >= 0) close(file);
  free(buffer);
  return error;
}

int64_t cfloor_read(const char *directory) {
  uint8_t *buffer = malloc(CFLOOR_BUFFER_BYTES);
  uint64_t address = 0;
  int64_t payload_bytes = 0;
  for (unsigned number = 0; payload_bytes >= 0; number++) {
    int file = open_file(directory, number, O_RDONLY);
    if (file < 0) break;
    uint64_t base = address;
    for (;;) {
      ssize_t count = pread(file, buffer, CFLOOR_BUFFER_BYTES, (off_t)(address - base));
      if (count <= 0) {
        if (count < 0) payload_bytes = -1;
        break;
      }
      size_t offset = 0;
      while (offset + HEADER_BYTES <= (size_t)count) {
        uint32_t length;
        uint32_t checksum;
        memcpy(&length, buffer + offset, 4);
        memcpy(&checksum, buffer + offset + 4, 4);
        if (length > (size_t)count - offset - HEADER_BYTES) break;
        const uint8_t *payload = buffer + offset + HEADER_BYTES;
        if ((uint32_t)XXH3_64bits_withSeed(payload, length, address) != checksum) {
          payload_bytes = -1;
          goto next_file;
        }
        offset += HEADER_BYTES + length;
        address += HEADER_BYTES + length;
        payload_bytes += length;
      }
      if (offset == 0) {
        payload_bytes = -1;
        break;
      }
    }
  next_file:
    close(file);
  }
  free(buffer);
  return payload_bytes;
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

int cfloor_write_synced(
  const char *directory, const uint8_t *payload, size_t payload_bytes, uint64_t records,
  uint64_t *nanoseconds
) {
  size_t frame = HEADER_BYTES + payload_bytes;
  uint8_t *buffer = malloc(frame);
  int file = open_file(directory, 0, O_WRONLY | O_CREAT | O_TRUNC);
  int error = file < 0 ? errno : 0;
  uint64_t address = 0;
  for (uint64_t i = 0; i < records && error == 0; i++) {
    uint64_t start = now();
    uint32_t length = (uint32_t)payload_bytes;
    uint32_t checksum = (uint32_t)XXH3_64bits_withSeed(payload, payload_bytes, address);
    memcpy(buffer, &length, 4);
    memcpy(buffer + 4, &checksum, 4);
    memcpy(buffer + HEADER_BYTES, payload, payload_bytes);
    error = write_all(file, buffer, frame);
    if (error == 0 && fdatasync(file) != 0) error = errno;
    address += frame;
    if (nanoseconds) nanoseconds[i] = now() - start;
  }
  if (file >= 0) close(file);
  free(buffer);
  return error;
}

int64_t cfloor_read_at(
  const char *directory, size_t payload_bytes, uint64_t stretch, const uint64_t *records,
  uint64_t count
) {
  enum { MOST_FILES = 4096 };
  uint64_t frame = HEADER_BYTES + payload_bytes;
  uint64_t file_frames = FILE_BYTES / frame;
  uint8_t *buffer = malloc(stretch * frame);
  int files[MOST_FILES];
  unsigned open_files = 0;
  while (open_files < MOST_FILES) {
    int file = open_file(directory, open_files, O_RDONLY);
    if (file < 0) break;
    files[open_files++] = file;
  }
  int64_t seen = 0;
  for (uint64_t i = 0; i < count && seen >= 0; i++) {
    uint64_t number = records[i] / file_frames;
    uint64_t last = records[i] % file_frames;
    uint64_t first = last / stretch * stretch;
    size_t bytes = (last - first + 1) * frame;
    if (number >= open_files
        || pread(files[number], buffer, bytes, (off_t)(first * frame)) != (ssize_t)bytes) {
      seen = -1;
      break;
    }
    uint64_t address = (number * file_frames + first) * frame;
    for (size_t offset = 0; offset < bytes; offset += frame, address += frame) {
      uint32_t length;
      uint32_t checksum;
      memcpy(&length, buffer + offset, 4);
      memcpy(&checksum, buffer + offset + 4, 4);
      const uint8_t *payload = buffer + offset + HEADER_BYTES;
      if (length != payload_bytes
          || (uint32_t)XXH3_64bits_withSeed(payload, length, address) != checksum) {
        seen = -1;
        break;
      }
    }
    if (seen >= 0) seen += (int64_t)payload_bytes;
  }
  for (unsigned number = 0; number < open_files; number++) close(files[number]);
  free(buffer);
  return seen;
}

int cfloor_drop(const char *directory) {
  int error = 0;
  for (unsigned number = 0; error == 0; number++) {
    int file = open_file(directory, number, O_RDONLY);
    if (file < 0) break;
    if (fdatasync(file) != 0) error = errno;
    if (error == 0) error = posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    close(file);
  }
  return error;
}

unsigned cfloor_xxhash_version(void) { return XXH_versionNumber(); }

enum { BLOCK_BYTES = 4 << 20, BLOCKS = 16 };

struct cfloor_memory {
  uint8_t *blocks[BLOCKS];
  size_t used[BLOCKS];
  uint64_t addresses[BLOCKS];
  unsigned current;
  uint64_t address;
};

cfloor_memory *cfloor_memory_make(void) { return calloc(1, sizeof(cfloor_memory)); }

int cfloor_memory_write(
  cfloor_memory *log, const uint8_t *payload, size_t payload_bytes, uint64_t records
) {
  size_t frame = HEADER_BYTES + payload_bytes;
  if (frame > BLOCK_BYTES) return EMSGSIZE;
  for (uint64_t i = 0; i < records; i++) {
    unsigned block = log->current;
    if (log->blocks[block] == NULL || log->used[block] + frame > BLOCK_BYTES) {
      if (log->blocks[block] != NULL) block = log->current = (block + 1) % BLOCKS;
      if (log->blocks[block] == NULL) log->blocks[block] = malloc(BLOCK_BYTES);
      if (log->blocks[block] == NULL) return ENOMEM;
      log->used[block] = 0;
      log->addresses[block] = log->address;
    }
    uint8_t *place = log->blocks[block] + log->used[block];
    uint32_t length = (uint32_t)payload_bytes;
    uint32_t checksum = (uint32_t)XXH3_64bits_withSeed(payload, payload_bytes, log->address);
    memcpy(place, &length, 4);
    memcpy(place + 4, &checksum, 4);
    memcpy(place + HEADER_BYTES, payload, payload_bytes);
    log->used[block] += frame;
    log->address += frame;
  }
  return 0;
}

int64_t cfloor_memory_read(const cfloor_memory *log) {
  int64_t payload_bytes = 0;
  for (unsigned i = 1; i <= BLOCKS; i++) {
    unsigned block = (log->current + i) % BLOCKS;
    const uint8_t *bytes = log->blocks[block];
    if (bytes == NULL) continue;
    uint64_t address = log->addresses[block];
    for (size_t offset = 0; offset < log->used[block];) {
      uint32_t length;
      uint32_t checksum;
      memcpy(&length, bytes + offset, 4);
      memcpy(&checksum, bytes + offset + 4, 4);
      const uint8_t *payload = bytes + offset + HEADER_BYTES;
      if ((uint32_t)XXH3_64bits_withSeed(payload, length, address) != checksum) return -1;
      offset += HEADER_BYTES + length;
      address += HEADER_BYTES + length;
      payload_bytes += length;
    }
  }
  return payload_bytes;
}

void cfloor_memory_free(cfloor_memory *log) {
  if (log == NULL) return;
  for (unsigned i = 0; i < BLOCKS; i++) free(log->blocks[i]);
  free(log);
}
