// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// LevelDB, through its C interface. It is a log-structured merge tree.

#include "peers.h"

#include <leveldb/c.h>
#include <stdatomic.h>
#include <stdio.h>

struct store {
  leveldb_t *database;
  leveldb_options_t *options;
  leveldb_writeoptions_t *unsynced;
  leveldb_writeoptions_t *synced;
  leveldb_readoptions_t *reading;
  leveldb_writebatch_t *batch;
  /// The key of the next record.
  atomic_uint_fast64_t next;
};

/// Stores LevelDB's message for `cpeers_error`, frees it, and returns -1.
static int fail(const char *what, char *error) {
  cpeers_fail(what, error);
  leveldb_free(error);
  return -1;
}

static void free_store(struct store *store) {
  if (store->database != NULL) leveldb_close(store->database);
  leveldb_writebatch_destroy(store->batch);
  leveldb_readoptions_destroy(store->reading);
  leveldb_writeoptions_destroy(store->synced);
  leveldb_writeoptions_destroy(store->unsynced);
  leveldb_options_destroy(store->options);
  free(store);
}

/// Finds the last key. Returns 0 or -1.
static int find_end(struct store *store) {
  leveldb_iterator_t *iterator = leveldb_create_iterator(store->database, store->reading);
  leveldb_iter_seek_to_last(iterator);
  uint64_t next = 0;
  if (leveldb_iter_valid(iterator)) {
    size_t bytes;
    const char *key = leveldb_iter_key(iterator, &bytes);
    next = cpeers_number_of_key(key) + 1;
  }
  char *error = NULL;
  leveldb_iter_get_error(iterator, &error);
  leveldb_iter_destroy(iterator);
  atomic_init(&store->next, next);
  return error == NULL ? 0 : fail("leveldb_iter_seek_to_last", error);
}

static void *open_store(const char *directory, int is_synced) {
  (void)is_synced;
  struct store *store = calloc(1, sizeof *store);
  if (store == NULL) {
    cpeers_fail_errno("calloc");
    return NULL;
  }
  store->options = leveldb_options_create();
  leveldb_options_set_create_if_missing(store->options, 1);
  leveldb_options_set_compression(store->options, leveldb_no_compression);
  // Medians of a busy machine, in ns a record of 20 B, 100 B and 1 KiB:
  // - With a write buffer of 64 MiB, and the other sizes as they are: 695, 1123 and 4955.
  // - With files of 64 MiB too: 684, 1074 and 6440.
  // - With blocks of 64 KiB as well: 727, 1006 and 4121.
  // With the default write buffer of 4 MiB, 1 KiB took 9700 or more.
  leveldb_options_set_write_buffer_size(store->options, (size_t)64 << 20);
  leveldb_options_set_max_file_size(store->options, (size_t)64 << 20);
  leveldb_options_set_block_size(store->options, (size_t)64 << 10);
  store->unsynced = leveldb_writeoptions_create();
  store->synced = leveldb_writeoptions_create();
  leveldb_writeoptions_set_sync(store->synced, 1);
  store->reading = leveldb_readoptions_create();
  leveldb_readoptions_set_verify_checksums(store->reading, 1);
  leveldb_readoptions_set_fill_cache(store->reading, 0);
  store->batch = leveldb_writebatch_create();
  char *error = NULL;
  store->database = leveldb_open(store->options, directory, &error);
  if (error != NULL) fail(directory, error);
  if (store->database != NULL && find_end(store) == 0) return store;
  free_store(store);
  return NULL;
}

static int append(void *handle, const uint8_t *payload, uint64_t bytes, uint64_t count) {
  struct store *store = handle;
  uint64_t number = atomic_fetch_add(&store->next, count);
  uint64_t end = number + count;
  while (number < end) {
    leveldb_writebatch_clear(store->batch);
    for (int i = 0; i < CPEERS_BATCH && number < end; i++, number++) {
      char key[CPEERS_KEY_BYTES];
      cpeers_make_key(number, key);
      leveldb_writebatch_put(store->batch, key, sizeof key, (const char *)payload, bytes);
    }
    char *error = NULL;
    leveldb_write(store->database, store->unsynced, store->batch, &error);
    if (error != NULL) return fail("leveldb_write", error);
  }
  return 0;
}

static int append_synced(void *handle, const uint8_t *payload, uint64_t bytes) {
  struct store *store = handle;
  char key[CPEERS_KEY_BYTES];
  cpeers_make_key(atomic_fetch_add(&store->next, 1), key);
  char *error = NULL;
  leveldb_put(
    store->database, store->synced, key, sizeof key, (const char *)payload, bytes, &error);
  return error == NULL ? 0 : fail("leveldb_put", error);
}

static int64_t scan(void *handle, int copies) {
  struct store *store = handle;
  leveldb_iterator_t *iterator = leveldb_create_iterator(store->database, store->reading);
  int64_t seen = 0;
  leveldb_iter_seek_to_first(iterator);
  for (; seen >= 0 && leveldb_iter_valid(iterator); leveldb_iter_next(iterator)) {
    size_t bytes;
    const char *payload = leveldb_iter_value(iterator, &bytes);
    if (cpeers_take(payload, bytes, copies, &seen) != 0) seen = -1;
  }
  char *error = NULL;
  leveldb_iter_get_error(iterator, &error);
  if (error != NULL) seen = fail("leveldb_iter_next", error);
  leveldb_iter_destroy(iterator);
  return seen;
}

static int close_store(void *handle) {
  free_store(handle);
  return 0;
}

const char *cpeers_leveldb_version(void) {
  static _Thread_local char text[32];
  snprintf(
    text, sizeof text, "LevelDB %d.%d", leveldb_major_version(), leveldb_minor_version());
  return text;
}

const cpeer cpeers_leveldb = {
  .name = "LevelDB",
  .settings =
    "Keys of 8 bytes, big-endian. Write batches of 1,000 records. A write buffer and files of 64"
    " MiB. Blocks of 64 KiB, as its documentation says for bulk scans. No compression. An"
    " unsynced put still waits if the write buffer is full and its predecessor is being written."
    " Reading is an iterator that verifies checksums and fills no cache. Synced: a put a record"
    " with sync=1. LevelDB itself combines the puts of waiting threads into one sync.",
  .open = open_store,
  .append = append,
  .append_synced = append_synced,
  .scan = scan,
  .close = close_store,
};
