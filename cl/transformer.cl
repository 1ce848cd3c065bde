/* SPDX-License-Identifier: Apache-2.0 */
/* Transformer layers beside the products and attention. Rows are groups' second index, so that items of a group read
 * neighbouring values; sums over a row are those of a team or a group. */

/* out = n values from `first` on. */
KERNEL widen(global const uchar *w, uint type, uint first_high, uint first_low, uint n, global float *out) {
  uint i = get_global_id(0);
  if (i < n) out[i] = value_of(w, type, ((size_t)first_high << 32) + first_low + i);
}

/* h[r] = table[ids[r]] + positions[position[r]]; ids NULL: r itself. */
KERNEL embed(global const uchar *table, uint type, global const uint *ids, global const uchar *positions,
             uint positions_type, global const uint *position, uint width, global float *h) {
  uint k = get_global_id(0), row = GROUP_Y;
  if (k >= width) return;
  float x = value_of(table, type, (ids ? ids[row] : row) * (size_t)width + k);
  if (positions) x += value_of(positions, positions_type, position[row] * (size_t)width + k);
  h[(size_t)row * width + k] = x;
}

/* ---- Norms ---- */

#define NORM_LAYER 0
#define NORM_RMS 1
#define NORM_NONE 2

/* Mean (x) and 1/deviation (y) of a row, by the team; all teams of the group must call it, `active` says whether there
 * is a row. The mean of a residual stream can be large against its spread, so a second pass adds what rounding took
 * from it. shared: [GROUP]. */
float2 measure_row(global const float *x, bool active, uint width, uint kind, float epsilon, local float *shared) {
  uint lane = get_local_id(0) % TEAM, n = active ? width : 0;
  float mean = 0, sum = 0, squares = 0;
  if (kind == NORM_LAYER) {
    for (uint i = lane; i < n; i += TEAM) sum += x[i];
    mean = team_sum(sum, shared) / width;
    sum = 0;
    for (uint i = lane; i < n; i += TEAM) sum += x[i] - mean;
    mean += team_sum(sum, shared) / width;
  }
  for (uint i = lane; i < n; i += TEAM) squares += (x[i] - mean) * (x[i] - mean);
  return (float2)(mean, 1 / sqrt(team_sum(squares, shared) / width + epsilon));
}

/* y[r] = norm(x[row[r]]); row, weight and bias may be NULL. One team a row. */
KERNEL norm(global const float *x, global const uint *row, uint n_rows, uint kind, float epsilon,
            global const float *weight, global const float *bias, uint width, global float *y) {
  local float shared[GROUP];
  uint r = get_group_id(0) * TEAMS + get_local_id(0) / TEAM;
  bool active = r < n_rows;
  float2 m = (float2)(0, 1);
  if (active) {
    x += (row ? row[r] : r) * (size_t)width;
    y += r * (size_t)width;
  }
  if (kind != NORM_NONE) m = measure_row(x, active, width, kind, epsilon, shared);
  for (uint i = get_local_id(0) % TEAM; active && i < width; i += TEAM) {
    float z = (x[i] - m.x) * m.y;
    if (weight) z *= weight[i];
    if (bias) z += bias[i];
    y[i] = z;
  }
}

/* ---- Sums and activations ---- */

/* y = a + bias + b + bias2 + c; all but a may be NULL. */
KERNEL add(global const float *a, global const float *bias, global const float *b, global const float *bias2,
           global const float *c, uint width, global float *y) {
  uint k = get_global_id(0);
  size_t at = GROUP_Y * (size_t)width + k;
  if (k >= width) return;
  float sum = a[at];
  if (bias) sum += bias[k];
  if (b) sum += b[at];
  if (bias2) sum += bias2[k];
  if (c) sum += c[at];
  y[at] = sum;
}

/* As xci_activation. Below 0 the erf form would lose its digits in 1 + erf; erfc keeps them. */
#define GELU_ERF 0
#define GELU_TANH 1
#define GELU_BLOOM 2
#define GELU_QUICK 3
#define SILU 4
float sigmoid(float x) { return 1 / (1 + exp(-x)); }

