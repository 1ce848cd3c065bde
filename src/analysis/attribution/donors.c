/* SPDX-License-Identifier: Apache-2.0 */
/* Where the paths of an attribution end when they end at another prompt. */
#include "analysis/attribution/effects.h"
#include "base/memory.h"
#include "base/random.h"

xcoder_status xci_choose_counterfactuals(const xcoder_pairs *task, size_t **chosen, size_t *n, xcoder_error *err) {
  const size_t total = xcoder_pairs_count(task);
  const xcoder_status status = XCI_ALLOC(chosen, total, err);
  *n = 0;
  if (status) return status;
  for (size_t k = 0; k < total; k++)
    if (xcoder_pairs_get(task, k)->counterfactual) (*chosen)[(*n)++] = k;
  if (*n == 0)
    return xci_fail(err, XCODER_MISMATCH, "%s: no pair has a counterfactual prompt of equal length (use another "
                                          "--baseline)", xcoder_pairs_name(task));
  return XCODER_OK;
}

xcoder_status xci_draw_donors(const xcoder_pairs *task, uint64_t seed, size_t **chosen, size_t **donor, size_t *n,
                              xcoder_error *err) {
  const size_t total = xcoder_pairs_count(task);
  size_t *peer = NULL;
  xcoder_status status = XCI_ALLOC(chosen, total, err);
  if (!status) status = XCI_ALLOC(donor, total, err);
  if (!status) status = XCI_ALLOC(&peer, total, err);
  *n = 0;
  for (size_t k = 0; !status && k < total; k++) {
    const size_t length = xcoder_pairs_get(task, k)->n_prefix;
    size_t n_peers = 0, own = 0;
    for (size_t i = 0; i < total; i++) {
      if (xcoder_pairs_get(task, i)->n_prefix != length) continue;
      if (i == k) own = n_peers;
      peer[n_peers++] = i;
    }
    if (n_peers < 2) continue;
    const size_t turn = 1 + (size_t)xci_random_below(seed, XCI_STREAM_DONOR, length, n_peers - 1);
    (*chosen)[*n] = k;
    (*donor)[(*n)++] = peer[(own + turn) % n_peers];
  }
  xci_free(peer);
  if (!status && *n == 0)
    return xci_fail(err, XCODER_MISMATCH, "%s: no two prompts have the same length (use another --baseline)",
                    xcoder_pairs_name(task));
  return status;
}
