/* SPDX-License-Identifier: Apache-2.0 */
/* Which way products go. Tensor cores are used only on NVIDIA's devices of compute capability 8.0 and more, and only
 * after products of both kinds gave there what they should. */
#include "config.h"

#include "compute/opencl/opencl.h"

#include "base/half.h"
#include "base/memory.h"
#include "base/random.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CAPABILITY_MAJOR = 0x4000 }; /* CL_DEVICE_COMPUTE_CAPABILITY_MAJOR_NV of cl_nv_device_attribute_query */
enum { M = 140, N = 90, K = 37, LARGEST = (M > N ? M : N) * (K > M ? K : M) };

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

/* Whether every result is as near as it must be. How tensor cores round within an instruction is not documented: four
 * times what K additions that truncate would err, 2^-23 each, of the sum of magnitudes; and what gemm_bf16x3 leaves
 * out. A fragment in the wrong place shows as 1. */
static bool is_right(const trial *t, bool ta, bool tb, bool bf16) {
  const double bound = 4 * (K + 3) * 0x1p-23 + (bf16 ? 0 : 0x1p-16);
  for (size_t i = 0; i < M; i++)
    for (size_t j = 0; j < N; j++) {
      double sum = 0.5 * (double)t->start[i * N + j], scale = fabs(sum);
      for (size_t l = 0; l < K; l++) {
        float x = ta ? t->a[l * M + i] : t->a[i * K + l], y = tb ? t->b[j * K + l] : t->b[l * N + j];
        double term = 2 * (bf16 ? rounded(x) * rounded(y) : (double)x * (double)y);
        sum += term;
        scale += fabs(term);
      }
      if (!(fabs((double)t->out[i * N + j] - sum) <= bound * scale)) return false;
    }
  return true;
}

static xcoder_status try_products(xcoder_device *device, const trial *t, bool *right) {
  xcoder_status status = XCODER_OK;
  *right = true;
  for (int kind = 0; kind < 8 && !status && *right; kind++) {
    bool ta = kind & 1, tb = kind & 2, bf16 = kind & 4;
    status = xci_cl_write(device, t->memory[2], 0, t->start, sizeof(float) * M * N, NULL);
    if (!status)
      status = xci_cl_gemm_as(device, bf16 ? XCI_COMPUTE_BF16 : XCI_COMPUTE_FP32, M, N, K, 2,
                              (xci_cl_matrix){t->memory[0], 0, ta ? M : K, ta},
                              (xci_cl_matrix){t->memory[1], 0, tb ? K : N, tb}, 0.5f,
                              (xci_cl_matrix){t->memory[2], 0, N, false}, NULL);
    if (!status) status = xci_cl_read(device, t->memory[2], 0, t->out, sizeof(float) * M * N, NULL);
    if (!status) *right = is_right(t, ta, tb, bf16);
  }
  return status;
}

/* Whether cl->tensor computes what it should. */
static bool try_tensor(xcoder_device *device) {
  trial t = {0};
  float **arrays[] = {&t.a, &t.b, &t.start, &t.out};
  bool right = false;
  xcoder_status status = XCODER_OK;
  for (uint64_t i = 0; i < 4 && !status; i++) {
    status = xci_alloc(LARGEST, sizeof(float), (void **)arrays[i], NULL);
    for (size_t l = 0; !status && l < LARGEST; l++)
      (*arrays[i])[l] = (float)xci_random_normal(17, XCI_STREAM_TEST + i, l);
    if (!status && i < 3) status = xci_cl_alloc(device, LARGEST, sizeof(float), &t.memory[i], NULL);
    if (!status && i < 2) status = xci_cl_write(device, t.memory[i], 0, *arrays[i], LARGEST * sizeof(float), NULL);
  }
  if (!status) status = try_products(device, &t, &right);
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
  if (!try_tensor(device)) return false;
  cl->products = ways[way].products;
  device->traffic = (xcoder_traffic){0};
  return true;
}
