/* SPDX-License-Identifier: Apache-2.0 */
/* XXH3-128 checksums as 32 hexadecimal digits. */
#include "base/file.h"

#include "base/memory.h"
#include <stdio.h>
#include <xxhash.h>

struct xci_hash {
  XXH3_state_t *state;
};

static void to_hex(XXH128_hash_t value, char hex[33]) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, value);
  for (int i = 0; i < 16; i++) snprintf(hex + 2 * i, 3, "%02x", canonical.digest[i]);
}

xcoder_status xci_hash_open(xci_hash **hash, xcoder_error *err) {
  xcoder_status status = xci_alloc(1, sizeof **hash, (void **)hash, err);
  if (status) return status;
  (*hash)->state = XXH3_createState();
  if ((*hash)->state && XXH3_128bits_reset((*hash)->state) == XXH_OK) return XCODER_OK;
  XXH3_freeState((*hash)->state);
  xci_free(*hash);
  *hash = NULL;
  return xci_fail(err, XCODER_MEMORY, "memory: no room for a checksum");
}

void xci_hash_add(xci_hash *hash, const void *bytes, size_t n_bytes) {
  XXH3_128bits_update(hash->state, bytes, n_bytes);
}

void xci_hash_close(xci_hash *hash, char hex[33]) {
  if (!hash) return;
  if (hex) to_hex(XXH3_128bits_digest(hash->state), hex);
  XXH3_freeState(hash->state);
  xci_free(hash);
}

void xci_hash_bytes(const void *bytes, size_t n_bytes, char hex[33]) { to_hex(XXH3_128bits(bytes, n_bytes), hex); }
