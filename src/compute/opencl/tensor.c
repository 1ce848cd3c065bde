/* SPDX-License-Identifier: Apache-2.0 */
/* Which way products go. Tensor cores are used only on NVIDIA's devices of compute capability 8.0 and more, and only
 * after products of every kernel gave there what they should. */
#include "config.h"

#include "compute/opencl/opencl.h"

#include "base/half.h"
#include "base/memory.h"
#include "base/random.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CAPABILITY_MAJOR = 0x4000 }; /* CL_DEVICE_COMPUTE_CAPABILITY_MAJOR_NV of cl_nv_device_attribute_query */
enum { M = 140, N = 92, MOST_K = 44, LARGEST = M * (MOST_K > N ? MOST_K : N), N_TRIALS = 24 };

static bool has_tensor_cores(const xci_cl *cl) {
  char vendor[64] = "";
  cl_uint major = 0;
  if (clGetDeviceInfo(cl->id, CL_DEVICE_VENDOR, sizeof vendor - 1, vendor, NULL) != CL_SUCCESS) return false;
  if (strstr(vendor, "NVIDIA") == NULL) return false;
  return clGetDeviceInfo(cl->id, CAPABILITY_MAJOR, sizeof major, &major, NULL) == CL_SUCCESS && major >= 8;
}

static double rounded(float x) { return (double)xci_bf16_to_f32(xci_f32_to_bf16(x)); }

typedef struct trial {
  float *a, *b, *start, *out;
  cl_mem memory[3];
} trial;

/* One product of the trial. Of its two depths one lets kernels load several values at a time, one does not. */
typedef struct attempt {
  bool ta, tb, bf16;
  xci_cl_type type; /* of b */
  size_t k;
} attempt;

static attempt nth_attempt(size_t n) {
  attempt x = {n & 1, n & 2, n & 4, (xci_cl_type)(n / 8), 0};
  x.k = (n / 8 + x.ta + x.tb) % 2 ? 37 : MOST_K;
  return x;
}

static float as_type(float x, xci_cl_type type) {
  return type == XCI_CL_F16 ? xci_f16_to_f32(xci_f32_to_f16(x))
         : type == XCI_CL_BF16 ? xci_bf16_to_f32(xci_f32_to_bf16(x)) : x;
}

static xcoder_status send_b(xcoder_device *device, const trial *t, xci_cl_type type) {
  uint16_t bits[LARGEST];
  if (type == XCI_CL_F32) return xci_cl_write(device, t->memory[1], 0, t->b, sizeof(float) * LARGEST, NULL);
  for (size_t i = 0; i < LARGEST; i++)
    bits[i] = type == XCI_CL_F16 ? xci_f32_to_f16(t->b[i]) : xci_f32_to_bf16(t->b[i]);
  return xci_cl_write(device, t->memory[1], 0, bits, sizeof bits, NULL);
}

/* Whether every result is as near as it must be. How tensor cores round within an instruction is not documented: four
 * times what K additions that truncate would err, 2^-23 each, of the sum of magnitudes; and what gemm_bf16x3 leaves
 * out, 2^-15. A fragment in the wrong place shows as 1. */
static bool is_right(const trial *t, const attempt *x) {
  const double bound = 4 * (double)(x->k + 3) * 0x1p-23 + (x->bf16 ? 0 : 0x1p-15);
  for (size_t i = 0; i < M; i++)
    for (size_t j = 0; j < N; j++) {
      double sum = 0.5 * (double)t->start[i * N + j], scale = fabs(sum);
      for (size_t l = 0; l < x->k; l++) {
        float left = x->ta ? t->a[l * M + i] : t->a[i * x->k + l];
        float right = as_type(x->tb ? t->b[j * x->k + l] : t->b[l * N + j], x->type);
        double term = 2 * (x->bf16 ? rounded(left) * rounded(right) : (double)left * (double)right);
        sum += term;
        scale += fabs(term);
      }
      if (!(fabs((double)t->out[i * N + j] - sum) <= bound * scale)) return false;
    }
  return true;
}

