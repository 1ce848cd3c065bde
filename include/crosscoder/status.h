/* SPDX-License-Identifier: Apache-2.0 */
/* How functions say that they failed.
 *
 * A function that can fail returns an xcoder_status and takes an xcoder_error as its last
 * argument. The error may be NULL; it is untouched on success. On failure every output pointer is
 * NULL and the message is one line: "PATH: PLACE: what was found, what was expected (hint)".
 * The library never prints, exits or aborts because of its input. */
#ifndef CROSSCODER_STATUS_H
#define CROSSCODER_STATUS_H

#include <crosscoder/export.h>
#include <signal.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum xcoder_status {
  XCODER_OK = 0,
  XCODER_INTERNAL,    /* a defect of the library */
  XCODER_USAGE,       /* the call asks for the impossible: no such layer, widths that differ */
  XCODER_MISSING,     /* an input that is not there */
  XCODER_FORMAT,      /* an input that is malformed */
  XCODER_UNSUPPORTED, /* an input that is well formed but not supported */
  XCODER_MISMATCH,    /* inputs that do not fit each other */
  XCODER_IO,          /* reading or writing failed: disk full, no permission */
  XCODER_MEMORY,      /* would exceed memory or disk */
  XCODER_DEVICE,      /* the device failed and falling back was forbidden */
  XCODER_DIVERGED,    /* NaN or infinity in training */
  XCODER_LOCKED,      /* another process uses the run directory */
  XCODER_STATE,       /* saved state is corrupt or incompatible */
  XCODER_INTERRUPTED  /* the caller's stop flag was seen; state is saved where the function saves any */
} xcoder_status;

enum { XCODER_ERROR_BYTES = 1024 };

typedef struct xcoder_error {
  xcoder_status status;
  char message[XCODER_ERROR_BYTES]; /* one line, no newline, control characters escaped */
} xcoder_error;

/* The exit status of the command-line tool for a status (doc: "Exit status" in crosscoder(1)). */
XCODER_API int xcoder_exit_status(xcoder_status status);

/* The name of a status in lower case, for logs: "format". Never NULL. */
XCODER_API const char *xcoder_status_name(xcoder_status status);

/* What a long operation tells its caller while it runs. Any member may be NULL. The functions are
 * called from the thread that called the library, never concurrently. */
typedef struct xcoder_progress {
  const char *stage; /* "train", "attribute", ... */
  const char *unit;  /* "tokens", "examples", ... */
  uint64_t done;
  uint64_t total;
  const char *detail; /* one short line such as "loss 12.3 L0 31", or NULL */
} xcoder_progress;

typedef struct xcoder_monitor {
  void *context;
  void (*progress)(void *context, const xcoder_progress *progress);
  void (*warn)(void *context, const char *message);
  const volatile sig_atomic_t *stop; /* non-zero: finish the step, save, return XCODER_INTERRUPTED */
} xcoder_monitor;

#ifdef __cplusplus
}
#endif
#endif
