/* SPDX-License-Identifier: Apache-2.0 */
/* Building the kernels. Binaries are kept in XDG_CACHE_HOME (else ~/.cache), named by a hash of device, driver, options
 * and source; a file that does not hold what it should is built and written anew. No error of the cache is one of
 * ours. */
#include "compute/opencl/opencl.h"

#include "base/file.h"
#include "base/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS "-cl-std=CL1.2 -cl-mad-enable"
enum { HASH = 32, MAX_BINARY = 256 << 20 };

typedef struct sources {
  const char *const *lines;
  size_t n_lines;
  const char *options;
} sources;

static void key_of(const xci_cl_found *found, const sources *from, char key[HASH + 1]) {
  xci_hash *hash;
  key[0] = '\0';
  if (xci_hash_open(&hash, NULL)) return;
  const char *parts[] = {found->platform_name, found->name, found->driver, found->version, from->options};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) xci_hash_add(hash, parts[i], strlen(parts[i]) + 1);
  for (size_t i = 0; i < from->n_lines; i++) xci_hash_add(hash, from->lines[i], strlen(from->lines[i]));
  xci_hash_close(hash, key);
}

/* The file of the cache, its folder made; NULL where there is none. Freed with xci_free(). */
static char *cache_path(const xci_cl_found *found, const sources *from) {
  char key[HASH + 1];
  xci_text folder = {0}, path = {0};
  const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  key_of(found, from, key);
  if (key[0] == '\0') return NULL;
  if (cache != NULL && *cache == '/') xci_text_format(&folder, "%s/crosscoder", cache);
  else if (home != NULL && *home == '/') xci_text_format(&folder, "%s/.cache/crosscoder", home);
  else return NULL;
  if (!folder.failed) xci_text_format(&path, "%s/opencl-%s.bin", folder.bytes, key);
  if (folder.failed || path.failed || xci_make_folder(folder.bytes, NULL)) xci_text_clear(&path);
  xci_text_clear(&folder);
  return path.bytes;
}

static cl_int build(const xci_cl *cl, const sources *from, cl_program program) {
  return clBuildProgram(program, 1, &cl->id, from->options, NULL, NULL);
}

/* A file is the binary's checksum, then the binary. */
static bool load(const xci_cl *cl, const sources *from, const char *path, cl_program *program) {
  char *bytes = NULL, checksum[HASH + 1];
  size_t n_bytes = 0;
  cl_int code, binary_code;
  if (xci_read_file(path, MAX_BINARY, &bytes, &n_bytes, NULL)) return false;
  if (n_bytes > HASH) xci_hash_bytes(bytes + HASH, n_bytes - HASH, checksum);
  if (n_bytes > HASH && memcmp(bytes, checksum, HASH) == 0) {
    const unsigned char *binary = (const unsigned char *)bytes + HASH;
    size_t n = n_bytes - HASH;
    *program = clCreateProgramWithBinary(cl->context, 1, &cl->id, &n, &binary, &binary_code, &code);
    if (code != CL_SUCCESS) *program = NULL;
    if (*program != NULL && (binary_code != CL_SUCCESS || build(cl, from, *program) != CL_SUCCESS)) {
      clReleaseProgram(*program);
      *program = NULL;
    }
  }
  xci_free(bytes);
  return *program != NULL;
}

static void store(cl_program program, const char *path) {
  size_t n = 0;
  unsigned char *binary = NULL;
  char checksum[HASH + 1];
  xci_writer *writer = NULL;
  if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof n, &n, NULL) != CL_SUCCESS || n == 0) return;
  if (n > MAX_BINARY - HASH || XCI_ALLOC(&binary, n, NULL)) return;
  if (clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) == CL_SUCCESS &&
      xci_writer_open(path, &writer, NULL) == XCODER_OK) {
    xci_hash_bytes(binary, n, checksum);
    if (xci_writer_write(writer, checksum, HASH, NULL) || xci_writer_write(writer, binary, n, NULL))
      xci_writer_abort(writer);
    else
      xci_writer_commit(writer, NULL);
  }
  xci_free(binary);
}

static cl_int build_source(const xci_cl *cl, const sources *from, cl_program *program) {
  cl_int code;
  const char **lines = (const char **)(uintptr_t)from->lines; /* OpenCL's prototype lacks a const */
  *program = clCreateProgramWithSource(cl->context, (cl_uint)from->n_lines, lines, NULL, &code);
  if (code == CL_SUCCESS) return build(cl, from, *program);
  *program = NULL;
  return code;
}

/* The program, from the cache or built; what is left in *program after an error holds the log. */
static cl_int make_program(const xci_cl *cl, const xci_cl_found *found, const sources *from, cl_program *program) {
  char *path = cache_path(found, from);
  cl_int code = CL_SUCCESS;
  if (path == NULL || !load(cl, from, path, program)) {
    code = build_source(cl, from, program);
    if (code == CL_SUCCESS && path != NULL) store(*program, path);
  }
  xci_free(path);
  return code;
}

static xcoder_status fail_build(xcoder_device *device, cl_int code, xcoder_error *err) {
  xci_cl *cl = xci_cl_of(device);
  char *log = NULL;
  size_t n = 0;
  if (cl->program == NULL) return xci_cl_fail(device, code, "taking the kernels' source", err);
  clGetProgramBuildInfo(cl->program, cl->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &n);
  cl->failed = true;
  if (n == 0 || n > MAX_BINARY || xci_alloc(n + 1, 1, (void **)&log, NULL) ||
      clGetProgramBuildInfo(cl->program, cl->id, CL_PROGRAM_BUILD_LOG, n, log, NULL) != CL_SUCCESS) {
    xci_free(log);
    return xci_cl_fail(device, code, "building the kernels", err);
  }
  char *first = strstr(log, "error"), quoted[256];
  if (first == NULL) first = log;
  xci_quote(quoted, sizeof quoted, first, strcspn(first, "\n"));
  xcoder_status status = xci_fail(err, XCODER_DEVICE, "device %s: building the kernels failed: %s (%s)", cl->name,
                                  xci_cl_error_name(code), quoted);
  xci_free(log);
  return status;
}

xcoder_status xci_cl_build(xcoder_device *device, const xci_cl_found *found, xcoder_error *err) {
  const sources from = {xci_cl_source, xci_cl_source_lines, OPTIONS};
  cl_int code = make_program(xci_cl_of(device), found, &from, &xci_cl_of(device)->program);
  return code == CL_SUCCESS ? XCODER_OK : fail_build(device, code, err);
}

void xci_cl_build_tensor(xcoder_device *device, const xci_cl_found *found, bool emulated) {
  xci_cl *cl = xci_cl_of(device);
  const sources from = {xci_cl_tensor_source, xci_cl_tensor_source_lines, emulated ? OPTIONS : OPTIONS " -DTENSOR_PTX"};
  if (make_program(cl, found, &from, &cl->tensor) == CL_SUCCESS) return;
  if (cl->tensor != NULL) clReleaseProgram(cl->tensor);
  cl->tensor = NULL;
}