float activation(uint kind, float x) {
  switch (kind) {
    case GELU_ERF: return 0.5f * x * erfc(x * -0.70710678118654752f);
    case GELU_TANH: return x * sigmoid(1.5957691216057308f * x * (1 + 0.044715f * x * x)); /* 2 sqrt(2/pi) */
    case GELU_BLOOM: return x * sigmoid(1.59576912f * x * (1 + 0.044715f * x * x));        /* 2 * 0.79788456 */
    case GELU_QUICK: return x * sigmoid(1.702f * x);
    case SILU: return x * sigmoid(x);
    default: return x <= 0 ? 0 : x; /* NaN stays */
  }
}

/* act = f(up + bias), or with a gate f(gate + gate_bias) (up + bias). */
KERNEL activate(global const float *up, global const float *bias, global const float *gate,
                global const float *gate_bias, uint kind, uint width, global float *act) {
  uint k = get_global_id(0);
  size_t at = GROUP_Y * (size_t)width + k;
  if (k >= width) return;
  float u = up[at];
  if (bias) u += bias[k];
  if (gate) {
    float g = gate[at];
    if (gate_bias) g += gate_bias[k];
    u *= activation(kind, g);
  } else {
    u = activation(kind, u);
  }
  act[at] = u;
}

/* ---- Queries, keys and values ---- */

/* Channel `j` of a head after rotation, from a(j) and its partner; angles: cosines, then sines. The item of the lower
 * channel of a pair writes both. */
void store_rotated(global float *head, uint j, float low, float high, uint half_width, global const float *angles) {
  float cosine = angles[j], sine = angles[half_width + j];
  head[j] = low * cosine - high * sine;
  head[half_width + j] = high * cosine + low * sine;
}

float clipped(float x, float clip) { return clip > 0 ? (x < -clip ? -clip : x > clip ? clip : x) : x; }

/* From raw products [row][queries | keys | values], or interleaved [row][head][q, k, v][d_head], to heads side by side.
 * The biases lie as the products do: in one piece (fused) or in three. `defer`: the norm of queries and keys comes in
 * between, so only the bias is added to them; finish_heads does the rest. */
KERNEL split_qkv(global const float *raw, uint n_heads, uint n_kv_heads, uint d_head, uint fused, uint interleaved,
                 uint defer, global const float *bias_q, global const float *bias_k, global const float *bias_v,
                 float clip, uint rotary, global const float *angles, global const uint *position, global float *q,
                 global float *k, global float *v) {
  uint c = get_global_id(0), row = GROUP_Y, half_width = rotary / 2;
  uint q_width = n_heads * d_head, kv_width = n_kv_heads * d_head, width = q_width + 2 * kv_width;
  if (c >= width) return;
  uint part = c < q_width ? 0 : c < q_width + kv_width ? 1 : 2;
  uint first = part == 0 ? 0 : part == 1 ? q_width : q_width + kv_width, channel = c - first;
  uint head = channel / d_head, j = channel % d_head;
  bool rotates = part < 2 && !defer && j < rotary;
  if (rotates && j >= half_width) return;
  uint at = interleaved ? (head * 3 + part) * d_head + j : c;
  global const float *from = raw + (size_t)row * width + at, *bias = part == 0 ? bias_q : part == 1 ? bias_k : bias_v;
  if (bias) bias += fused ? at : channel;
  global float *to = part == 0 ? q : part == 1 ? k : v;
  to += (size_t)row * (part == 0 ? q_width : kv_width) + head * d_head;
  if (defer && part < 2) clip = 0;
  float x = clipped(from[0] + (bias ? bias[0] : 0), clip);
  if (rotates) {
    float partner = clipped(from[half_width] + (bias ? bias[half_width] : 0), clip);
    store_rotated(to, j, x, partner, half_width, angles + (size_t)position[row] * rotary);
  } else {
    to[j] = x;
  }
}

/* Clip and rotary of heads in place. */
KERNEL finish_heads(uint d_head, uint width, float clip, uint rotary, global const float *angles,
                    global const uint *position, global float *x) {
  uint c = get_global_id(0), row = GROUP_Y, half_width = rotary / 2, j = c % d_head;
  if (c >= width || (j >= half_width && j < rotary)) return;
  global float *head = x + (size_t)row * width + (c - j);
  if (j < half_width)
    store_rotated(head, j, clipped(head[j], clip), clipped(head[half_width + j], clip), half_width,
                  angles + (size_t)position[row] * rotary);
  else
    head[j] = clipped(head[j], clip);
}
