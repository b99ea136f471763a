// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// SQLite: a table in a B-tree, with a write-ahead log.

#include "peers.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>

struct store {
  sqlite3 *database;
  sqlite3_stmt *insert;
  /// All threads share the connection, and hold this lock while they use it. Synced records a
  /// second by 64 threads: 3600, and 350 on a disk whose sync took 4 ms. If each thread has its own
  /// connection, with a busy timeout and BEGIN IMMEDIATE: 260 to 330, and 170.
  pthread_mutex_t lock;
};

/// Stores SQLite's message for the last call on the connection for `cpeers_error`, and returns -1.
static int fail(const struct store *store, const char *what) {
  return cpeers_fail(what, sqlite3_errmsg(store->database));
}

static int execute(struct store *store, const char *statement) {
  int code = sqlite3_exec(store->database, statement, NULL, NULL, NULL);
  return code == SQLITE_OK ? 0 : fail(store, statement);
}

static int close_store(void *handle) {
  struct store *store = handle;
  sqlite3_finalize(store->insert);
  int result = 0;
  // Fails if a statement of the connection is still open. If there is no connection, NULL is no
  // error.
  if (sqlite3_close(store->database) != SQLITE_OK) result = fail(store, "sqlite3_close");
  pthread_mutex_destroy(&store->lock);
  free(store);
  return result;
}

/// Sets up the connection. Makes the table if it is missing, and the statement. Returns 0 or -1.
static int prepare(struct store *store, int is_synced) {
  // Medians, unsynced, in ns a record, with pages of 4, 16, 32 and 64 KiB:
  // - 20 B: 770, 660, 665 and 605.
  // - 100 B: 755, 825, 586 and 574.
  // - 1 KiB: 4400, 2085, 1655 and 1730.
  // - 16 KiB: 54200, 25600, 39700 and 22200.
  // A map of the file, an exclusive lock and a larger cache brought no clear gain. A synced commit
  // writes whole pages, so with syncs the pages stay small.
  if (!is_synced && execute(store, "PRAGMA page_size=65536") != 0) return -1;
  if (execute(store, "PRAGMA journal_mode=WAL") != 0) return -1;
  // With NORMAL, the commit that does the checkpoint waits for two syncs.
  const char *synchronous = is_synced ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=OFF";
  if (execute(store, synchronous) != 0) return -1;
  const char *table =
    "CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, payload BLOB)";
  if (execute(store, table) != 0) return -1;
  int code = sqlite3_prepare_v3(
    store->database, "INSERT INTO records (payload) VALUES (?)", -1, SQLITE_PREPARE_PERSISTENT,
    &store->insert, NULL);
  return code == SQLITE_OK ? 0 : fail(store, "sqlite3_prepare");
}

static void *open_store(const char *directory, int is_synced) {
  struct store *store = calloc(1, sizeof *store);
  if (store == NULL) {
    cpeers_fail_errno("calloc");
    return NULL;
  }
  pthread_mutex_init(&store->lock, NULL);
  char path[4096];
  snprintf(path, sizeof path, "%s/records.db", directory);
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  int code = sqlite3_open_v2(path, &store->database, flags, NULL);
  if (code == SQLITE_OK && prepare(store, is_synced) == 0) return store;
  if (code != SQLITE_OK) fail(store, path);
  close_store(store);
  return NULL;
}

static int append_one(struct store *store, const uint8_t *payload, uint64_t bytes) {
  // SQLITE_STATIC: the payload does not move until the statement has run.
  if (
    sqlite3_bind_blob64(store->insert, 1, payload, bytes, SQLITE_STATIC) != SQLITE_OK
    || sqlite3_step(store->insert) != SQLITE_DONE
  ) {
    int result = fail(store, "INSERT");
    sqlite3_reset(store->insert);
    return result;
  }
  return sqlite3_reset(store->insert) == SQLITE_OK ? 0 : fail(store, "INSERT");
}

static int append_batch(
  struct store *store, const uint8_t *payload, uint64_t bytes, uint64_t count
) {
  if (execute(store, "BEGIN IMMEDIATE") != 0) return -1;
  int result = 0;
  for (uint64_t i = 0; i < count && result == 0; i++) {
    result = append_one(store, payload, bytes);
  }
  if (result == 0) result = execute(store, "COMMIT");
  // The reason is already stored. A failure of the rollback is not the reason, so it is ignored.
  if (result != 0) sqlite3_exec(store->database, "ROLLBACK", NULL, NULL, NULL);
  return result;
}

static int append(void *handle, const uint8_t *payload, uint64_t bytes, uint64_t count) {
  struct store *store = handle;
  pthread_mutex_lock(&store->lock);
  int result = 0;
  for (uint64_t done = 0; done < count && result == 0; done += CPEERS_BATCH) {
    uint64_t batch = count - done < CPEERS_BATCH ? count - done : CPEERS_BATCH;
    result = append_batch(store, payload, bytes, batch);
  }
  pthread_mutex_unlock(&store->lock);
  return result;
}

static int append_synced(void *handle, const uint8_t *payload, uint64_t bytes) {
  struct store *store = handle;
  pthread_mutex_lock(&store->lock);
  // A statement outside a transaction is a transaction by itself.
  int result = append_one(store, payload, bytes);
  pthread_mutex_unlock(&store->lock);
  return result;
}

static int64_t scan(void *handle, int copies) {
  struct store *store = handle;
  pthread_mutex_lock(&store->lock);
  sqlite3_stmt *select = NULL;
  int64_t seen = 0;
  int code = sqlite3_prepare_v2(
    store->database, "SELECT payload FROM records ORDER BY id", -1, &select, NULL);
  if (code == SQLITE_OK) {
    while (seen >= 0 && (code = sqlite3_step(select)) == SQLITE_ROW) {
      const void *payload = sqlite3_column_blob(select, 0);
      int bytes = sqlite3_column_bytes(select, 0);
      if (cpeers_take(payload, (size_t)bytes, copies, &seen) != 0) seen = -1;
    }
  }
  if (seen >= 0 && code != SQLITE_DONE) seen = fail(store, "SELECT");
  sqlite3_finalize(select);
  pthread_mutex_unlock(&store->lock);
  return seen;
}

const cpeer cpeers_sqlite = {
  .name = "SQLite",
  .settings =
    "A table with an INTEGER PRIMARY KEY, one prepared INSERT, 1,000 records a transaction, and a"
    " write-ahead log. If nothing is synced, synchronous=OFF and pages of 64 KiB. With NORMAL, a"
    " caller waits for the sync of a checkpoint. Reading is a SELECT in order. There is no"
    " checksum to verify. Synced: synchronous=FULL, pages of 4 KiB, and a transaction a record."
    " All threads share one connection under a mutex, which was two to ten times faster than a"
    " connection for each.",
  .open = open_store,
  .append = append,
  .append_synced = append_synced,
  .scan = scan,
  .close = close_store,
};
