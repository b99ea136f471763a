// libxxhash. If the library is built with dispatch, its XXH3 uses the vector instructions that the
// machine has. On x86-64 the plain functions use SSE2 and nothing newer. They take six to eight
// times as long for payloads of a kilobyte and more.
#pragma once
#include <xxhash.h>

#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
// Keeps the library's own names as they are.
#define XXH_DISPATCH_DISABLE_REPLACE
#include <xxh_x86dispatch.h>

static inline XXH64_hash_t diskqueue_xxh3(const void *bytes, size_t count, XXH64_hash_t seed) {
  return XXH3_64bits_withSeed_dispatch(bytes, count, seed);
}

static inline void diskqueue_xxh3_update(XXH3_state_t *state, const void *bytes, size_t count) {
  XXH3_64bits_update_dispatch(state, bytes, count);
}
#else
static inline XXH64_hash_t diskqueue_xxh3(const void *bytes, size_t count, XXH64_hash_t seed) {
  return XXH3_64bits_withSeed(bytes, count, seed);
}

static inline void diskqueue_xxh3_update(XXH3_state_t *state, const void *bytes, size_t count) {
  XXH3_64bits_update(state, bytes, count);
}
#endif
