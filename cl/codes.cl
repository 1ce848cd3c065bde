/* SPDX-License-Identifier: Apache-2.0 */
/* Codes of a batch: gates over the dense features f [n_samples, n_latents], and lists of what is not 0, by sample and
 * by latent, in ascending order. Positions come from counts and scans, never from atomics. */

/* Whether there is a code: also a shut one of gate JUMP, -0, which adds nothing to any product. */
#define IS_CODE(x) (as_uint(x) != 0)
#define SHUT as_float(0x80000000u)

/* f: sums on entry. kind 1: keep what exceeds threshold[i]; 2: what is at most margin[i] below it becomes SHUT. NaN
 * stays, so that it is seen. */
KERNEL gate(global float *f, global const float *bias, global const float *threshold, global const float *margin,
            uint kind, uint n_latents) {
  uint i = get_global_id(0);
  if (i >= n_latents) return;
  size_t at = GROUP_Y * (size_t)n_latents + i;
  float x = f[at] + bias[i];
  if (x <= 0) x = 0;
  if (kind > 0 && x <= threshold[i]) x = kind == 2 && x > fmax(threshold[i] - margin[i], 0.0f) ? SHUT : 0.0f;
  f[at] = x;
}

/* margin[i] = half_bandwidth / sum of norms; 0 where that is not finite. */
KERNEL jump_margins(global const float *norms, uint n_latents, uint n_checkpoints, float half_bandwidth,
                    global float *margin) {
  uint i = get_global_id(0);
  if (i >= n_latents) return;
  float sum = 0;
  for (uint c = 0; c < n_checkpoints; c++) sum += norms[(size_t)i * n_checkpoints + c];
  float m = half_bandwidth / sum;
  margin[i] = m < INFINITY ? m : 0; /* also for NaN */
}

/* One group a sample. */
KERNEL count_rows(global const float *f, uint n_latents, global uint *counts) {
  local uint shared[GROUP];
  uint row = get_group_id(0), n = 0;
  f += (size_t)row * n_latents;
  for (uint i = get_local_id(0); i < n_latents; i += GROUP) n += IS_CODE(f[i]);
  n = group_count(n, shared);
  if (get_local_id(0) == 0) counts[row] = n;
}

/* start[i] = sum of counts before i, start[n] = all; one group. */
KERNEL scan(global const uint *counts, uint n, global uint *start) {
  local uint shared[GROUP];
  uint id = get_local_id(0), each = (n + GROUP - 1) / GROUP, total = 0, sum = 0;
  uint first = min(id * each, n), last = min(first + each, n);
  for (uint i = first; i < last; i++) sum += counts[i];
  uint before = group_scan(sum, shared, &total);
  for (uint i = first; i < last; i++) {
    start[i] = before;
    before += counts[i];
  }
  if (id == 0) start[n] = total;
}

/* One group: *all = how many a list has; one with more than `most` becomes empty, so that nothing is written beyond the
 * room for it. */
KERNEL limit_list(global uint *start, uint n, uint most, global uint *all, uint at) {
  uint total = start[n];
  barrier(CLK_GLOBAL_MEM_FENCE);
  if (get_local_id(0) == 0) all[at] = total;
  if (total > most)
    for (uint i = get_local_id(0); i <= n; i += GROUP) start[i] = 0;
}

/* One group a sample. */
KERNEL write_rows(global const float *f, uint n_latents, global const uint *start, global uint *index,
                  global float *value) {
  local uint shared[GROUP];
  uint row = get_group_id(0), to = start[row], total;
  if (start[get_num_groups(0)] == 0) return; /* none, or too many */
  f += (size_t)row * n_latents;
  for (uint first = 0; first < n_latents; first += GROUP) {
    uint i = first + get_local_id(0);
    float x = i < n_latents ? f[i] : 0;
    uint before = group_scan(IS_CODE(x), shared, &total);
    if (IS_CODE(x)) {
      index[to + before] = i;
      value[to + before] = x == 0 ? 0 : x; /* without a sign */
    }
    to += total;
  }
}

/* counts[chunk, i] over CHUNK samples; positive: of values above 0, else of all codes. */
#define CHUNK 128
KERNEL count_columns(global const float *f, uint n_samples, uint n_latents, uint positive, global uint *counts) {
  uint i = get_global_id(0), first = GROUP_Y * CHUNK, last = min(first + CHUNK, n_samples), n = 0;
  if (i >= n_latents) return;
  for (uint b = first; b < last; b++) {
    float x = f[(size_t)b * n_latents + i];
    n += positive ? x > 0 : IS_CODE(x);
  }
  counts[GROUP_Y * (size_t)n_latents + i] = n;
}

KERNEL add_counts(global const uint *counts, uint n_chunks, uint n_latents, global uint *sums) {
  uint i = get_global_id(0), n = 0;
  if (i >= n_latents) return;
  for (uint chunk = 0; chunk < n_chunks; chunk++) n += counts[(size_t)chunk * n_latents + i];
  sums[i] = n;
}

KERNEL write_columns(global const float *f, uint n_samples, uint n_latents, global const uint *start,
                     global const uint *counts, global uint *sample, global uint *latent, global float *value) {
  uint i = get_global_id(0), own = GROUP_Y, first = own * CHUNK, last = min(first + CHUNK, n_samples);
  if (i >= n_latents || start[n_latents] == 0) return; /* none, or too many */
  uint to = start[i];
  for (uint chunk = 0; chunk < own; chunk++) to += counts[(size_t)chunk * n_latents + i];
  for (uint b = first; b < last; b++) {
    float x = f[(size_t)b * n_latents + i];
    if (!IS_CODE(x)) continue;
    sample[to] = b;
    latent[to] = i;
    value[to++] = x == 0 ? 0 : x;
  }
}

/* Codes given as lists; f is 0 on entry. One group a sample. */
KERNEL scatter(global const uint *start, global const uint *index, global const float *value, uint n_latents,
               global float *f) {
  uint row = get_group_id(0);
  for (uint p = start[row] + get_local_id(0); p < start[row + 1]; p += GROUP)
    f[(size_t)row * n_latents + index[p]] = value[p] == 0 ? 0 : value[p];
}

/* A batch out of a piece of a window of bf16 samples, which holds its rows first .. first + n - 1: for those rows
 * x[b, k] = scale of k's checkpoint * window[row[b], k]. */
KERNEL gather_samples(global const ushort *window, uint first, uint n, global const uint *row,
                      global const float *scales, uint columns, uint d_model, global float *x) {
  uint k = get_global_id(0), b = GROUP_Y, from = row[b] - first; /* of an earlier piece: wraps */
  if (k >= columns || from >= n) return;
  x[(size_t)b * columns + k] = as_float((uint)window[(size_t)from * columns + k] << 16) * scales[k / d_model];
}

/* out[at + w] = bits of latents 32 w .. 32 w + 31 with a code above 0. */
KERNEL pack_fired(global const uint *positive, uint n_latents, global uint *out, uint at) {
  uint w = get_global_id(0), bits = 0;
  if (w >= (n_latents + 31) / 32) return;
  for (uint k = 0; k < 32 && 32 * w + k < n_latents; k++) bits |= (uint)(positive[32 * w + k] > 0) << k;
  out[at + w] = bits;
}

KERNEL mark_latents(global const uint *positive, uint n_latents, uint stamp, global uint *marks) {
  uint i = get_global_id(0);
  if (i < n_latents && positive[i] > 0) marks[i] = stamp;
}