static xcoder_status try_product(xcoder_device *device, const trial *t, const attempt *x, bool *right) {
  xcoder_status status = xci_cl_write(device, t->memory[2], 0, t->start, sizeof(float) * M * N, NULL);
  if (!status) status = send_b(device, t, x->type);
  if (!status)
    status = xci_cl_gemm_of(device, x->bf16 ? XCI_COMPUTE_BF16 : XCI_COMPUTE_FP32, M, N, x->k, 2,
                            (xci_cl_matrix){t->memory[0], 0, x->ta ? M : x->k, x->ta},
                            (xci_cl_matrix){t->memory[1], 0, x->tb ? x->k : N, x->tb}, x->type, 0.5f,
                            (xci_cl_matrix){t->memory[2], 0, N, false}, NULL);
  if (!status) status = xci_cl_read(device, t->memory[2], 0, t->out, sizeof(float) * M * N, NULL);
  *right = !status && is_right(t, x);
  return status;
}

/* Whether cl->tensor computes what it should. Emulated products, which tests try thoroughly, are slow: a few. */
static bool try_tensor(xcoder_device *device, bool emulated) {
  trial t = {0};
  float **arrays[] = {&t.a, &t.b, &t.start, &t.out};
  bool right = true;
  xcoder_status status = XCODER_OK;
  for (uint64_t i = 0; i < 4 && !status; i++) {
    status = xci_alloc(LARGEST, sizeof(float), (void **)arrays[i], NULL);
    for (size_t l = 0; !status && l < LARGEST; l++)
      (*arrays[i])[l] = (float)xci_random_normal(17, XCI_STREAM_TEST + i, l);
    if (!status && i < 3) status = xci_cl_alloc(device, LARGEST, sizeof(float), &t.memory[i], NULL);
    if (!status && i == 0) status = xci_cl_write(device, t.memory[i], 0, *arrays[i], LARGEST * sizeof(float), NULL);
  }
  for (size_t n = 0; n < N_TRIALS && !status && right; n += emulated ? 5 : 1) {
    attempt x = nth_attempt(n);
    status = try_product(device, &t, &x, &right);
  }
  for (size_t i = 0; i < 4; i++) xci_free(*arrays[i]);
  for (size_t i = 0; i < 3; i++) xci_cl_free(device, &t.memory[i]);
  return !status && right;
}

/* Words of XCODER_OPENCL_GEMM. */
static const struct {
  const char *word, *products;
  bool tensor, emulated, three;
} ways[] = {{"tensor", "tensor cores", true, false, false},
            {"tensor3", "tensor cores, three products", true, false, true},
            {"emulated", "tensor cores, emulated", true, true, false},
            {"emulated3", "tensor cores, three products, emulated", true, true, true},
            {"own", "own kernel", false, false, false},
            {"clblast", "CLBlast", false, false, false}};
enum { TENSOR, OWN = 4, CLBLAST, N_WAYS };

bool xci_cl_choose_gemm(xcoder_device *device, const xci_cl_found *found) {
  xci_cl *cl = xci_cl_of(device);
  const char *wish = getenv("XCODER_OPENCL_GEMM");
  size_t way = 0;
  while (way < N_WAYS && (wish == NULL || strcmp(wish, ways[way].word) != 0)) way++;
  /* CLBlast is tuned for GPUs and builds its kernels for seconds. */
  cl->use_clblast = HAVE_CLBLAST && way != OWN && (way == CLBLAST || !cl->is_cpu);
  cl->products = ways[cl->use_clblast ? CLBLAST : OWN].products;
  if (way == N_WAYS && has_tensor_cores(cl)) way = TENSOR;
  if (way == N_WAYS || !ways[way].tensor) return true;
  cl->tensor_fp32 = ways[way].three ? "gemm_bf16x3" : "gemm_bf16x6";
  xci_cl_build_tensor(device, found, ways[way].emulated);
  if (cl->tensor == NULL) return true;
  if (!try_tensor(device, ways[way].emulated)) return false;
  if (!xci_cl_try_attention(device)) return false;
  cl->products = ways[way].products;
  device->traffic = (xcoder_traffic){0};
  return true;
}
