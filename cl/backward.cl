/* SPDX-License-Identifier: Apache-2.0 */
/* Backward passes of norms, activations, the way from raw products to heads, and the head. Attention's is in
 * attention_backward.cl; products are dense. Arrays that are not there are NULL. */

/* With xhat = (x - mean) scale and g = dy w, dx = scale (g - mean g - xhat mean(g xhat)); RMSNorm lacks mean g. The two
 * means, from the sums of one item; by the team, and all teams of a group must call it. */
float2 mean_gradient(float sum_g, float sum_gx, uint kind, uint width, local float *shared) {
  sum_g = kind == NORM_LAYER ? team_sum(sum_g, shared) : 0;
  sum_gx = team_sum(sum_gx, shared);
  return (float2)(sum_g / width, sum_gx / width);
}

/* dx = J^T (dy + before) + after; dx may be any of these. One team a row. */
KERNEL norm_backward(global const float *x, global const float *dy, global const float *weight, uint n_rows, uint kind,
                     float epsilon, uint width, global const float *before, global const float *after,
                     global float *dx) {
  local float shared[GROUP];
  uint lane = get_local_id(0) % TEAM, r = get_group_id(0) * TEAMS + get_local_id(0) / TEAM;
  bool active = r < n_rows;
  uint n = active ? width : 0;
  size_t row = active ? r * (size_t)width : 0;
  float2 m = measure_row(x + row, active, width, kind, epsilon, shared);
  float sum_g = 0, sum_gx = 0;
  for (uint i = lane; i < n; i += TEAM) {
    float g = (dy[row + i] + (before ? before[row + i] : 0)) * (weight ? weight[i] : 1);
    sum_g += g;
    sum_gx += g * ((x[row + i] - m.x) * m.y);
  }
  float2 mean = mean_gradient(sum_g, sum_gx, kind, width, shared);
  for (uint i = lane; i < n; i += TEAM) {
    float g = (dy[row + i] + (before ? before[row + i] : 0)) * (weight ? weight[i] : 1);
    float d = m.y * (g - mean.x - (x[row + i] - m.x) * m.y * mean.y);
    dx[row + i] = after ? d + after[row + i] : d;
  }
}

/* ---- Activations ---- */

/* The smooth ones but the erf form are x sigmoid(u) with u = slope x (1 + cubic x^2). */
float sigmoid_slope(float x, float slope, float cubic) {
  float s = sigmoid(slope * x * (1 + cubic * x * x));
  return s + s * (1 - s) * slope * x * (1 + 3 * cubic * x * x);
}

float activation_slope(uint kind, float x) {
  switch (kind) {
    case GELU_ERF:
      return 0.5f * erfc(x * -0.70710678118654752f) + 0.39894228040143268f * x * exp(-0.5f * x * x);
    case GELU_TANH: return sigmoid_slope(x, 1.5957691216057308f, 0.044715f);
    case GELU_BLOOM: return sigmoid_slope(x, 1.59576912f, 0.044715f);
    case GELU_QUICK: return sigmoid_slope(x, 1.702f, 0);
    case SILU: return sigmoid_slope(x, 1, 0);
    default: return x > 0 ? 1 : 0;
  }
}

/* up, gate: products without their biases. d_act becomes the gradient of up. */
KERNEL activate_backward(global const float *up, global const float *bias, global const float *gate,
                         global const float *gate_bias, uint kind, uint width, global float *d_act,
                         global float *d_gate) {
  uint k = GROUP_Y * GROUP + get_local_id(0);
  if (k >= width) return;
  size_t at = get_group_id(0) * (size_t)width + k;
  float d = d_act[at], u = up[at];
  if (bias) u += bias[k];
  if (!gate) {
    d_act[at] = d * activation_slope(kind, u);
    return;
  }
  float g = gate[at];
  if (gate_bias) g += gate_bias[k];
  d_gate[at] = d * u * activation_slope(kind, g);
  d_act[at] = d * activation(kind, g);
}

/* ---- Queries, keys and values ---- */

/* Value i of the transposed rotation of one row of heads d. angles: of its position, cosines, then sines. */
float rotate_back(global const float *d, global const float *angles, uint rotary, uint d_head, uint i) {
  uint c = i % d_head, half_width = rotary / 2;
  if (c >= rotary) return d[i];
  if (c < half_width) return d[i] * angles[c] + d[i + half_width] * angles[half_width + c];
  return d[i] * angles[c - half_width] - d[i - half_width] * angles[c];
}

