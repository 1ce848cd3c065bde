/* SPDX-License-Identifier: Apache-2.0 */
/* Latent scaling: sums over positions, least-squares factors, the table. */
#include "analysis/quality/latent_scaling.h"

#include "analysis/json_out.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "base/text.h"
#include <math.h>
#include <string.h>

enum { BLOCK_VALUES = 1 << 20 }; /* doubles of the buffer of products: 8 MiB */

xcoder_status xci_latent_scaling_open(const xci_bench *bench, xci_latent_scaling *s, xcoder_error *err) {
  const size_t pairs = bench->n * bench->n;
  size_t n_values;
  *s = (xci_latent_scaling){.n = bench->n, .n_latents = bench->n_latents};
  if (!xci_mul_size(bench->n_latents, pairs, &n_values))
    return xci_fail(err, XCODER_MEMORY, "latent scaling: %zu features of %zu checkpoints are too many",
                    bench->n_latents, bench->n);
  xcoder_status status = XCI_ALLOC(&s->fired, bench->n_latents, err);
  if (!status) status = XCI_ALLOC(&s->square, bench->n_latents, err);
  if (!status) status = XCI_ALLOC(&s->error, n_values, err);
  if (!status) status = XCI_ALLOC(&s->reconstruction, n_values, err);
  if (status) xci_latent_scaling_close(s);
  return status;
}

void xci_latent_scaling_close(xci_latent_scaling *s) {
  xci_free(s->fired);
  xci_free(s->square);
  xci_free(s->error);
  xci_free(s->reconstruction);
  xci_free(s->block);
  *s = (xci_latent_scaling){0};
}

/* f <d_b, x_a - xhat_a> and f <d_b, xhat_a> of the code j at position k, for every a and b. */
static void multiply_code(const xci_bench *bench, const xci_stretch *stretch, size_t k, size_t j, double *out) {
  const size_t n = bench->n, d = bench->d_model;
  const float *x = stretch->hidden + stretch->row[k] * n * d, *xhat = stretch->decoded + k * n * d;
  for (size_t a = 0; a < n; a++)
    for (size_t b = 0; b < n; b++) {
      const float *w = xci_bench_decoder(bench, stretch->codes.index[j], b);
      const double all = xci_dot(w, x + a * d, d), decoded = xci_dot(w, xhat + a * d, d);
      /* W_dec of raw activations times s_b is the unfolded direction, a raw activation times s_a the normalised one. */
      const double factor = (double)stretch->codes.value[j] * (double)bench->unit[b] * (double)bench->scale[b] *
                            (double)bench->scale[a];
      out[2 * (a * n + b)] = factor * (all - decoded);
      out[2 * (a * n + b) + 1] = factor * decoded;
    }
}

static void add_products(xci_latent_scaling *s, const xci_stretch *stretch, size_t first, size_t end) {
  const size_t pairs = s->n * s->n;
  for (size_t j = first; j < end; j++) {
    const size_t i = stretch->codes.index[j];
    const double f = (double)stretch->codes.value[j], *product = s->block + (j - first) * 2 * pairs;
    s->fired[i]++;
    s->square[i] += f * f;
    for (size_t p = 0; p < pairs; p++) {
      s->error[i * pairs + p] += product[2 * p];
      s->reconstruction[i * pairs + p] += product[2 * p + 1];
    }
  }
}

