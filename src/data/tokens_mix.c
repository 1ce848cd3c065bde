/* SPDX-License-Identifier: Apache-2.0 */
/* Mixtures of token sequences by weight, and the language of each sequence. */
#include "base/memory.h"
#include "base/random.h"
#include "base/size.h"
#include "data/tokens.h"
#include <math.h>
#include <string.h>

typedef struct mixture {
  const xcoder_mixture_part *parts;
  size_t n_parts, n_sequences, n_ids;
  size_t *taken; /* [n_parts] sequences of each, the first ones */
  bool ordered;  /* no weights: one part after the other */
} mixture;

static size_t count_tokens(const xcoder_tokens *tokens) { return tokens->start[tokens->n_sequences]; }

static xcoder_status check_parts(mixture *m, double *sum, xcoder_error *err) {
  size_t n_weighted = 0;
  *sum = 0;
  if (m->n_parts == 0 || m->n_parts > UINT16_MAX)
    return xci_fail(err, XCODER_USAGE, "a mixture of %zu parts, expected 1 to %d", m->n_parts, UINT16_MAX);
  for (size_t i = 0; i < m->n_parts; i++) {
    double weight = m->parts[i].weight;
    if (!isfinite(weight) || weight < 0)
      return xci_fail(err, XCODER_USAGE, "part %zu of the mixture has weight %g, expected a positive number", i,
                      weight);
    n_weighted += weight > 0;
    *sum += weight;
  }
  m->ordered = n_weighted == 0;
  if (!m->ordered && (n_weighted != m->n_parts || !isfinite(*sum)))
    return xci_fail(err, XCODER_USAGE, "some parts of the mixture have weight 0, expected all or none");
  return XCODER_OK;
}

/* The tokens of all parts together: as many as the scarcest part allows, at most `max_tokens`. */
static double choose_total(const mixture *m, double sum, uint64_t max_tokens) {
  double total = max_tokens ? (double)max_tokens : INFINITY;
  for (size_t i = 0; i < m->n_parts && !m->ordered; i++)
    total = fmin(total, (double)count_tokens(m->parts[i].tokens) * sum / m->parts[i].weight);
  return total;
}

/* Each part gives its first sequences, up to its share; the half token makes up for rounding. */
static xcoder_status choose_sequences(mixture *m, double sum, uint64_t max_tokens, xcoder_error *err) {
  double total = choose_total(m, sum, max_tokens), left = total;
  for (size_t i = 0; i < m->n_parts; i++) {
    const xcoder_tokens *tokens = m->parts[i].tokens;
    double share = (m->ordered ? left : total * (m->parts[i].weight / sum)) + 0.5;
    size_t n = 0;
    while (n < tokens->n_sequences && (double)tokens->start[n + 1] <= share) n++;
    if (n == 0 && !m->ordered)
      return xci_fail(err, XCODER_MISMATCH, "part %zu of the mixture has a share of %.0f tokens, less than one "
                      "sequence", i, floor(share));
    m->taken[i] = n;
    left -= (double)tokens->start[n];
    if (!xci_add_size(m->n_sequences, n, &m->n_sequences) || !xci_add_size(m->n_ids, tokens->start[n], &m->n_ids))
      return xci_fail(err, XCODER_MEMORY, "the mixture has too many tokens");
  }
  if (m->n_sequences == 0) return xci_fail(err, XCODER_MISMATCH, "the corpora give no sequence of the tokens allowed");
  return XCODER_OK;
}

/* The place `number` among the chosen sequences of all parts. */
static size_t find_part(const mixture *m, size_t *number) {
  size_t part = 0;
  while (*number >= m->taken[part]) *number -= m->taken[part++];
  return part;
}

static void copy_sequences(const mixture *m, uint64_t seed, xcoder_tokens *out) {
  for (size_t i = 0; i < m->n_sequences; i++) {
    size_t from = m->ordered ? i : (size_t)xci_permute(seed, XCI_STREAM_MIXTURE, 0, m->n_sequences, i);
    size_t part = find_part(m, &from);
    const xcoder_tokens *tokens = m->parts[part].tokens;
    size_t n = tokens->start[from + 1] - tokens->start[from];
    memcpy(out->ids + out->start[i], tokens->ids + tokens->start[from], n * sizeof *out->ids);
    out->start[i + 1] = out->start[i] + n;
    if (out->language) out->language[i] = (uint16_t)part;
  }
}

/* Parts of one language keep entries of their own; the accessor gives names. */
static xcoder_status name_parts(const mixture *m, xcoder_tokens *tokens, xcoder_error *err) {
  const char **names = NULL;
  bool any = false;
  for (size_t i = 0; i < m->n_parts; i++) any = any || (m->parts[i].language && m->parts[i].language[0]);
  if (!any) return XCODER_OK;
  xcoder_status status = XCI_ALLOC(&names, m->n_parts, err);
  for (size_t i = 0; !status && i < m->n_parts; i++) names[i] = m->parts[i].language ? m->parts[i].language : "";
  if (!status) status = xci_tokens_name_languages(tokens, names, m->n_parts, err);
  xci_free(names);
  return status;
}

xcoder_status xcoder_tokens_mix(const xcoder_mixture_part *parts, size_t n_parts, uint64_t max_tokens, uint64_t seed,
                                xcoder_tokens **tokens, xcoder_error *err) {
  mixture m = {.parts = parts, .n_parts = n_parts};
  double sum = 0;
  uint32_t *ids = NULL;
  xcoder_tokens *out = NULL;
  *tokens = NULL;
  xcoder_status status = check_parts(&m, &sum, err);
  if (!status) status = XCI_ALLOC(&m.taken, n_parts, err);
  if (!status) status = choose_sequences(&m, sum, max_tokens, err);
  if (!status) status = XCI_ALLOC(&ids, m.n_ids, err);
  if (!status) status = xci_tokens_take_equal(&ids, m.n_sequences, 0, &out, err);
  if (!status) status = name_parts(&m, out, err);
  if (!status) copy_sequences(&m, seed, out);
  xci_free(m.taken);
  xci_free(ids);
  if (status) xcoder_tokens_free(out);
  else *tokens = out;
  return status;
}

xcoder_status xci_tokens_name_languages(xcoder_tokens *tokens, const char *const *names, size_t n, xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(&tokens->languages, n, err);
  for (size_t i = 0; !status && i < n; i++) {
    status = xci_copy_text(names[i], &tokens->languages[i], err);
    if (!status) tokens->n_languages++;
  }
  if (!status) status = XCI_ALLOC(&tokens->language, tokens->n_sequences, err);
  return status;
}

const char *xcoder_tokens_language(const xcoder_tokens *tokens, size_t sequence) {
  return tokens->language && sequence < tokens->n_sequences ? tokens->languages[tokens->language[sequence]] : "";
}
