/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of an xcoder: parameters on the host, and a copy on the device that last used them. */
#ifndef XCI_CROSSCODER_OBJECT_H
#define XCI_CROSSCODER_OBJECT_H

#include "compute/compute.h"
#include "formats/safetensors.h"
#include <crosscoder/coder.h>

enum { XCI_MAX_LAYER = 1000000 };
enum { XCI_CODER_FORMAT = 1 }; /* newest format of crosscoder.safetensors and state.safetensors that this reads */

typedef struct xci_resident xci_resident;

struct xcoder {
  xcoder_info info; /* labels and scales point to the arrays below */
  char **labels;
  float *scales;
  float *weights[XCI_N_TENSORS];
  size_t n_values[XCI_N_TENSORS];
  float *theta; /* [n_latents], in units of f, or NULL: none, or made from info.threshold where it is needed */
  float *score; /* [n_latents], topk: what f is ranked by is f * score; NULL: the norms of the unfolded decoder */
  xci_resident *resident; /* changes in const functions: it is a cache */
};

/* "W_enc", ... and the shape of a tensor in the file; the rank is returned. */
extern const char *const xci_coder_tensor_names[XCI_N_TENSORS];
size_t xci_coder_tensor_shape(size_t n_checkpoints, size_t d_model, size_t n_latents, xci_coder_tensor tensor,
                              size_t shape[3]);
/* Values in each tensor. XCODER_USAGE for a shape that is not allowed, XCODER_MEMORY for one that overflows. */
xcoder_status xci_coder_sizes(size_t n_checkpoints, size_t d_model, size_t n_latents, size_t n_values[XCI_N_TENSORS],
                              xcoder_error *err);
/* Labels (NULL: the default ones) must be distinct, non-empty UTF-8, the layer -1 or a block's number: what a file can
 * hold and give back. */
xcoder_status xci_check_labels(const char *const *labels, size_t n, xcoder_error *err);
xcoder_status xci_check_layer(long layer, xcoder_error *err);
/* The label of checkpoint c when none was given: A, B, ..., Z, AA, ... */
void xci_default_label(size_t c, char label[3]);
/* Copies n labels (NULL: the default ones); an array of n pointers, each freed with xci_free(). */
xcoder_status xci_copy_labels(const char *const *labels, size_t n, char ***out, xcoder_error *err);
void xci_free_labels(char **labels, size_t n);

/* What crosscoder.safetensors and a checkpoint say about a crosscoder beside its tensors. */
xcoder_status xci_coder_add_metadata(xci_safetensors_writer *writer, const xcoder_info *info, xcoder_error *err);
/* "relu", "batchtopk", "topk", "jumprelu". */
extern const char *const xci_activation_names[];
bool xci_coder_has_thresholds(const xcoder *coder);
/* Sets the activation. theta, score: [n_latents], copied, or NULL. */
xcoder_status xci_coder_set_activation(xcoder *coder, xcoder_activation activation, size_t k, float threshold,
                                       const float *theta, const float *score, xcoder_error *err);
/* Sum of the norms of n rows of d values; with scales, each norm times its scale. */
double xci_norm_sum(const float *rows, size_t n, size_t d, const float *scales);
/* sum_c ||W_dec[i,c]|| of the unfolded decoder, [n_latents]. */
xcoder_status xci_coder_scores(const xcoder *coder, float *score, xcoder_error *err);
/* theta_i of every latent, [n_latents]: the crosscoder's own, or from its decoder norms; for norms of 0 see
 * object.c. */
xcoder_status xci_coder_thresholds(const xcoder *coder, float *theta, xcoder_error *err);
/* Reads parameters and metadata of either kind of file. */
xcoder_status xci_coder_load_file(const char *path, xcoder **coder, xcoder_error *err);

/* The copy on a device. */
xcoder_status xci_resident_create(xci_resident **resident, xcoder_error *err);
void xci_resident_drop(xci_resident *resident); /* forgets the copy */
void xci_resident_free(xci_resident *resident);

#endif