/* Products are independent of each other and added in the order of the codes, block by block. */
xcoder_status xci_latent_scaling_add(const xci_bench *bench, const xci_stretch *stretch, xci_latent_scaling *s,
                                     xcoder_error *err) {
  const size_t width = 2 * s->n * s->n, *start = stretch->codes.start;
  size_t longest = 1;
  for (size_t k = 0; k < stretch->n_unmasked; k++) longest = xci_max_size(longest, start[k + 1] - start[k]);
  if (xci_max_size(longest, BLOCK_VALUES / width) > s->block_codes) {
    xci_free(s->block);
    s->block = NULL;
    s->block_codes = xci_max_size(longest, BLOCK_VALUES / width);
    size_t n_values;
    if (!xci_mul_size(s->block_codes, width, &n_values)) n_values = SIZE_MAX;
    const xcoder_status status = XCI_ALLOC(&s->block, n_values, err);
    if (status) {
      s->block_codes = 0;
      return status;
    }
  }
  for (size_t first = 0, end; first < stretch->n_unmasked; first = end) {
    end = first + 1;
    while (end < stretch->n_unmasked && start[end + 1] - start[first] <= s->block_codes) end++;
#pragma omp parallel for num_threads(xci_threads()) schedule(dynamic, 4)
    for (size_t k = first; k < end; k++)
      for (size_t j = start[k]; j < start[k + 1]; j++)
        multiply_code(bench, stretch, k, j, s->block + (j - start[first]) * width);
    add_products(s, stretch, start[first], start[end]);
  }
  return XCODER_OK;
}

/* <d_a, d_b> of the unfolded decoder. */
static double multiply_directions(const xci_bench *bench, size_t feature, size_t a, size_t b) {
  const double scale = (double)bench->unit[a] * (double)bench->scale[a] * (double)bench->unit[b] *
                       (double)bench->scale[b];
  return scale * xci_dot(xci_bench_decoder(bench, feature, a), xci_bench_decoder(bench, feature, b), bench->d_model);
}

static double divide(double above, double below) { return below > 0 ? above / below : NAN; }

xci_scaled xci_latent_scaling_at(const xci_bench *bench, const xci_latent_scaling *s, size_t i, size_t a, size_t b) {
  const size_t other = (i * s->n + a) * s->n + b, own = (i * s->n + b) * s->n + b;
  const double length = multiply_directions(bench, i, b, b), square = s->square[i];
  const double norm_a = sqrt(multiply_directions(bench, i, a, a)), norm_b = sqrt(length);
  /* The feature itself is put back into what the crosscoder leaves: + f^2 <d_b, d_a>. */
  const double error = s->error[other] + square * multiply_directions(bench, i, a, b);
  const double own_error = s->error[own] + square * length;
  xci_scaled out;
  out.beta_error = divide(error, square * length);
  out.beta_reconstruction = divide(s->reconstruction[other], square * length);
  out.nu_error = divide(out.beta_error, divide(own_error, square * length));
  out.nu_reconstruction = divide(out.beta_reconstruction, divide(s->reconstruction[own], square * length));
  out.rel_dec = divide(norm_a, norm_a + norm_b);
  return out;
}

static void add_label(xci_text *text, const char *label) {
  xci_text_add(text, ",");
  xci_text_csv(text, label, strlen(label));
}

xcoder_status xci_latent_scaling_write(const xci_bench *bench, const xci_latent_scaling *s, const char *run_directory,
                                       xcoder_error *err) {
  xci_text text = {0};
  char *path = NULL;
  xci_text_add(&text, "feature,direction,checkpoint,fired,rel_dec,beta_error,nu_error,beta_reconstruction,"
                      "nu_reconstruction\n");
  for (size_t i = 0; i < s->n_latents; i++)
    for (size_t b = 0; s->fired[i] && b < s->n; b++)
      for (size_t a = 0; a < s->n; a++) {
        const xci_scaled at = xci_latent_scaling_at(bench, s, i, a, b);
        const double value[] = {at.rel_dec, at.beta_error, at.nu_error, at.beta_reconstruction, at.nu_reconstruction};
        if (a == b && s->n > 1) continue;
        xci_text_format(&text, "%zu", i);
        add_label(&text, bench->info->labels[b]);
        add_label(&text, bench->info->labels[a]);
        xci_text_format(&text, ",%llu", (unsigned long long)s->fired[i]);
        for (size_t k = 0; k < sizeof value / sizeof *value; k++) {
          xci_text_add(&text, ",");
          if (!isnan(value[k])) xci_text_number(&text, value[k]);
        }
        xci_text_add(&text, "\n");
      }
  xcoder_status status = xci_run_path(run_directory, NULL, "latent-scaling", ".csv", &path, err);
  if (!status) status = xci_write_text(path, &text, err);
  xci_text_clear(&text);
  xci_free(path);
  return status;
}
