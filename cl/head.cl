/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a model: logits of chosen tokens, and the softmax over the vocabulary piece by piece. */

/* out[p] = x[p / n_tokens] . u[token[p]]; token NULL: u[p]. One team a pair. */
KERNEL token_logits(global const float *x, global const uchar *u, uint type, global const uint *token, uint n_tokens,
                    uint n_pairs, uint width, global float *out) {
  local float shared[GROUP];
  uint lane = get_local_id(0) % TEAM, p = get_group_id(0) * TEAMS + get_local_id(0) / TEAM;
  float sum = 0;
  if (p < n_pairs) {
    size_t row = (token ? token[p] : p) * (size_t)width;
    global const float *left = x + (p / n_tokens) * (size_t)width;
    for (uint k = lane; k < width; k += TEAM) sum += left[k] * value_of(u, type, row + k);
  }
  sum = team_sum(sum, shared);
  if (p < n_pairs && lane == 0) out[p] = sum;
}

/* state[first_row + r] = (largest logit, sum of exp(logit - largest), logit of the token), continued with the logits of
 * the vocabulary's rows first .. first + n - 1; tokens may be NULL. One group a row. */
KERNEL normalize_logits(global const float *logits, uint first, uint n, global const uint *tokens, uint first_row,
                        global float *state) {
  local float shared[GROUP];
  uint id = get_local_id(0), r = get_group_id(0), row = first_row + r;
  float most = -INFINITY, sum = 0;
  logits += (size_t)r * n;
  state += 3 * (size_t)row;
  for (uint i = id; i < n; i += GROUP) most = fmax(most, logits[i]);
  most = group_max(most, shared);
  if (first > 0) most = fmax(most, state[0]);
  for (uint i = id; i < n; i += GROUP) sum += exp(logits[i] - most);
  sum = group_sum(sum, shared);
  if (id != 0) return;
  if (first > 0) sum += state[1] * exp(state[0] - most);
  uint token = tokens ? tokens[row] : UINT_MAX;
  if (token >= first && token - first < n) state[2] = logits[token - first];
  state[0] = most;
  state[1] = sum;
}
