// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// The C library's buffered files. A frame is the length (8 bytes) and the payload.

// For the functions that take no lock.
#define _GNU_SOURCE

#include "peers.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

enum { HEADER_BYTES = 8 };

struct store {
  FILE *file;
  char *buffer;
  /// Held while appending.
  pthread_mutex_t lock;
  char path[4096];
};

static void *open_store(const char *directory, int is_synced) {
  struct store *store = calloc(1, sizeof *store);
  if (store == NULL) {
    cpeers_fail_errno("calloc");
    return NULL;
  }
  snprintf(store->path, sizeof store->path, "%s/records", directory);
  store->buffer = malloc(CPEERS_BUFFER_BYTES);
  store->file = fopen(store->path, "abe");
  if (store->buffer == NULL || store->file == NULL) {
    cpeers_fail_errno(store->path);
    goto failed;
  }
  // In ns a record, with this buffer and with the default one of 4 KiB: 28 and 63 at 20 B, 53 and
  // 166 at 100 B, 363 and 1378 at 1 KiB.
  if (setvbuf(store->file, store->buffer, _IOFBF, CPEERS_BUFFER_BYTES) != 0) {
    cpeers_fail_errno("setvbuf");
    goto failed;
  }
  if (is_synced && cpeers_sync_directory(directory) != 0) goto failed;
  pthread_mutex_init(&store->lock, NULL);
  return store;

failed:
  if (store->file != NULL) fclose(store->file);
  free(store->buffer);
  free(store);
  return NULL;
}

static int append_one(struct store *store, const uint8_t *payload, uint64_t bytes) {
  if (
    fwrite_unlocked(&bytes, HEADER_BYTES, 1, store->file) != 1
    || fwrite_unlocked(payload, 1, bytes, store->file) != bytes
  ) {
    return cpeers_fail_errno("fwrite");
  }
  return 0;
}

static int append(void *handle, const uint8_t *payload, uint64_t bytes, uint64_t count) {
  struct store *store = handle;
  int result = 0;
  pthread_mutex_lock(&store->lock);
  for (uint64_t i = 0; i < count && result == 0; i++) result = append_one(store, payload, bytes);
  if (result == 0 && fflush_unlocked(store->file) != 0) result = cpeers_fail_errno("fflush");
  pthread_mutex_unlock(&store->lock);
  return result;
}

static int append_synced(void *handle, const uint8_t *payload, uint64_t bytes) {
  struct store *store = handle;
  pthread_mutex_lock(&store->lock);
  int result = append_one(store, payload, bytes);
  if (result == 0 && fflush_unlocked(store->file) != 0) result = cpeers_fail_errno("fflush");
  if (result == 0 && fdatasync(fileno_unlocked(store->file)) != 0) {
    result = cpeers_fail_errno("fdatasync");
  }
  pthread_mutex_unlock(&store->lock);
  return result;
}

static int64_t scan(void *handle, int copies) {
  struct store *store = handle;
  FILE *file = fopen(store->path, "rbe");
  if (file == NULL) return cpeers_fail_errno(store->path);
  char *buffer = malloc(CPEERS_BUFFER_BYTES);
  uint8_t *payload = NULL;
  uint64_t room = 0;
  int64_t seen = 0;
  if (buffer == NULL || setvbuf(file, buffer, _IOFBF, CPEERS_BUFFER_BYTES) != 0) {
    seen = cpeers_fail_errno("setvbuf");
  }
  while (seen >= 0) {
    uint64_t bytes;
    size_t header = fread_unlocked(&bytes, 1, HEADER_BYTES, file);
    if (header == 0 && feof_unlocked(file)) break;
    if (header == HEADER_BYTES && bytes > room) {
      uint8_t *larger = realloc(payload, bytes);
      if (larger == NULL) {
        seen = cpeers_fail_errno("realloc");
        break;
      }
      payload = larger;
      room = bytes;
    }
    if (header != HEADER_BYTES || fread_unlocked(payload, 1, bytes, file) != bytes) {
      seen = ferror_unlocked(file)
        ? cpeers_fail_errno("fread") : cpeers_fail("records", "the last record is not complete");
      break;
    }
    if (cpeers_take(payload, bytes, copies, &seen) != 0) seen = -1;
  }
  // The buffer must outlive the file.
  fclose(file);
  free(buffer);
  free(payload);
  return seen;
}

static int close_store(void *handle) {
  struct store *store = handle;
  int result = fclose(store->file) == 0 ? 0 : cpeers_fail_errno("fclose");
  pthread_mutex_destroy(&store->lock);
  free(store->buffer);
  free(store);
  return result;
}

const cpeer cpeers_stdio = {
  .name = "stdio",
  .settings =
    "Each record is an fwrite of its length (8 bytes) and one of the payload, by the functions"
    " that take no lock, through a buffer of 256 KiB. At the end comes an fflush. There is no"
    " checksum, and fread verifies nothing. Synced: fwrite, fflush and fdatasync under a mutex.",
  .open = open_store,
  .append = append,
  .append_synced = append_synced,
  .scan = scan,
  .close = close_store,
};
