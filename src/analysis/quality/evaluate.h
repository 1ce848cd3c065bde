/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers behind eval.json: computed in evaluate.c and task_quality.c, written in evaluate_file.c. */
#ifndef XCI_ANALYSIS_EVALUATE_H
#define XCI_ANALYSIS_EVALUATE_H

#include "analysis/workbench.h"

/* Everything per checkpoint is in the order of the crosscoder's labels. */
typedef struct xci_loss { /* cross-entropy of the next token in nats */
  double clean, spliced, blanked;
} xci_loss;

typedef struct xci_task_quality {
  const xcoder_pairs *pairs;
  xcoder_accuracy clean[XCODER_MAX_CHECKPOINTS], spliced[XCODER_MAX_CHECKPOINTS];
} xci_task_quality;

typedef struct xci_evaluation {
  size_t n_batches, batch_sequences;
  uint64_t n_tokens;  /* unmasked positions */
  uint64_t n_dead, *fired; /* fired: [n_latents] */
  double *mean;       /* [n, d_model] of the activations */
  double *l0, *ev_pooled_batch, *ev_mean_batch; /* [n_batches] */
  double error[XCODER_MAX_CHECKPOINTS], variance[XCODER_MAX_CHECKPOINTS]; /* sums, normalised space */
  double ratio[XCODER_MAX_CHECKPOINTS]; /* sum over tokens of 1 - error / variance */
  double ratio_joint, n_ratio[XCODER_MAX_CHECKPOINTS], n_ratio_joint;
  double l0_sum;
  xci_loss loss[XCODER_MAX_CHECKPOINTS];
  uint64_t n_next; /* next tokens behind the losses */
  size_t n_tasks;
  xci_task_quality *task;
} xci_evaluation;

double xci_ev_pooled(const xci_evaluation *e, size_t checkpoint);
double xci_ev_pooled_joint(const xci_evaluation *e, size_t n);
double xci_ev_mean(const xci_evaluation *e, size_t checkpoint);
/* 1 - (spliced - clean) / (blanked - clean), NaN where blanking costs less than 0.05. */
double xci_recovered(const xci_loss *loss);

/* Accuracy and logit difference of every checkpoint on a task, clean and with the reconstruction spliced in. */
xcoder_status xci_task_quality_measure(const xci_bench *bench, const xcoder_pairs *pairs, xci_task_quality *quality,
                                       xcoder_error *err);

/* eval.json, eval.csv, and the verdicts. */
xcoder_status xci_evaluation_write(const xci_bench *bench, const xci_evaluation *e, const char *run_directory,
                                   xcoder_verdicts *verdicts, xcoder_error *err);

#endif
