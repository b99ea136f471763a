// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

#include "CFloor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

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
