/* SPDX-License-Identifier: Apache-2.0 */
/* The crosscoder: decoding, losses and gradients from lists of codes, all as gathers. Columns are n_checkpoints *
 * d_model; W_enc is kept transposed, [n_latents, columns] like W_dec. */

/* Weights come in panels: those of latents `first` .. first + n - 1 in an array of their own. */

/* norms[first + row] of rows of `width` values; one team a row. */
KERNEL row_norms(global const float *w, uint n_rows, uint width, uint first, global float *norms) {
  local float shared[GROUP];
  uint lane = get_local_id(0) % TEAM, row = get_group_id(0) * TEAMS + get_local_id(0) / TEAM;
  float sum = 0;
  if (row < n_rows)
    for (uint k = lane; k < width; k += TEAM) {
      float x = w[(size_t)row * width + k];
      sum += x * x;
    }
  sum = team_sum(sum, shared);
  if (row < n_rows && lane == 0) norms[(size_t)first + row] = sqrt(sum);
}

/* out = b_dec + sum f W_dec - x (subtract: else without x); a group takes GROUP columns of one sample. Of the latents
 * of one panel: the sum goes on from out where it is not the first, so that it runs in the order that it has without
 * panels; x goes with the last. */
KERNEL decode(global const uint *start, global const uint *index, global const float *value,
              global const float *w_dec, global const float *b_dec, global const float *x, uint subtract, uint columns,
              uint first_latent, uint n_latents, global float *out) {
  local uint latent[GROUP];
  local float f[GROUP];
  uint id = get_local_id(0), k = get_global_id(0), row = GROUP_Y;
  size_t at = (size_t)row * columns + k;
  float sum = k < columns ? first_latent == 0 ? b_dec[k] : out[at] : 0;
  for (uint first = start[row]; first < start[row + 1]; first += GROUP) {
    uint n = min(start[row + 1] - first, (uint)GROUP);
    if (id < n) {
      latent[id] = index[first + id] - first_latent; /* of an earlier panel: wraps, and is larger than any */
      f[id] = value[first + id];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (k < columns)
      for (uint p = 0; p < n; p++)
        if (latent[p] < n_latents) sum += f[p] * w_dec[(size_t)latent[p] * columns + k];
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  if (k < columns) out[at] = subtract ? sum - x[at] : sum;
}

/* out = b_dec - x, or b_dec: where a dense product adds the rest. */
KERNEL start_decode(global const float *b_dec, global const float *x, uint subtract, uint columns, global float *out) {
  uint k = get_global_id(0);
  if (k >= columns) return;
  size_t at = GROUP_Y * (size_t)columns + k;
  out[at] = subtract ? b_dec[k] - x[at] : b_dec[k];
}

/* errors[c, b] = sum of squares; one team each. */
KERNEL row_errors(global const float *residual, uint n_samples, uint n_checkpoints, uint d_model,
                  global float *errors) {
  local float shared[GROUP];
  uint lane = get_local_id(0) % TEAM, row = get_group_id(0) * TEAMS + get_local_id(0) / TEAM;
  uint b = row % n_samples, c = row / n_samples;
  float sum = 0;
  if (c < n_checkpoints)
    for (uint k = lane; k < d_model; k += TEAM) {
      float r = residual[((size_t)b * n_checkpoints + c) * d_model + k];
      sum += r * r;
    }
  sum = team_sum(sum, shared);
  if (c < n_checkpoints && lane == 0) errors[row] = sum;
}

/* Sums over samples in chunks, then over chunks. */
KERNEL column_parts(global const float *rows, uint n_rows, uint columns, global float *parts) {
  uint k = get_global_id(0), first = GROUP_Y * CHUNK, last = min(first + CHUNK, n_rows);
  if (k >= columns) return;
  float sum = 0;
  for (uint b = first; b < last; b++) sum += rows[(size_t)b * columns + k];
  parts[GROUP_Y * (size_t)columns + k] = sum;
}

KERNEL add_parts(global const float *parts, uint n_chunks, uint columns, float scale, global float *out) {
  uint k = get_global_id(0);
  if (k >= columns) return;
  float sum = 0;
  for (uint chunk = 0; chunk < n_chunks; chunk++) sum += parts[(size_t)chunk * columns + k];
  out[k] = scale * sum;
}

/* Sum, and number above 0, of each latent's values; one team a latent. */
KERNEL latent_sums(global const uint *start, global const float *value, uint n_latents, global float *sums,
                   uint count, global uint *positive) {
  local float shared[GROUP];
  uint lane = get_local_id(0) % TEAM, i = get_group_id(0) * TEAMS + get_local_id(0) / TEAM;
  float sum = 0, n = 0;
  if (i < n_latents)
    for (uint p = start[i] + lane; p < start[i + 1]; p += TEAM) {
      sum += value[p];
      n += value[p] > 0;
    }
  sum = team_sum(sum, shared);
  n = team_sum(n, shared); /* whole numbers below 2^24 are exact */
  if (i >= n_latents || lane != 0) return;
  sums[i] = sum;
  if (count) positive[i] = (uint)n;
}

/* What the L1 term adds: decay[c, i] = share * sum / norm (0 at norm 0), push[i] = share * norms, and its loss. */
KERNEL weigh(global const float *norms, global const float *sums, uint n_latents, uint n_checkpoints, float share,
             global float *decay, global float *push, global float *sparsity) {
  uint i = get_global_id(0);
  if (i >= n_latents) return;
  float total = 0;
  for (uint c = 0; c < n_checkpoints; c++) {
    float norm = norms[(size_t)i * n_checkpoints + c];
    decay[(size_t)c * n_latents + i] = norm > 0 ? share * sums[i] / norm : 0;
    total += norm;
  }
  push[i] = share * total;
  sparsity[i] = sums[i] * total;
}

/* df of each code of a panel = scale * residual[sample] . W_dec[latent] + push[latent]; one team a code. */
KERNEL code_gradients(global const uint *start, uint first, uint n_latents, global const uint *sample,
                      global const uint *latent, global const float *residual, global const float *w_dec, uint columns,
                      float scale, global const float *push, global float *df) {
  local float shared[GROUP];
  uint lane = get_local_id(0) % TEAM, p = start[first] + get_group_id(0) * TEAMS + get_local_id(0) / TEAM;
  uint n_codes = start[first + n_latents]; /* groups are launched for as many as were expected */
  float sum = 0;
  if (p < n_codes) {
    global const float *r = residual + (size_t)sample[p] * columns, *w = w_dec + (size_t)(latent[p] - first) * columns;
    for (uint k = lane; k < columns; k += TEAM) sum += r[k] * w[k];
  }
  sum = team_sum(sum, shared);
  if (p < n_codes && lane == 0) df[p] = scale * sum + push[latent[p]];
}

/* Of a panel: out[i] = scale * sum of value rows[sample] over the codes of latent first_latent + i, + decay w[i]; a
 * group takes GROUP columns. n_latents: of all. */
KERNEL gather_gradient(global const uint *start, global const uint *sample, global const float *value,
                       global const float *rows, uint columns, float scale, uint has_decay, global const float *decay,
                       global const float *w, uint d_model, uint n_latents, uint first_latent, global float *out) {
  local uint from[GROUP];
  local float f[GROUP];
  uint id = get_local_id(0), k = get_global_id(0), i = first_latent + GROUP_Y;
  size_t at = GROUP_Y * (size_t)columns + k;
  float sum = 0;
  for (uint first = start[i]; first < start[i + 1]; first += GROUP) {
    uint n = min(start[i + 1] - first, (uint)GROUP);
    if (id < n) {
      from[id] = sample[first + id];
      f[id] = value[first + id];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (k < columns)
      for (uint p = 0; p < n; p++) sum += f[p] * rows[(size_t)from[p] * columns + k];
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  if (k >= columns) return;
  sum *= scale;
  out[at] = has_decay ? sum + decay[(size_t)(k / d_model) * n_latents + i] * w[at] : sum;
}

/* The dense form: df of latents first .. first + n - 1 where there is a code, else 0. */
KERNEL mask_gradients(global const float *f, global const float *push, uint n_latents, uint first, uint n,
                      global float *df) {
  uint i = first + get_global_id(0);
  if (get_global_id(0) >= n) return;
  size_t at = GROUP_Y * (size_t)n_latents + i;
  df[at] = IS_CODE(f[at]) ? df[at] + push[i] : 0;
}

/* The gradient of the logarithm of a threshold: a ramp of slope 1 / (2 margin) stands for the jump. inside: the sum of
 * df of what lies on the ramp; n: the number of that; share: of the term of L0. */
float jump_slope(float theta, float margin, float share, float inside, float n) {
  return margin > 0 ? -theta / (2 * margin) * (theta * inside + share * n) : 0;
}

/* Gate JUMP, lists: gradients of thresholds and of b_enc of latents first .. first + n - 1; df becomes 0 where a code
 * is shut. One team a latent. */
KERNEL jump_lists(global const uint *start, global const float *value, uint first, uint n,
                  global const float *threshold, global const float *margin, float share, global float *df,
                  global float *bias_gradient, global float *gradient) {
  local float shared[GROUP];
  uint lane = get_local_id(0) % TEAM, j = get_group_id(0) * TEAMS + get_local_id(0) / TEAM, i = first + j;
  float inside = 0, n_inside = 0, open = 0;
  if (j < n) {
    float last = threshold[i] + margin[i];
    for (uint p = start[i] + lane; p < start[i + 1]; p += TEAM) {
      float f = value[p], g = df[p];
      bool within = f == 0 || f <= last;
      inside += within ? g : 0;
      n_inside += within;
      if (f == 0) df[p] = 0;
      else open += g;
    }
  }
  inside = team_sum(inside, shared);
  n_inside = team_sum(n_inside, shared); /* whole numbers below 2^24 are exact */
  open = team_sum(open, shared);
  if (j >= n || lane != 0) return;
  bias_gradient[i] = open;
  gradient[i] = jump_slope(threshold[i], margin[i], share, inside, n_inside);
}

/* The dense form: parts[chunk, j] = the sums of CHUNK samples; df becomes 0 where a code is shut. */
KERNEL jump_parts(global const float *f, uint n_samples, uint n_latents, uint first, uint n,
                  global const float *threshold, global const float *margin, global float *df, global float2 *parts) {
  uint j = get_global_id(0), i = first + j, from = GROUP_Y * CHUNK, to = min(from + CHUNK, n_samples);
  if (j >= n) return;
  float last = threshold[i] + margin[i], inside = 0, n_inside = 0;
  for (uint b = from; b < to; b++) {
    size_t at = (size_t)b * n_latents + i;
    float x = f[at];
    if (!IS_CODE(x)) continue;
    bool within = x == 0 || x <= last;
    inside += within ? df[at] : 0;
    n_inside += within;
    if (x == 0) df[at] = 0;
  }
  parts[GROUP_Y * (size_t)n + j] = (float2)(inside, n_inside);
}

KERNEL jump_gradient(global const float2 *parts, uint n_chunks, uint first, uint n, global const float *threshold,
                     global const float *margin, float share, global float *gradient) {
  uint j = get_global_id(0), i = first + j;
  float2 sum = (float2)(0, 0);
  if (j >= n) return;
  for (uint chunk = 0; chunk < n_chunks; chunk++) sum += parts[(size_t)chunk * n + j];
  gradient[i] = jump_slope(threshold[i], margin[i], share, sum.x, sum.y);
}

KERNEL start_gradient(global const float *decay, global const float *w, uint columns, uint d_model, uint n_latents,
                      uint first, global float *out) {
  uint k = get_global_id(0), i = GROUP_Y;
  if (k >= columns) return;
  size_t at = (size_t)i * columns + k;
  out[at] = decay[(size_t)(k / d_model) * n_latents + first + i] * w[at];
}

/* parts[to + g] = sum of squares of 16 GROUP values. */
#define SQUARES 16
KERNEL square_parts(global const float *x, uint n, uint to, global float *parts) {
  local float shared[GROUP];
  uint first = get_group_id(0) * (SQUARES * GROUP) + get_local_id(0);
  float sum = 0;
  for (uint j = 0; j < SQUARES; j++) {
    uint i = first + j * GROUP;
    if (i >= first && i < n) sum += x[i] * x[i];
  }
  sum = group_sum(sum, shared);
  if (get_local_id(0) == 0) parts[(size_t)to + get_group_id(0)] = sum;
}

/* (high, low) += (x, y): the error of each addition is kept (Knuth). */
float2 add_exactly(float2 a, float2 b) {
  float sum = a.x + b.x, part = sum - a.x;
  float error = (a.x - (sum - part)) + (b.x - part) + (a.y + b.y);
  float high = sum + error;
  return (float2)(high, error - (high - sum));
}

/* out[slot] = sum of n values as a pair; one group. */
KERNEL sum_pairs(global const float *x, uint first, uint n, global float2 *out, uint slot) {
  local float2 shared[GROUP];
  uint id = get_local_id(0);
  float2 sum = (float2)(0, 0);
  for (uint i = id; i < n; i += GROUP) sum = add_exactly(sum, (float2)(x[first + i], 0));
  shared[id] = sum;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint half_size = GROUP / 2; half_size > 0; half_size /= 2) {
    if (id < half_size) shared[id] = add_exactly(shared[id], shared[id + half_size]);
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  if (id == 0) out[slot] = shared[0];
}

/* Clipping and Adam in one pass. */
KERNEL adam(uint n, float clip, float keep1, float add1, float keep2, float add2, float rate, float root,
            float epsilon, global float *value, global float *moment1, global float *moment2,
            global const float *gradient) {
  uint i = get_global_id(0);
  if (i >= n) return;
  float g = clip * gradient[i], m = keep1 * moment1[i] + add1 * g, v = keep2 * moment2[i] + add2 * g * g;
  moment1[i] = m;
  moment2[i] = v;
  value[i] -= rate * m / (sqrt(v) * root + epsilon);
}

/* Rows chosen[from + j] of a matrix whose first row is `first`, and adding to them. */
KERNEL gather_rows(global const float *w, global const uint *chosen, uint from, uint first, uint columns,
                   global float *out) {
  uint k = get_global_id(0), j = GROUP_Y;
  if (k < columns) out[(size_t)j * columns + k] = w[(size_t)(chosen[from + j] - first) * columns + k];
}

KERNEL add_rows(global const float *add, global const uint *chosen, uint from, uint first, uint columns,
                global float *w) {
  uint k = get_global_id(0), j = GROUP_Y;
  if (k < columns) w[(size_t)(chosen[from + j] - first) * columns + k] += add[(size_t)j * columns + k];
}

KERNEL subtract_mean(global const float *rows, global const float *mean, uint columns, global float *out) {
  uint k = get_global_id(0);
  size_t at = GROUP_Y * (size_t)columns + k;
  if (k < columns) out[at] = rows[at] - mean[k];
}

/* x *= factor / sums[slot], a pair; 0 where that is not above 0. */
KERNEL divide_by_sum(global const float2 *sums, uint slot, float factor, uint n, global float *x) {
  uint i = get_global_id(0);
  if (i >= n) return;
  float sum = sums[slot].x + sums[slot].y;
  x[i] = sum > 0 ? x[i] * (factor / sum) : 0;
}

KERNEL fill(global float *x, uint n, float value) {
  uint i = get_global_id(0);
  if (i < n) x[i] = value;
}
