/* SPDX-License-Identifier: Apache-2.0 */
/* Where the arithmetic runs: the processor, the double-precision reference, or an OpenCL device. */
#ifndef CROSSCODER_DEVICE_H
#define CROSSCODER_DEVICE_H

#include <crosscoder/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xcoder_device xcoder_device;

/* Opens a device. `spec` is "cpu" (also NULL), "reference" (slow, double precision, the oracle of
 * the tests), "opencl", "opencl:N", "opencl:NAME" or "auto".
 * Errors: XCODER_USAGE for an unknown spec, XCODER_DEVICE if no usable device answers. */
XCODER_API xcoder_status xcoder_device_open(const char *spec, xcoder_device **device, xcoder_error *err);
XCODER_API void xcoder_device_close(xcoder_device *device);

/* "cpu", "reference", "opencl:0 NVIDIA A100 ..." . Lives as long as the device. */
XCODER_API const char *xcoder_device_name(const xcoder_device *device);

/* What a job keeps on a device at once. */
typedef struct xcoder_device_plan {
  size_t n_checkpoints, d_model, n_latents, batch_size; /* of a crosscoder; n_latents 0: none */
  bool training;         /* with moments, gradients; xcoder_train_device_plan() fills in these seven */
  size_t max_codes;      /* most features of a sample, in the mean of a batch, that gradients are taken of; 0: any */
  bool auxiliary;        /* with the auxiliary term */
  uint64_t work_bytes;   /* what models work in: must lie on the device, as what a batch works in must */
  uint64_t weight_bytes; /* weights of models, and */
  uint64_t window_bytes; /* samples of a training: come from the host's memory where there is no room for them */
} xcoder_device_plan;

/* How a device holds a plan. Bytes. */
typedef struct xcoder_device_room {
  bool own_memory;       /* else nothing below is set: the processor's memory is all there is */
  uint64_t memory_bytes, largest_bytes; /* of the device, and of one allocation; some is held already: */
  uint64_t used_bytes;
  uint64_t coder_bytes;  /* of a crosscoder whose weights all lie there, and of that */
  uint64_t batch_bytes;  /* what is not weights, moments, gradients, and cannot be cut */
  size_t n_panels, n_host_panels; /* the features are cut into panels; so many stay in the host's memory */
  size_t panel_latents;           /* features of a panel, the last of which may have fewer */
  uint64_t host_bytes;            /* of the host's memory for them */
  /* What crosses the bus for them, exactly: in a step of training, without a row of the log or a validation, without
   * dead features that the auxiliary term asks for, and where the number of codes changes by less than a quarter; else
   * for a batch that is encoded and decoded. */
  uint64_t step_up, step_down;
} xcoder_device_room;

/* What `device` would do with a plan. Errors: XCODER_DEVICE, with numbers, where what cannot be cut does not fit. */
XCODER_API xcoder_status xcoder_device_find_room(xcoder_device *device, const xcoder_device_plan *plan,
                                                 xcoder_device_room *room, xcoder_error *err);

/* Tells a device what it is going to hold, so that what comes first leaves room for the rest. One that was opened as
 * "auto" must have room for all of it, or becomes the processor, also by name, and xcoder_device_reason() says why.
 * Other devices stay: what does not fit an OpenCL device is brought to it in parts, slowly. Errors: those of opening
 * the processor. */
XCODER_API xcoder_status xcoder_device_fit(xcoder_device *device, const xcoder_device_plan *plan, xcoder_error *err);

/* Why "auto" chose the processor, in one line; "" for other devices. Lives as long as the device. */
XCODER_API const char *xcoder_device_reason(const xcoder_device *device);

/* Kernel flavour in use, e.g. "avx512 openblas-openmp SkylakeX". Lives as long as the device. */
XCODER_API const char *xcoder_device_kernels(const xcoder_device *device);

/* How later forward passes through transformer blocks compute their linear products: "fp32" (the default), or
 * "bf16": activations and weights are rounded to bfloat16 (8 bits of significand) and the products summed in float32,
 * in the order of k. Attention, norms, the head, backward passes and crosscoders stay as they are. Bits depend on the
 * choice, never on threads. "bf16-all", on OpenCL devices alone: also the dense products of crosscoders. Errors:
 * XCODER_USAGE for another word, XCODER_DEVICE where the device cannot, saying what it lacks (the processor needs
 * AVX512_BF16). */
XCODER_API xcoder_status xcoder_device_set_compute(xcoder_device *device, const char *compute, xcoder_error *err);

/* What a device with memory of its own was asked to do since it was opened, and what crossed the bus. */
typedef struct xcoder_traffic {
  uint64_t n_launches;          /* commands that run on the device: kernels, products, copies and fills within it */
  uint64_t n_up, bytes_up;      /* transfers to the device */
  uint64_t n_down, bytes_down;  /* and back */
  uint64_t n_waits;             /* calls that waited for the device, which is then idle until the next command */
  double wait_seconds;          /* in those */
  double idle_seconds;          /* after those, until the next command: the host's own work while nothing was queued */
  double host_seconds;          /* between commands, idle_seconds included */
} xcoder_traffic;

/* Copies the counts of all calls so far; false, and zeros, for a device that shares the processor's memory. */
XCODER_API bool xcoder_device_traffic(const xcoder_device *device, xcoder_traffic *traffic);

/* Lets the processor take the place of `device` if that fails in the middle of work: the call that failed is done again
 * from what the host holds, a training goes on from its newest host copy, and `device` is the processor from then on
 * (also by name). `notice` (NULL: none) is called once, with one line. Without this, calls end with XCODER_DEVICE;
 * "auto" implies it. Nothing happens for devices that are the processor. */
XCODER_API void xcoder_device_set_fallback(xcoder_device *device, void (*notice)(void *context, const char *message),
                                           void *context);

/* Runs every operation of the device once against the reference. Errors: XCODER_DEVICE naming the
 * operation and the error that was measured. */
XCODER_API xcoder_status xcoder_device_self_test(xcoder_device *device, xcoder_error *err);

/* A JSON object describing backends, devices, BLAS and instruction sets of this machine; the caller
 * frees it with xcoder_free(). */
XCODER_API xcoder_status xcoder_device_list(char **json, xcoder_error *err);

/* The number of threads of every later call, 1 to 1024; 0 restores the default (the number of
 * processors that OpenMP reports). Results do not depend on it, bit for bit. */
XCODER_API void xcoder_set_threads(int n_threads);
XCODER_API int xcoder_threads(void);

/* Frees memory that a function of this library returned as text or as an array. NULL is allowed. */
XCODER_API void xcoder_free(void *memory);

#ifdef __cplusplus
}
#endif
#endif
