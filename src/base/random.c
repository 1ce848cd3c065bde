/* SPDX-License-Identifier: Apache-2.0 */
/* Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011). */
#include "base/random.h"

#include <math.h>

void xci_random_block(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]) {
  uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)};
  uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
  for (int round = 0; round < 10; round++) {
    uint64_t a = (uint64_t)0xD2511F53u * counter[0];
    uint64_t b = (uint64_t)0xCD9E8D57u * counter[2];
    uint32_t next[4] = {(uint32_t)(b >> 32) ^ counter[1] ^ key[0], (uint32_t)b,
                        (uint32_t)(a >> 32) ^ counter[3] ^ key[1], (uint32_t)a};
    for (int i = 0; i < 4; i++) counter[i] = next[i];
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  for (int i = 0; i < 4; i++) out[i] = counter[i];
}

uint64_t xci_random_u64(uint64_t seed, uint64_t stream, uint64_t index) {
  uint32_t block[4];
  xci_random_block(seed, stream, index, block);
  return (uint64_t)block[0] | (uint64_t)block[1] << 32;
}

double xci_random_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
  return (double)(xci_random_u64(seed, stream, index) >> 11) * 0x1p-53;
}

double xci_random_normal(uint64_t seed, uint64_t stream, uint64_t index) {
  uint32_t block[4];
  xci_random_block(seed, stream, index, block);
  uint64_t first = (uint64_t)block[0] | (uint64_t)block[1] << 32;
  uint64_t second = (uint64_t)block[2] | (uint64_t)block[3] << 32;
  double radius = ((double)(first >> 11) + 1.0) * 0x1p-53; /* (0, 1] */
  double angle = (double)(second >> 11) * 0x1p-53;
  return sqrt(-2.0 * log(radius)) * cos(6.283185307179586 * angle);
}

/* High 64 bits of a product of two 64-bit numbers. */
static uint64_t multiply_high(uint64_t a, uint64_t b) {
  uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
  uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
  uint64_t other = a0 * b1 + (uint32_t)middle;
  return a1 * b1 + (middle >> 32) + (other >> 32);
}

uint64_t xci_random_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t n) {
  return multiply_high(xci_random_u64(seed, stream, index), n);
}

/* The mixing function of a Feistel round: the finalizer of SplitMix64 over value and round key. */
static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

uint64_t xci_permute(uint64_t seed, uint64_t stream, uint64_t key, uint64_t n, uint64_t index) {
  if (n < 2) return 0;
  unsigned half_bits = 1;
  while (half_bits < 32 && (uint64_t)1 << 2 * half_bits < n) half_bits++;
  uint64_t mask = ((uint64_t)1 << half_bits) - 1;
  uint64_t round_key[6];
  uint64_t base = mix(seed ^ mix(stream + 0x9e3779b97f4a7c15u) ^ mix(key + 0xd1b54a32d192ed03u));
  for (uint64_t round = 0; round < 6; round++) round_key[round] = mix(base + (round + 1) * 0x9e3779b97f4a7c15u);
  uint64_t x = index;
  do { /* cycle walking: the domain is less than four times n, so a few rounds are enough */
    uint64_t left = x >> half_bits, right = x & mask;
    for (int round = 0; round < 6; round++) {
      uint64_t next = left ^ (mix(right ^ round_key[round]) & mask);
      left = right;
      right = next;
    }
    x = left << half_bits | right;
  } while (x >= n);
  return x;
}