/* The gradient of one part (queries, keys or values) of the raw products, from d with heads side by side. Heads lie
 * `stride` apart from `first` on in raw rows and their gradient, and from bias_first on in the bias. The gradient of a
 * clipped value is 0 beyond the clip. spare: [n_rows, n_heads d_head]; an item reads of it, and of d_raw, what it wrote
 * itself. One team a row. */
KERNEL split_backward(global const float *d, global const float *raw, global const float *bias, uint bias_first,
                      uint n_rows, uint width, uint d_head, uint first, uint stride, uint raw_width, uint kind,
                      float epsilon, global const float *weight, global const float *shift, float clip,
                      global const uint *position, global const float *angles, uint rotary, global float *spare,
                      global float *d_raw) {
  local float shared[GROUP];
  uint lane = get_local_id(0) % TEAM, r = get_group_id(0) * TEAMS + get_local_id(0) / TEAM;
  bool active = r < n_rows;
  uint n = active ? width : 0;
  size_t row = active ? r : 0;
  float2 m = (float2)(0, 1);
  float sum_g = 0, sum_gx = 0;
  d += row * width;
  raw += row * raw_width;
  d_raw += row * raw_width;
  spare += row * width;
  if (rotary > 0) angles += (size_t)position[row] * rotary;
  for (uint i = lane; i < n; i += TEAM) {
    uint at = i / d_head * stride + i % d_head;
    spare[i] = raw[first + at] + (bias ? bias[bias_first + at] : 0);
  }
  if (kind != NORM_NONE) m = measure_row(spare, active, width, kind, epsilon, shared);
  for (uint i = lane; i < n; i += TEAM) {
    float xhat = (spare[i] - m.x) * m.y, w = weight ? weight[i] : 1, y = xhat * w + (shift ? shift[i] : 0);
    float g = rotate_back(d, angles, rotary, d_head, i) * w;
    if (clip > 0 && !(y >= -clip && y <= clip)) g = 0;
    d_raw[first + i / d_head * stride + i % d_head] = g;
    sum_g += g;
    sum_gx += g * xhat;
  }
  if (kind == NORM_NONE) return;
  float2 mean = mean_gradient(sum_g, sum_gx, kind, width, shared);
  for (uint i = lane; i < n; i += TEAM) {
    uint at = first + i / d_head * stride + i % d_head;
    d_raw[at] = m.y * (d_raw[at] - mean.x - (spare[i] - m.x) * m.y * mean.y);
  }
}

/* ---- The head ---- */

/* numbers: rows [n], tokens [n, n_tokens], coefficients [n, n_tokens]; then for each row of the result where its list
 * begins, and the lists. out[i] = J^T of the norm at h[row[i]], of sum_k coefficient[i, k] u[token[i, k]]. One team a
 * row. */
KERNEL head_gradient(global const float *h, global const uchar *u, uint type, global const uint *numbers, uint n,
                     uint n_tokens, uint kind, float epsilon, global const float *weight, uint width,
                     global float *out) {
  local float shared[GROUP];
  uint lane = get_local_id(0) % TEAM, r = get_group_id(0) * TEAMS + get_local_id(0) / TEAM;
  bool active = r < n;
  uint count = active ? width : 0;
  size_t i = active ? r : 0;
  global const uint *token = numbers + n + i * n_tokens, *coefficient = token + (size_t)n * n_tokens;
  float sum_g = 0, sum_gx = 0;
  h += numbers[i] * (size_t)width;
  out += i * width;
  float2 m = measure_row(h, active, width, kind, epsilon, shared);
  for (uint j = lane; j < count; j += TEAM) {
    float g = 0;
    for (uint k = 0; k < n_tokens; k++)
      g += as_float(coefficient[k]) * value_of(u, type, token[k] * (size_t)width + j);
    if (weight) g *= weight[j];
    out[j] = g;
    sum_g += g;
    sum_gx += g * ((h[j] - m.x) * m.y);
  }
  float2 mean = mean_gradient(sum_g, sum_gx, kind, width, shared);
  for (uint j = lane; j < count; j += TEAM)
    out[j] = m.y * (out[j] - mean.x - (h[j] - m.x) * m.y * mean.y);
}

/* out[r] = sum of the rows of x in r's list, in its order; the lists' beginnings are numbers[first ..]. */
KERNEL sum_rows(global const float *x, global const uint *numbers, uint first, uint n_rows, uint width,
                global float *out) {
  uint k = GROUP_Y * GROUP + get_local_id(0), row = get_group_id(0);
  if (k >= width) return;
  global const uint *start = numbers + first, *from = start + n_rows + 1;
  float sum = 0;
  for (uint p = start[row]; p < start[row + 1]; p++) sum += x[from[p] * (size_t)width + k];
  out[row * (size_t)width + k] = sum;
}
