// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// RocksDB, through its C interface. It is a log-structured merge tree.

// For dladdr.
#define _GNU_SOURCE

#include "peers.h"

#include <dlfcn.h>
#include <limits.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

struct store {
  rocksdb_t *database;
  rocksdb_options_t *options;
  rocksdb_writeoptions_t *unsynced;
  rocksdb_writeoptions_t *synced;
  rocksdb_readoptions_t *reading;
  rocksdb_writebatch_t *batch;
  /// The key of the next record.
  atomic_uint_fast64_t next;
};

/// Stores RocksDB's message for `cpeers_error`, frees it, and returns -1.
static int fail(const char *what, char *error) {
  cpeers_fail(what, error);
  rocksdb_free(error);
  return -1;
}

static void free_store(struct store *store) {
  if (store->database != NULL) rocksdb_close(store->database);
  rocksdb_writebatch_destroy(store->batch);
  rocksdb_readoptions_destroy(store->reading);
  rocksdb_writeoptions_destroy(store->synced);
  rocksdb_writeoptions_destroy(store->unsynced);
  rocksdb_options_destroy(store->options);
  free(store);
}

/// Finds the last key. Returns 0 or -1.
static int find_end(struct store *store) {
  rocksdb_iterator_t *iterator = rocksdb_create_iterator(store->database, store->reading);
  rocksdb_iter_seek_to_last(iterator);
  uint64_t next = 0;
  if (rocksdb_iter_valid(iterator)) {
    size_t bytes;
    const char *key = rocksdb_iter_key(iterator, &bytes);
    next = cpeers_number_of_key(key) + 1;
  }
  char *error = NULL;
  rocksdb_iter_get_error(iterator, &error);
  rocksdb_iter_destroy(iterator);
  atomic_init(&store->next, next);
  return error == NULL ? 0 : fail("rocksdb_iter_seek_to_last", error);
}

static void *open_store(const char *directory, int is_synced) {
  struct store *store = calloc(1, sizeof *store);
  if (store == NULL) {
    cpeers_fail_errno("calloc");
    return NULL;
  }
  store->options = rocksdb_options_create();
  rocksdb_options_set_create_if_missing(store->options, 1);
  rocksdb_options_set_compression(store->options, rocksdb_no_compression);
  rocksdb_options_set_write_buffer_size(store->options, (size_t)64 << 20);
  // Threads that write at once take turns at the table in memory, and sleep until their turn
  // instead of spinning. Synced puts a second by 64 threads, medians of three on two cores:
  // - 22,600 with the defaults.
  // - 43,900 with turns.
  // - 59,900 with turns and without spinning.
  // - With turns and one more option: 43,100 with pipelined writes, 43,400 with recycled logs,
  //   45,600 with four background jobs.
  rocksdb_options_set_allow_concurrent_memtable_write(store->options, 0);
  rocksdb_options_set_enable_write_thread_adaptive_yield(store->options, 0);
  // Medians of three on a busy machine, unsynced, in ns a record of 20 B, 100 B and 1 KiB:
  // - With the skip list, and a hint for the position of each batch: 573, 739 and 2559.
  // - With the vector: 269, 795 and 3105.
  // The vector holds the records in the order of arrival. It is sorted when it is read or written
  // out. A close that waits for that takes longer, by about 400 ns a record of 20 B.
  if (!is_synced) rocksdb_options_set_memtable_vector_rep(store->options);
  rocksdb_block_based_table_options_t *tables = rocksdb_block_based_options_create();
  rocksdb_block_based_options_set_block_size(tables, (size_t)64 << 10);
  rocksdb_options_set_block_based_table_factory(store->options, tables);
  rocksdb_block_based_options_destroy(tables);
  store->unsynced = rocksdb_writeoptions_create();
  store->synced = rocksdb_writeoptions_create();
  rocksdb_writeoptions_set_sync(store->synced, 1);
  store->reading = rocksdb_readoptions_create();
  rocksdb_readoptions_set_verify_checksums(store->reading, 1);
  rocksdb_readoptions_set_fill_cache(store->reading, 0);
  rocksdb_readoptions_set_readahead_size(store->reading, (size_t)2 << 20);
  store->batch = rocksdb_writebatch_create();
  char *error = NULL;
  store->database = rocksdb_open(store->options, directory, &error);
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
    rocksdb_writebatch_clear(store->batch);
    for (int i = 0; i < CPEERS_BATCH && number < end; i++, number++) {
      char key[CPEERS_KEY_BYTES];
      cpeers_make_key(number, key);
      rocksdb_writebatch_put(store->batch, key, sizeof key, (const char *)payload, bytes);
    }
    char *error = NULL;
    rocksdb_write(store->database, store->unsynced, store->batch, &error);
    if (error != NULL) return fail("rocksdb_write", error);
  }
  return 0;
}

static int append_synced(void *handle, const uint8_t *payload, uint64_t bytes) {
  struct store *store = handle;
  char key[CPEERS_KEY_BYTES];
  cpeers_make_key(atomic_fetch_add(&store->next, 1), key);
  char *error = NULL;
  rocksdb_put(
    store->database, store->synced, key, sizeof key, (const char *)payload, bytes, &error);
  return error == NULL ? 0 : fail("rocksdb_put", error);
}

static int64_t scan(void *handle, int copies) {
  struct store *store = handle;
  rocksdb_iterator_t *iterator = rocksdb_create_iterator(store->database, store->reading);
  int64_t seen = 0;
  rocksdb_iter_seek_to_first(iterator);
  for (; seen >= 0 && rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
    size_t bytes;
    const char *payload = rocksdb_iter_value(iterator, &bytes);
    if (cpeers_take(payload, bytes, copies, &seen) != 0) seen = -1;
  }
  char *error = NULL;
  rocksdb_iter_get_error(iterator, &error);
  if (error != NULL) seen = fail("rocksdb_iter_next", error);
  rocksdb_iter_destroy(iterator);
  return seen;
}

static int close_store(void *handle) {
  free_store(handle);
  return 0;
}

const char *cpeers_rocksdb_version(void) {
  // The C interface does not report a version. The name of the library's file contains it.
  static _Thread_local char text[PATH_MAX];
  Dl_info info;
  void *function = dlsym(RTLD_DEFAULT, "rocksdb_open");
  if (function == NULL || dladdr(function, &info) == 0) return "RocksDB";
  if (realpath(info.dli_fname, text) == NULL) return "RocksDB";
  const char *name = strrchr(text, '/');
  return name != NULL ? name + 1 : text;
}

const cpeer cpeers_rocksdb = {
  .name = "RocksDB",
  .settings =
    "Keys of 8 bytes, big-endian. The write-ahead log is on. Write batches of 1,000 records. A"
    " write buffer of 64 MiB. Blocks of 64 KiB. No compression. If nothing is synced, the table"
    " in memory is the vector. Its header says that it is for writing while nothing is read. It"
    " halves the time of a put of 20 B. It leaves the sorting to the background, to close, or to"
    " the reader of a store that is not reopened. An unsynced put still waits if the write buffer"
    " is full and its predecessor is being written. Reading is an iterator that verifies"
    " checksums, fills no cache and reads 2 MiB ahead. Synced: a put a record with sync=1, and"
    " allow_concurrent_memtable_write and enable_write_thread_adaptive_yield off. Together, the"
    " last two were more than twice as fast with 64 threads. RocksDB itself combines the puts of"
    " waiting threads into one sync.",
  .open = open_store,
  .append = append,
  .append_synced = append_synced,
  .scan = scan,
  .close = close_store,
};
