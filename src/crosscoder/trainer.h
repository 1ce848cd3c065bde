/* SPDX-License-Identifier: Apache-2.0 */
/* The trainer and its parts: options, samples, metrics, checkpoints. */
#ifndef XCI_CROSSCODER_TRAINER_H
#define XCI_CROSSCODER_TRAINER_H

#include "base/file.h"
#include "base/text.h"
#include "crosscoder/batches.h"
#include "crosscoder/object.h"
#include <crosscoder/train.h>
#include <jansson.h>

/* ---- Options ---- */

enum { XCI_MAX_CONFIG = 48, XCI_CHECKPOINT_FORMAT = 1 };

/* Everything that decides the bits of a run, as text; never threads, paths, or how often the state is saved. */
typedef struct xci_config {
  size_t n_entries;
  const char *key[XCI_MAX_CONFIG];
  char *value[XCI_MAX_CONFIG];
  char hash[33];
} xci_config;

/* Checks the options and fills in what 0 stands for. */
xcoder_status xci_train_resolve(const xcoder_train_options *options, size_t n_checkpoints, size_t d_model,
                                xcoder_train_options *resolved, xcoder_error *err);
uint64_t xci_train_steps(const xcoder_train_options *options);
/* What the training asks of a device. Resolved options. */
xci_coder_shape xci_train_shape(size_t n_checkpoints, size_t d_model, const xcoder_train_options *resolved);
double xci_train_lambda(const xcoder_train_options *options, uint64_t step);
double xci_train_rate(const xcoder_train_options *options, uint64_t step);
/* gates.c: options of batchtopk and topk; k of a step. */
bool xci_train_is_ranked(const xcoder_train_options *options);
xcoder_status xci_train_resolve_gate(xcoder_train_options *options, size_t n_checkpoints, size_t d_model,
                                     xcoder_error *err);
size_t xci_train_k(const xcoder_train_options *options, uint64_t step);
/* jump.c: options of jumprelu. */
bool xci_train_is_jump(const xcoder_train_options *options);
xcoder_status xci_jump_resolve(xcoder_train_options *options, size_t n_checkpoints, size_t d_model, xcoder_error *err);

/* Bytes of one checkpoint, of the result, and of the logs. */
uint64_t xci_train_state_bytes(size_t n_checkpoints, size_t d_model, size_t n_latents);
uint64_t xci_train_result_bytes(size_t n_checkpoints, size_t d_model, size_t n_latents);
uint64_t xci_train_log_bytes(size_t n_checkpoints, const xcoder_train_options *resolved);

/* ---- How far a reconstruction is from its batch ---- */

typedef struct xci_spread {
  size_t n_checkpoints, d_model, max_samples;
  double *mean;     /* [n_checkpoints * d_model] */
  double *error;    /* [max_samples, n_checkpoints], squared distance from the reconstruction */
  double *variance; /* [max_samples, n_checkpoints], squared distance from the mean of the batch */
} xci_spread;

typedef struct xci_quality {
  double reconstruction; /* mean over samples of the squared error, summed over checkpoints */
  double ev_pooled, ev_mean;                      /* NaN where there is no variance */
  double ev_checkpoint[XCODER_MAX_CHECKPOINTS];   /* pooled */
} xci_quality;

xcoder_status xci_spread_create(size_t n_checkpoints, size_t d_model, size_t max_samples, xci_spread *spread,
                                xcoder_error *err);
void xci_spread_free(xci_spread *spread);
void xci_spread_measure(xci_spread *spread, const float *x, const float *xhat, size_t n_samples, xci_quality *quality);

/* ---- The trainer ---- */

typedef struct xci_host_copy xci_host_copy; /* rescue.c */

