// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// LMDB: a B+ tree in a memory map.

#include "peers.h"

#include <lmdb.h>

/// The address space of the map, which is also the largest size of a store. The file is sparse.
static const size_t map_bytes = (size_t)64 << 30;

struct store {
  MDB_env *environment;
  MDB_dbi records;
  /// The key of the next record. Use it only while holding the write transaction.
  size_t next;
  int is_synced;
};

/// Stores LMDB's message for the code for `cpeers_error`, and returns -1.
static int fail(const char *what, int code) { return cpeers_fail(what, mdb_strerror(code)); }

/// Opens the database in a fresh environment, and finds its last key. Returns a code of LMDB.
static int open_records(struct store *store) {
  MDB_txn *transaction;
  int code = mdb_txn_begin(store->environment, NULL, 0, &transaction);
  if (code != 0) return code;
  code = mdb_dbi_open(transaction, NULL, MDB_INTEGERKEY | MDB_CREATE, &store->records);
  MDB_cursor *cursor;
  if (code == 0) code = mdb_cursor_open(transaction, store->records, &cursor);
  if (code == 0) {
    MDB_val key, value;
    code = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    if (code == 0) memcpy(&store->next, key.mv_data, sizeof store->next);
    if (code == 0) store->next++;
    if (code == MDB_NOTFOUND) code = 0;
    mdb_cursor_close(cursor);
  }
  if (code == 0) return mdb_txn_commit(transaction);
  mdb_txn_abort(transaction);
  return code;
}

static void *open_store(const char *directory, int is_synced) {
  struct store *store = calloc(1, sizeof *store);
  if (store == NULL) {
    cpeers_fail_errno("calloc");
    return NULL;
  }
  store->is_synced = is_synced;
  int code = mdb_env_create(&store->environment);
  if (code == 0) code = mdb_env_set_mapsize(store->environment, map_bytes);
  if (code == 0) {
    // Measured with and without MDB_WRITEMAP:
    // - Unsynced, in ns a record: 88 with it and 110 without at 20 B, 132 and 114 at 100 B, 2290
    //   and 645 at 1 KiB, 6950 and 8540 at 16 KiB.
    // - Synced, in records a second: 2790 and 3640 by one thread, 3640 and 2730 by 64.
    unsigned flags = is_synced ? 0 : MDB_NOSYNC;
    code = mdb_env_open(store->environment, directory, flags, 0600);
  }
  if (code == 0) code = open_records(store);
  if (code == 0) return store;
  fail(directory, code);
  if (store->environment != NULL) mdb_env_close(store->environment);
  free(store);
  return NULL;
}

/// Appends `count` records in one transaction.
static int append_batch(
  struct store *store, const uint8_t *payload, uint64_t bytes, uint64_t count
) {
  MDB_txn *transaction;
  int code = mdb_txn_begin(store->environment, NULL, 0, &transaction);
  if (code != 0) return fail("mdb_txn_begin", code);
  size_t number = store->next;
  MDB_cursor *cursor;
  code = mdb_cursor_open(transaction, store->records, &cursor);
  if (code == 0) {
    for (uint64_t i = 0; i < count && code == 0; i++, number++) {
      MDB_val key = {sizeof number, &number};
      MDB_val value = {bytes, (void *)(uintptr_t)payload};
      code = mdb_cursor_put(cursor, &key, &value, MDB_APPEND);
    }
    mdb_cursor_close(cursor);
  }
  if (code != 0) {
    mdb_txn_abort(transaction);
    return fail("mdb_cursor_put", code);
  }
  // Set before the commit, which releases the lock. If the commit fails, the keys have a gap.
  store->next = number;
  code = mdb_txn_commit(transaction);
  if (code != 0) return fail("mdb_txn_commit", code);
  // After the fdatasync of the data, LMDB writes the meta page through a descriptor that was opened
  // with O_DSYNC. That is a second wait for the disk, and none of the counted calls makes it.
  if (store->is_synced) cpeers_count_sync();
  return 0;
}

static int append(void *handle, const uint8_t *payload, uint64_t bytes, uint64_t count) {
  for (uint64_t done = 0; done < count; done += CPEERS_BATCH) {
    uint64_t batch = count - done < CPEERS_BATCH ? count - done : CPEERS_BATCH;
    if (append_batch(handle, payload, bytes, batch) != 0) return -1;
  }
  return 0;
}

static int append_synced(void *handle, const uint8_t *payload, uint64_t bytes) {
  return append_batch(handle, payload, bytes, 1);
}

static int64_t scan(void *handle, int copies) {
  struct store *store = handle;
  MDB_txn *transaction;
  MDB_cursor *cursor;
  int code = mdb_txn_begin(store->environment, NULL, MDB_RDONLY, &transaction);
  if (code != 0) return fail("mdb_txn_begin", code);
  code = mdb_cursor_open(transaction, store->records, &cursor);
  if (code != 0) {
    mdb_txn_abort(transaction);
    return fail("mdb_cursor_open", code);
  }
  int64_t seen = 0;
  MDB_val key, value;
  while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
    if (cpeers_take(value.mv_data, value.mv_size, copies, &seen) != 0) {
      seen = -1;
      break;
    }
  }
  if (code != 0 && code != MDB_NOTFOUND) seen = fail("mdb_cursor_get", code);
  mdb_cursor_close(cursor);
  mdb_txn_abort(transaction);
  return seen;
}

static int close_store(void *handle) {
  struct store *store = handle;
  mdb_env_close(store->environment);
  free(store);
  return 0;
}

const cpeer cpeers_lmdb = {
  .name = "LMDB",
  .settings =
    "Keys of 8 bytes with MDB_INTEGERKEY, put by a cursor with MDB_APPEND. 1,000 records a"
    " transaction. A map of 64 GiB. If nothing is synced, MDB_NOSYNC. MDB_WRITEMAP was a fifth"
    " faster at 20 B and several times slower at 1 KiB, so it is off. Reading is a cursor over"
    " the map. It copies nothing, and verifies nothing, because there is no checksum. Synced: the"
    " default, a transaction a record. LMDB's own lock admits one transaction at a time. Each"
    " sync is one fdatasync and one write with O_DSYNC.",
  .open = open_store,
  .append = append,
  .append_synced = append_synced,
  .scan = scan,
  .close = close_store,
};
