/* SPDX-License-Identifier: Apache-2.0 */
/* Training of a crosscoder: with an L1 term, batchtopk, topk or jumprelu (doc/mathematics.md). */
#ifndef CROSSCODER_TRAIN_H
#define CROSSCODER_TRAIN_H

#include <crosscoder/coder.h>
#include <crosscoder/harvest.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xcoder_train_options {
  size_t n_latents;            /* D */
  size_t batch_size;           /* B, 4096 */
  uint64_t n_tokens;           /* budget; steps T = n_tokens / batch_size */
  double learning_rate;        /* 5e-5 */
  double beta1, beta2, epsilon;/* 0.9, 0.999, 1e-8 */
  double l1_coefficient;       /* lambda, 2 */
  double warmup_share;         /* of the steps over which lambda rises linearly, 0.05 */
  double decay_share;          /* last share of the steps over which the rate falls to 0, 0.2 */
  double clip_norm;            /* 1.0 */
  double decoder_init_norm;    /* 0: 0.08 with relu, else 1 */
  uint64_t seed;
  uint64_t log_every;          /* steps between rows of metrics.csv, 0: about 200 rows in all */
  uint64_t validate_every;     /* steps, 0: about 20 times */
  uint64_t validation_batches; /* 8 */
  uint64_t save_every;         /* steps between checkpoints, 0: about 20 times; the last step is always saved */
  uint64_t keep_checkpoints;   /* 2 */
  uint64_t skip_nan_steps;     /* --on-nan=skip:N; 0: stop */
  long layer;
  const char *const *labels;   /* [n_checkpoints] or NULL */
  xcoder_mask mask;
  const char *config_hash;     /* 32 hex digits that a resumed run must have; NULL: computed from the options */
  xcoder_activation activation;/* XCODER_RELU */
  /* Of batchtopk and topk, which have no L1 term. Those marked * are at most a share of the run or the dictionary. */
  size_t k;                    /* 200; features kept, per sample in the mean (batchtopk) or of each sample (topk) */
  size_t k_start;              /* 1000, * 1/16 of the features, at least k: k falls from here linearly */
  uint64_t anneal_steps;       /* 5000, * 5 % of the steps */
  uint64_t threshold_start;    /* 1000, * 1 % of the steps: the threshold's average starts here */
  double threshold_decay;      /* 0.999, a memory of 1000 steps, * 2 % of the steps */
  double auxiliary_coefficient;/* 1/32 */
  uint64_t dead_tokens;        /* 10M, * 2.5 % of the tokens without firing make a feature dead */
  size_t n_auxiliary;          /* 0: d_model / 2; dead features that reconstruct the residual of a sample */
  /* Snapshots: behind step ceil(share * T) the crosscoder as it is goes to RUN/snapshots/share-S/crosscoder.safetensors
   * (with batchtopk not before the threshold's average has begun). They change no bit of the run. */
  const double *snapshots;     /* [n_snapshots] shares of the budget, rising, above 0 and below 1; kept by the caller */
  size_t n_snapshots;          /* 0 */
  /* Called with each snapshot's folder; setting *stop ends the training there, with the crosscoder as it is (the rate
   * has not fallen then). May be NULL. */
  xcoder_status (*on_snapshot)(void *context, size_t index, const char *folder, bool *stop, xcoder_error *err);
  void *snapshot_context;
  /* Of jumprelu, which has no L1 term but l0_coefficient n d * mean number of features that fire, rising as lambda
   * does. Every feature's threshold is trained; see doc/mathematics.md for the units. */
  double l0_coefficient;       /* 0.001; share of the mean square of a sample that a feature which fires costs */
  double bandwidth;            /* 0.01; of the straight-through estimator, share of n sqrt(d) */
  double initial_threshold;    /* 0.01; of the score f_i sum_c ||W_dec[i,c]||, share of n sqrt(d) */
} xcoder_train_options;

/* The defaults above. */
XCODER_API void xcoder_train_defaults(xcoder_train_options *options);

/* Trains in the run directory `run` (made if missing) and writes there metrics.csv, timing.csv, checkpoints/step-N/
 * and, at the end, crosscoder.safetensors. `scales` [n_checkpoints]. `validation` may be NULL.
 * With `resume` it continues from the newest good checkpoint, bit for bit, and truncates the logs to it.
 * Without `resume`, checkpoints and result of an older run in the same folder are removed. The caller holds the
 * folder's lock (xcoder_run_open). `device` NULL: the processor. Errors: XCODER_DIVERGED, XCODER_INTERRUPTED (saved),
 * XCODER_STATE, XCODER_IO. `*coder` may be NULL. */
XCODER_API xcoder_status xcoder_train(xcoder_source *source, xcoder_source *validation, const float *scales,
                                      const xcoder_train_options *options, const char *run, bool resume,
                                      xcoder_device *device, const xcoder_monitor *monitor, xcoder **coder,
                                      xcoder_error *err);

/* RUN/snapshots/share-S, where the snapshot at that share is kept. Freed with xcoder_free(). */
XCODER_API xcoder_status xcoder_snapshot_folder(const char *run, double share, char **folder, xcoder_error *err);

typedef struct xcoder_cost {
  uint64_t memory_bytes;
  uint64_t disk_bytes;
  double flops;
  double written_bytes; /* by all saved states together, and the result */
} xcoder_cost;

/* Memory, disk and floating-point work of a training run of this shape (the crosscoder alone). */
XCODER_API xcoder_status xcoder_train_cost(size_t n_checkpoints, size_t d_model, const xcoder_train_options *options,
                                           xcoder_cost *cost, xcoder_error *err);

/* The crosscoder of a plan for a device (crosscoder/device.h), as a training by `options` needs it; the plan's bytes
 * are left as they are. */
XCODER_API xcoder_status xcoder_train_device_plan(size_t n_checkpoints, size_t d_model,
                                                  const xcoder_train_options *options, xcoder_device_plan *plan,
                                                  xcoder_error *err);

typedef struct xcoder_pace {
  double encode_seconds;     /* for one sample */
  double first_step_seconds; /* while half of all features fire */
  double last_step_seconds;  /* when about 64 of a sample do */
  double train_seconds; /* of all steps, rows of the log and validations; without making samples or saving states */
  xcoder_traffic step;       /* one of the last steps on a device with its own memory (no seconds), without logging and
                              * without what panels in the host's memory add (xcoder_device_find_room() tells that) */
  double up_seconds, down_seconds; /* for a byte to such a device, and back */
} xcoder_pace;

/* The time of a training run on `device`, from about a second of measurements with the device's own operations at the
 * real n_checkpoints and d_model. How fast features become sparse depends on the data, so the time of the run is a
 * forecast. */
XCODER_API xcoder_status xcoder_train_pace(size_t n_checkpoints, size_t d_model, const xcoder_train_options *options,
                                           xcoder_device *device, xcoder_pace *pace, xcoder_error *err);

#ifdef __cplusplus
}
#endif
#endif