typedef struct xci_trainer {
  xci_guest guest; /* first: the device knows the crosscoder by it */
  const xci_batches *train, *validation; /* validation may be NULL */
  xcoder_train_options options;          /* resolved */
  const xcoder_monitor *monitor;         /* may be NULL */
  const char *run;
  xcoder_info info;
  char **labels;
  float *scales;
  xci_config config;
  uint64_t n_steps;

  xcoder_device *own, *device;
  xci_coder *coder;    /* NULL after the device was replaced */
  xci_host_copy *copy; /* NULL where the device's memory is the host's */
  uint16_t *raw;  /* one batch: bf16, scaled, reconstructed */
  float *x, *xhat;
  xci_spread spread;
  float *norms;   /* [n_latents, n_checkpoints] */
  unsigned char *fired; /* [n_latents], in the validation batches */
  float *theta;         /* [n_latents], thresholds of a validation; of jumprelu those of now */
  float *log_theta[4];  /* jumprelu: [n_latents] each, by xci_coder_slot */
  uint32_t *dead;       /* [n_latents] */
  uint32_t *fired_now;  /* bits of what fired in the batch: xci_objective */
  uint32_t *row;        /* [batch_size or n_latents, the larger]: rows of a window, and work space */
  uint64_t window_version; /* of the one that was moved to the device last, or looked at; 0: none */
  bool window_there, window_refused; /* it is on the device; there is no room for one */

  uint64_t step;        /* steps done */
  uint64_t saved_step;  /* steps of the newest saved state, 0: none */
  bool settled;         /* the caller ended the training at a snapshot */
  uint64_t skipped;     /* of these, without an update */
  uint64_t *last_fired; /* [n_latents], steps done when it last fired, 0: never */
  double last_ev;       /* of the last row, for the progress line */

  xci_writer *metrics, *timing;
  xci_text held;                        /* a row of validation, until the step it stands before is sure to be done */
  uint64_t metrics_bytes, timing_bytes; /* where the checkpoint that was restored stood */
  double seconds_before;                /* spent before the restored checkpoint */
  double started, last_row_seconds;
  uint64_t last_row_step;
} xci_trainer;

/* The configuration of this run. */
xcoder_status xci_config_make(const xci_trainer *trainer, xci_config *config, xcoder_error *err);
void xci_config_free(xci_config *config);

/* Trains; see xcoder_train(). */
xcoder_status xci_train(const xci_batches *train, const xci_batches *validation, const float *scales,
                        const xcoder_train_options *options, const char *run, bool resume, xcoder_device *device,
                        const xcoder_monitor *monitor, xcoder **coder, xcoder_error *err);

void xci_train_warn(const xci_trainer *trainer, const char *format, ...) XCODER_PRINTF(2, 3);

/* Parameters as METHOD section 2 starts them. */
xcoder_status xci_train_init(xci_trainer *trainer, xcoder_error *err);

/* Reads a batch and scales it into trainer->x. *finite tells whether all of it is. */
xcoder_status xci_train_read(xci_trainer *trainer, const xci_batches *batches, uint64_t first, size_t count,
                             bool *finite, xcoder_error *err);

/* gates.c. The gate of a training step, which lives as long as trainer->theta is left alone; that of a validation, for
 * which trainer->norms are to be those of now. */
xci_gate xci_train_gate(const xci_trainer *trainer);
xcoder_status xci_train_validation_gate(xci_trainer *trainer, xci_gate *gate, xcoder_error *err);
void xci_train_move_threshold(xci_trainer *trainer, const xci_losses *losses);
/* Whether trainer->last_fired is that of now after every step; else the device keeps it (xci_window_fetch_fired). */
bool xci_train_asks_fired(const xci_trainer *trainer);
void xci_train_find_dead(xci_trainer *trainer, xci_objective *objective);

/* jump.c; without jumprelu they do nothing. */
xcoder_status xci_jump_create(xci_trainer *trainer, xcoder_error *err);
void xci_jump_free(xci_trainer *trainer);
void xci_jump_init(xci_trainer *trainer);
void xci_jump_thresholds(const xci_trainer *trainer, float *theta); /* with jumprelu only */
void xci_jump_objective(xci_trainer *trainer, xci_objective *objective);
void xci_jump_update(xci_trainer *trainer, const xci_adam *adam, double gradient_norm);

/* snapshot.c */
xcoder_status xci_snapshot_check(const xcoder_train_options *options, xcoder_error *err);
/* Steps done at a snapshot; of resolved options. */
uint64_t xci_snapshot_step(const xcoder_train_options *options, size_t index);
xcoder_status xci_snapshot_if_due(xci_trainer *trainer, xcoder_error *err);
/* Removes those of an older run; when resuming warns of those that are past and absent. */
xcoder_status xci_snapshot_start(xci_trainer *trainer, bool anew, xcoder_error *err);

/* Logs. */
xcoder_status xci_log_open(xci_trainer *trainer, xcoder_error *err);
xcoder_status xci_log_sync(xci_trainer *trainer, uint64_t *metrics_bytes, uint64_t *timing_bytes, xcoder_error *err);
xcoder_status xci_log_close(xci_trainer *trainer, xcoder_error *err);
double xci_log_seconds(const xci_trainer *trainer); /* spent on this run so far */
xcoder_status xci_log_train(xci_trainer *trainer, const xci_losses *losses, const xci_quality *quality,
                            xcoder_error *err);
/* Runs the validation batches; their row is written by xci_log_release(), so that a state that is saved in between
 * (because of an interruption) has no row that the continued run would write again. */
xcoder_status xci_log_validation(xci_trainer *trainer, xcoder_error *err);
xcoder_status xci_log_release(xci_trainer *trainer, xcoder_error *err);
bool xci_train_must_stop(const xci_trainer *trainer);

#endif
