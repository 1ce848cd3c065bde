/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of pretraining that a published revision has seen, from its name. */
#include <crosscoder/model.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Digits up to `end`; false if there are none, other characters, or too many. */
static bool read_count(const char *text, const char *end, uint64_t *count) {
  *count = 0;
  if (text == end || end - text > 15) return false;
  for (; text < end; text++) {
    if (!is_digit(*text)) return false;
    *count = *count * 10 + (uint64_t)(*text - '0');
  }
  return true;
}

/* OLMo: step1000-tokens2B, stage1-step1000-tokens5B. The name is believed, since steps do not give it (its constant
 * differs between sizes). A second stage counts anew on top of the first, so its names do not tell. */
static bool count_named(const char *revision, double *tokens) {
  const char *at = strstr(revision, "-tokens");
  uint64_t count;
  if (!at || strncmp(revision, "stage2", 6) == 0 || strncmp(revision, "stage3", 6) == 0) return false;
  at += strlen("-tokens");
  const char *unit = at + strspn(at, "0123456789");
  double factor = *unit == 'B' ? 1e9 : *unit == 'T' ? 1e12 : *unit == 'M' ? 1e6 : 0;
  if (factor == 0 || unit[1] || !read_count(at, unit, &count)) return false;
  *tokens = (double)count * factor;
  return true;
}

/* BLOOM: sequences of 2048 tokens; the batch grows from 192 to 256 sequences by 16, one step up after every quarter of
 * the first 9,765,625 sequences. */
static double count_bloom(uint64_t step) {
  const uint64_t first = 192, increment = 16, n_increments = 4, ramp = 9765625, length = 2048;
  uint64_t seen = 0, left = step;
  for (uint64_t k = 0; k < n_increments && left; k++) {
    const uint64_t batch = first + k * increment;
    /* A step has this batch while 4 seen < (k + 1) ramp. */
    const uint64_t end = (k + 1) * ramp;
    if (4 * seen >= end) continue;
    uint64_t n = (end - 4 * seen + 4 * batch - 1) / (4 * batch);
    if (n > left) n = left;
    seen += n * batch;
    left -= n;
  }
  return ((double)seen + (double)left * (double)(first + n_increments * increment)) * (double)length;
}

/* Whether a part of the model's name or path starts with `word`; parts end at '/' and at the cache's "--". */
static bool names(const char *model, const char *word) {
  const size_t n = strlen(word);
  for (const char *p = model; p && *p; p++)
    if (strncmp(p, word, n) == 0 && (p == model || p[-1] == '/' || (p - model >= 2 && p[-1] == '-' && p[-2] == '-')))
      return true;
  return false;
}

bool xcoder_tokens_seen(const char *model, const char *revision, double *tokens) {
  const uint64_t pythia_batch = 2097152; /* 1024 sequences of 2048 tokens */
  uint64_t step;
  if (!revision) return false;
  const char *end = revision + strlen(revision);
  if (count_named(revision, tokens)) return true;
  if (strncmp(revision, "global_step", 11) == 0 && read_count(revision + 11, end, &step)) {
    *tokens = count_bloom(step);
    return true;
  }
  if (!names(model, "pythia-")) return false;
  if (strcmp(revision, "main") == 0) step = 143000;
  else if (strncmp(revision, "step", 4) != 0 || !read_count(revision + 4, end, &step)) return false;
  *tokens = (double)step * (double)pythia_batch;
  return true;
}

bool xcoder_revision_step(const char *revision, uint64_t *step) {
  const char *at = revision ? strstr(revision, "step") : NULL;
  if (!at) return false;
  at += strlen("step");
  return read_count(at, at + strspn(at, "0123456789"), step);
}
