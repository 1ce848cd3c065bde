/* SPDX-License-Identifier: Apache-2.0 */
/* The k largest scores of each sample or of the batch: four passes over the bytes of score * feature taken as integers
 * (floats from 0 up order alike; NaN comes first, so that it is kept and seen). Ties go to the lowest (sample, latent).
 * A state is {prefix, mask, larger, k}: what is known of the k-th largest key; then prefix is that key. */
#define STATE 4

uint score_key(float f, float score) { return as_uint(f * score) & 0x7fffffffu; }

KERNEL sum_norms(global const float *norms, uint n_latents, uint n_checkpoints, global float *score) {
  uint i = get_global_id(0);
  if (i >= n_latents) return;
  float sum = 0;
  for (uint c = 0; c < n_checkpoints; c++) sum += norms[(size_t)i * n_checkpoints + c];
  score[i] = sum;
}

/* The next byte of the k-th largest key, by one item. */
void pick_byte(local const uint *histogram, uint shift, uint *prefix, uint *mask, uint *larger,
               uint k) {
  uint digit = 255;
  while (digit > 0 && *larger + histogram[digit] < k) *larger += histogram[digit--];
  *prefix |= digit << shift;
  *mask |= 255u << shift;
}

void fill_histogram(global const float *f, global const float *score, uint n_latents, uint prefix, uint mask,
                    uint shift, local uint *histogram) {
  uint id = get_local_id(0);
  histogram[id] = 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint i = id; i < n_latents; i += GROUP) {
    uint key = score_key(f[i], score[i]);
    if (f[i] != 0 && (key & mask) == prefix) atomic_inc(&histogram[key >> shift & 255]);
  }
  barrier(CLK_LOCAL_MEM_FENCE);
}

/* One group a sample. */
KERNEL find_kth_of_rows(global const float *f, global const float *score, uint n_latents, uint k,
                        global const uint *counts, global uint *state) {
  local uint histogram[GROUP], known[3];
  uint row = get_group_id(0), prefix = 0, mask = 0, larger = 0;
  f += (size_t)row * n_latents;
  state += row * STATE;
  bool all = counts[row] <= k, none = k == 0;
  for (uint shift = 32; shift > 0 && !all && !none;) {
    shift -= 8;
    fill_histogram(f, score, n_latents, prefix, mask, shift, histogram);
    if (get_local_id(0) == 0) {
      pick_byte(histogram, shift, &prefix, &mask, &larger, k);
      known[0] = prefix;
      known[1] = mask;
      known[2] = larger;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    prefix = known[0];
    mask = known[1];
    larger = known[2];
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  if (get_local_id(0) != 0) return;
  state[0] = all ? 0 : none ? 0xffffffffu : prefix;
  state[1] = 0xffffffffu;
  state[2] = larger;
  state[3] = all ? 0xffffffffu : k;
}

/* histogram: 0 on entry. One group a sample. */
KERNEL add_histogram(global const float *f, global const float *score, uint n_latents, uint shift,
                     global const uint *state, global uint *histogram) {
  local uint mine[GROUP];
  f += get_group_id(0) * (size_t)n_latents;
  fill_histogram(f, score, n_latents, state[0], state[1], shift, mine);
  uint n = mine[get_local_id(0)];
  if (n > 0) atomic_add(&histogram[get_local_id(0)], n);
}

/* One group. start: of the lists of n_samples. Leaves the histogram at 0. */
KERNEL pick_of_batch(global uint *histogram, uint shift, uint k, global const uint *start, uint n_samples,
                     global uint *state) {
  local uint mine[GROUP];
  uint id = get_local_id(0);
  mine[id] = histogram[id];
  histogram[id] = 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (id != 0) return;
  uint prefix = state[0], mask = state[1], larger = state[2];
  if (k == 0 || start[n_samples] <= k) {
    state[0] = k == 0 ? 0xffffffffu : 0;
    state[1] = 0xffffffffu;
    state[2] = 0;
    state[3] = k == 0 ? 0 : 0xffffffffu;
    return;
  }
  pick_byte(mine, shift, &prefix, &mask, &larger, k);
  state[0] = prefix;
  state[1] = mask;
  state[2] = larger;
  state[3] = k;
}

/* How many keys equal the batch's k-th. One group a sample. */
KERNEL count_ties(global const float *f, global const float *score, uint n_latents, global const uint *state,
                  global uint *counts) {
  local uint shared[GROUP];
  uint row = get_group_id(0), n = 0;
  f += (size_t)row * n_latents;
  for (uint i = get_local_id(0); i < n_latents; i += GROUP) n += f[i] != 0 && score_key(f[i], score[i]) == state[0];
  n = group_count(n, shared);
  if (get_local_id(0) == 0) counts[row] = n;
}

/* least[row] = the smallest score above 0; infinity where there is none. One group a sample. */
KERNEL least_scores(global const float *f, global const float *score, uint n_latents, global float *least) {
  local float shared[GROUP];
  uint row = get_group_id(0);
  float x = INFINITY;
  f += (size_t)row * n_latents;
  for (uint i = get_local_id(0); i < n_latents; i += GROUP) {
    float s = f[i] * score[i];
    if (s > 0) x = fmin(x, s);
  }
  x = -group_max(-x, shared);
  if (get_local_id(0) == 0) least[row] = x;
}

/* out[slot] = the smallest of n as a pair, 0 for infinity; one group. */
KERNEL least_of_rows(global const float *least, uint n, global float2 *out, uint slot) {
  local float shared[GROUP];
  float x = INFINITY;
  for (uint i = get_local_id(0); i < n; i += GROUP) x = fmin(x, least[i]);
  x = -group_max(-x, shared);
  if (get_local_id(0) == 0) out[slot] = (float2)(x < INFINITY ? x : 0, 0);
}

/* Zeroes what is not among the k largest. per_row: a state for each sample; else one, and `before` ties lie in earlier
 * samples. One group a sample. */
KERNEL prune(global float *f, global const float *score, uint n_latents, uint per_row, global const uint *state,
             global const uint *before) {
  local uint shared[GROUP];
  uint row = get_group_id(0), total;
  f += (size_t)row * n_latents;
  state += per_row ? row * STATE : 0;
  uint least = state[0], ties = state[3] - state[2], rank = per_row ? 0 : before[row];
  if (state[3] == 0xffffffffu) return;
  for (uint first = 0; first < n_latents; first += GROUP) {
    uint i = first + get_local_id(0);
    uint key = i < n_latents ? score_key(f[i], score[i]) : 0;
    bool there = i < n_latents && f[i] != 0, tie = there && key == least;
    uint earlier = group_scan(tie, shared, &total);
    if (there && (key < least || (tie && rank + earlier >= ties))) f[i] = 0;
    rank += total;
  }
}
