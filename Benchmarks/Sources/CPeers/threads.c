// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

#include "peers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/// The data that all threads of one measurement share.
struct run {
  const cpeer *peer;
  void *store;
  const uint8_t *payload;
  uint64_t bytes;
  uint64_t each;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  /// Guarded by the lock: the number of threads that have reached the start, and whether they may
  /// start.
  uint32_t ready;
  bool started;
  /// Set if a call failed, so that the other threads need not finish.
  atomic_bool failed;
};

struct worker {
  struct run *run;
  uint64_t *latencies;
  uint64_t end;
  pthread_t thread;
};

static void *work(void *argument) {
  struct worker *worker = argument;
  struct run *run = worker->run;
  pthread_mutex_lock(&run->lock);
  run->ready++;
  pthread_cond_broadcast(&run->changed);
  while (!run->started) pthread_cond_wait(&run->changed, &run->lock);
  pthread_mutex_unlock(&run->lock);
  for (uint64_t i = 0; i < run->each; i++) {
    if (atomic_load_explicit(&run->failed, memory_order_relaxed)) break;
    uint64_t before = worker->latencies != NULL ? cpeers_now() : 0;
    if (run->peer->append_synced(run->store, run->payload, run->bytes) != 0) {
      atomic_store(&run->failed, true);
      break;
    }
    if (worker->latencies != NULL) worker->latencies[i] = cpeers_now() - before;
  }
  worker->end = cpeers_now();
  return NULL;
}

int64_t cpeers_append_synced(
  const cpeer *peer, void *store, const uint8_t *payload, uint64_t bytes, uint32_t threads,
  uint64_t each, uint64_t *latencies
) {
  if (peer->append_synced == NULL) return cpeers_fail(peer->name, "has no synced appends");
  struct run run = {
    .peer = peer, .store = store, .payload = payload, .bytes = bytes, .each = each,
    .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER,
  };
  struct worker *workers = calloc(threads > 0 ? threads : 1, sizeof *workers);
  if (workers == NULL) return cpeers_fail_errno("calloc");
  uint32_t made = 0;
  for (; made < threads; made++) {
    struct worker *worker = &workers[made];
    worker->run = &run;
    worker->latencies = latencies != NULL ? latencies + (uint64_t)made * each : NULL;
    int error = pthread_create(&worker->thread, NULL, work, worker);
    if (error != 0) {
      cpeers_fail("pthread_create", strerror(error));
      atomic_store(&run.failed, true);
      break;
    }
  }

  // No thread starts before the last one runs, because the time of making a thread must not count.
  pthread_mutex_lock(&run.lock);
  while (run.ready < made) pthread_cond_wait(&run.changed, &run.lock);
  uint64_t start = cpeers_now();
  run.started = true;
  pthread_cond_broadcast(&run.changed);
  pthread_mutex_unlock(&run.lock);

  uint64_t end = start;
  for (uint32_t i = 0; i < made; i++) {
    pthread_join(workers[i].thread, NULL);
    if (workers[i].end > end) end = workers[i].end;
  }
  pthread_cond_destroy(&run.changed);
  pthread_mutex_destroy(&run.lock);
  free(workers);
  return atomic_load(&run.failed) ? -1 : (int64_t)(end - start);
}
