// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// write(2): a program without a library. A frame is the length (8 bytes) and the payload.

#include "peers.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_BYTES = 8 };

struct store {
  int file;
  /// Held while appending.
  pthread_mutex_t lock;
  uint8_t *frame;
  size_t frame_room;
};

static void *open_store(const char *directory, int is_synced) {
  char path[4096];
  snprintf(path, sizeof path, "%s/records", directory);
  int file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) {
    cpeers_fail_errno(path);
    return NULL;
  }
  struct store *store = calloc(1, sizeof *store);
  if (store == NULL) cpeers_fail_errno("calloc");
  if (store == NULL || (is_synced && cpeers_sync_directory(directory) != 0)) {
    free(store);
    close(file);
    return NULL;
  }
  store->file = file;
  pthread_mutex_init(&store->lock, NULL);
  return store;
}

/// Makes the buffer large enough for a frame of this payload. Returns 0 or -1.
static int make_room(struct store *store, size_t bytes) {
  size_t room = HEADER_BYTES + bytes;
  if (room <= store->frame_room) return 0;
  uint8_t *frame = realloc(store->frame, room);
  if (frame == NULL) return cpeers_fail_errno("realloc");
  store->frame = frame;
  store->frame_room = room;
  return 0;
}

static int append_one(struct store *store, const uint8_t *payload, uint64_t bytes) {
  // In ns a record, with this copy and with writev of header and payload: 1193 and 1310 at 20 B,
  // 1224 and 1414 at 100 B, 2252 and 2373 at 1 KiB, 15110 and 15472 at 16 KiB.
  memcpy(store->frame, &bytes, HEADER_BYTES);
  memcpy(store->frame + HEADER_BYTES, payload, bytes);
  const uint8_t *rest = store->frame;
  size_t count = HEADER_BYTES + bytes;
  while (count > 0) {
    ssize_t written = write(store->file, rest, count);
    if (written < 0) return cpeers_fail_errno("write");
    rest += written;
    count -= (size_t)written;
  }
  return 0;
}

static int append(void *handle, const uint8_t *payload, uint64_t bytes, uint64_t count) {
  struct store *store = handle;
  pthread_mutex_lock(&store->lock);
  int result = make_room(store, bytes);
  for (uint64_t i = 0; i < count && result == 0; i++) result = append_one(store, payload, bytes);
  pthread_mutex_unlock(&store->lock);
  return result;
}

static int append_synced(void *handle, const uint8_t *payload, uint64_t bytes) {
  struct store *store = handle;
  pthread_mutex_lock(&store->lock);
  int result = make_room(store, bytes);
  if (result == 0) result = append_one(store, payload, bytes);
  if (result == 0 && fdatasync(store->file) != 0) result = cpeers_fail_errno("fdatasync");
  pthread_mutex_unlock(&store->lock);
  return result;
}

static int64_t scan(void *handle, int copies) {
  struct store *store = handle;
  struct stat status;
  if (fstat(store->file, &status) != 0) return cpeers_fail_errno("fstat");
  uint64_t end = (uint64_t)status.st_size;
  size_t room = CPEERS_BUFFER_BYTES;
  uint8_t *buffer = malloc(room);
  if (buffer == NULL) return cpeers_fail_errno("malloc");
  uint64_t offset = 0;
  int64_t seen = 0;
  while (offset < end) {
    ssize_t count = pread(store->file, buffer, room, (off_t)offset);
    if (count < 0) {
      seen = cpeers_fail_errno("pread");
      break;
    }
    size_t used = 0;
    size_t frame = 0;
    while (used + HEADER_BYTES <= (size_t)count) {
      uint64_t length;
      memcpy(&length, buffer + used, HEADER_BYTES);
      if (length > end - offset - used - HEADER_BYTES) goto incomplete;
      frame = HEADER_BYTES + length;
      if (frame > (size_t)count - used) break;
      if (cpeers_take(buffer + used + HEADER_BYTES, length, copies, &seen) != 0) goto failed;
      used += frame;
    }
    offset += used;
    if (used > 0) continue;
    // No whole frame was read: the frame is longer than the buffer, or it is incomplete.
    if (frame <= room) goto incomplete;
    uint8_t *larger = realloc(buffer, frame);
    if (larger == NULL) {
      cpeers_fail_errno("realloc");
      goto failed;
    }
    buffer = larger;
    room = frame;
  }
  free(buffer);
  return seen;

incomplete:
  cpeers_fail("records", "the last record is not complete");
failed:
  free(buffer);
  return -1;
}

static int close_store(void *handle) {
  struct store *store = handle;
  int result = close(store->file) == 0 ? 0 : cpeers_fail_errno("close");
  pthread_mutex_destroy(&store->lock);
  free(store->frame);
  free(store);
  return result;
}

const cpeer cpeers_write = {
  .name = "write(2)",
  .settings =
    "Each record is one write(2) of its length (8 bytes) and the payload, which are copied into"
    " one buffer. There is no checksum. Reading is pread(2) of 256 KiB, and verifies nothing."
    " Synced: write and fdatasync under a mutex.",
  .open = open_store,
  .append = append,
  .append_synced = append_synced,
  .scan = scan,
  .close = close_store,
};
