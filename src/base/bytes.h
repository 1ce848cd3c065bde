/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian loads and stores of unaligned bytes; the only place that knows about byte order. */
#ifndef XCI_BASE_BYTES_H
#define XCI_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t xci_load_u16(const void *p) {
  const unsigned char *b = p;
  return (uint16_t)(b[0] | (unsigned)b[1] << 8);
}
static inline uint32_t xci_load_u32(const void *p) {
  const unsigned char *b = p;
  return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}
static inline uint64_t xci_load_u64(const void *p) {
  const unsigned char *b = p;
  return (uint64_t)xci_load_u32(b) | (uint64_t)xci_load_u32(b + 4) << 32;
}
static inline void xci_store_u16(void *p, uint16_t v) {
  unsigned char *b = p;
  b[0] = (unsigned char)v;
  b[1] = (unsigned char)(v >> 8);
}
static inline void xci_store_u32(void *p, uint32_t v) {
  unsigned char *b = p;
  for (int i = 0; i < 4; i++) b[i] = (unsigned char)(v >> 8 * i);
}
static inline void xci_store_u64(void *p, uint64_t v) {
  unsigned char *b = p;
  for (int i = 0; i < 8; i++) b[i] = (unsigned char)(v >> 8 * i);
}
static inline float xci_load_f32(const void *p) {
  uint32_t u = xci_load_u32(p);
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}
static inline void xci_store_f32(void *p, float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  xci_store_u32(p, u);
}
static inline double xci_load_f64(const void *p) {
  uint64_t u = xci_load_u64(p);
  double f;
  memcpy(&f, &u, sizeof f);
  return f;
}
static inline void xci_store_f64(void *p, double f) {
  uint64_t u;
  memcpy(&u, &f, sizeof u);
  xci_store_u64(p, u);
}

#endif
