/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a file or of standard input, decompressed as they come, in constant memory. */
#include "data/stream.h"

#include "base/file.h"
#include "base/memory.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { IN_BYTES = 64 << 10, OUT_BYTES = 128 << 10 };
enum { DEFAULT_WINDOW_LOG = 27, LEAST_WINDOW_LOG = 10, LARGEST_WINDOW_LOG = 31 };

struct xci_stream {
  char *path;
  int descriptor;
  bool owns_descriptor, at_end; /* of the input */
  unsigned char *in;
  size_t in_at, in_n;
  uint64_t consumed; /* bytes of input before in[0] */
  char *out;
  size_t out_n;
  xcoder_status (*fill)(xci_stream *stream, xcoder_error *err); /* fills `out` or ends */
  bool in_unit;   /* inside a gzip member or zstd frame */
  bool pending;   /* the decoder may hold output back */
  bool has_zlib;
  z_stream zlib;
  ZSTD_DCtx *zstd;
  int window_log;
};

/* Reads until `in` holds at least `wanted` unread bytes or the file ends. */
static xcoder_status read_input(xci_stream *stream, size_t wanted, xcoder_error *err) {
  if (stream->in_at == stream->in_n) {
    stream->consumed += stream->in_n;
    stream->in_at = stream->in_n = 0;
  }
  while (stream->in_n - stream->in_at < wanted && !stream->at_end) {
    ssize_t n = read(stream->descriptor, stream->in + stream->in_n, IN_BYTES - stream->in_n);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return xci_fail_errno(err, stream->path, "cannot read");
    if (n == 0) stream->at_end = true;
    stream->in_n += (size_t)n;
  }
  return XCODER_OK;
}

static xcoder_status fail_at(const xci_stream *stream, xcoder_status status, const char *what, const char *detail,
                             xcoder_error *err) {
  return xci_fail(err, status, "%s: byte %llu: %s%s%s", stream->path,
                  (unsigned long long)(stream->consumed + stream->in_at), what, detail[0] ? ": " : "", detail);
}

static xcoder_status fill_plain(xci_stream *stream, xcoder_error *err) {
  while (stream->out_n < OUT_BYTES) {
    xcoder_status status = read_input(stream, 1, err);
    size_t n = stream->in_n - stream->in_at;
    if (status || n == 0) return status;
    if (n > OUT_BYTES - stream->out_n) n = OUT_BYTES - stream->out_n;
    memcpy(stream->out + stream->out_n, stream->in + stream->in_at, n);
    stream->out_n += n;
    stream->in_at += n;
  }
  return XCODER_OK;
}

/* Behind a gzip member: another one, or the end. */
static xcoder_status next_member(xci_stream *stream, bool *more, xcoder_error *err) {
  xcoder_status status = read_input(stream, 1, err);
  *more = false;
  if (status || stream->in_at == stream->in_n) return status;
  if (stream->in[stream->in_at] != 0x1f)
    return fail_at(stream, XCODER_FORMAT, "bytes behind the last gzip member", "", err);
  if (inflateReset(&stream->zlib) != Z_OK) return fail_at(stream, XCODER_INTERNAL, "inflateReset failed", "", err);
  *more = stream->in_unit = true;
  return XCODER_OK;
}

static xcoder_status fill_gzip(xci_stream *stream, xcoder_error *err) {
  z_stream *z = &stream->zlib;
  while (stream->out_n < OUT_BYTES) {
    bool more = true;
    xcoder_status status = stream->in_unit ? XCODER_OK : next_member(stream, &more, err);
    if (!status && more && !stream->pending) status = read_input(stream, 1, err);
    if (status || !more) return status;
    if (stream->in_at == stream->in_n && !stream->pending)
      return fail_at(stream, XCODER_FORMAT, "the file ends in the middle of a gzip member", "", err);
    z->next_in = stream->in + stream->in_at;
    z->avail_in = (uInt)(stream->in_n - stream->in_at);
    z->next_out = (Bytef *)stream->out + stream->out_n;
    z->avail_out = (uInt)(OUT_BYTES - stream->out_n);
    int code = inflate(z, Z_NO_FLUSH);
    stream->in_at = stream->in_n - z->avail_in;
    stream->out_n = OUT_BYTES - z->avail_out;
    stream->pending = z->avail_out == 0 && code == Z_OK;
    if (code == Z_STREAM_END) stream->in_unit = false;
    else if (code == Z_MEM_ERROR) return fail_at(stream, XCODER_MEMORY, "no memory to decompress", "", err);
    else if (code != Z_OK && code != Z_BUF_ERROR)
      return fail_at(stream, XCODER_FORMAT, "not valid gzip", z->msg ? z->msg : "", err);
  }
  return XCODER_OK;
}

static xcoder_status fail_zstd(const xci_stream *stream, size_t code, xcoder_error *err) {
  const char *name = ZSTD_getErrorName(code);
  switch (ZSTD_getErrorCode(code)) {
  case ZSTD_error_frameParameter_windowTooLarge:
    return xci_fail(err, XCODER_MEMORY, "%s: byte %llu: this zstd frame needs a window of more than %llu MiB: %s "
                    "(--zstd-window-log=31 allows any)", stream->path,
                    (unsigned long long)(stream->consumed + stream->in_at), (1ULL << stream->window_log) >> 20, name);
  case ZSTD_error_memory_allocation: return fail_at(stream, XCODER_MEMORY, "no memory to decompress", name, err);
  case ZSTD_error_dictionary_wrong:
    return fail_at(stream, XCODER_UNSUPPORTED, "this zstd frame needs a dictionary", name, err);
  default: return fail_at(stream, XCODER_FORMAT, "not valid zstd", name, err);
  }
}

static xcoder_status fill_zstd(xci_stream *stream, xcoder_error *err) {
  while (stream->out_n < OUT_BYTES) {
    xcoder_status status = stream->pending ? XCODER_OK : read_input(stream, 1, err);
    if (status) return status;
    bool empty = stream->in_at == stream->in_n && !stream->pending;
    if (empty && stream->in_unit)
      return fail_at(stream, XCODER_FORMAT, "the file ends in the middle of a zstd frame", "", err);
    if (empty) return XCODER_OK;
    ZSTD_inBuffer in = {stream->in, stream->in_n, stream->in_at};
    ZSTD_outBuffer out = {stream->out, OUT_BYTES, stream->out_n};
    size_t code = ZSTD_decompressStream(stream->zstd, &out, &in);
    if (ZSTD_isError(code)) return fail_zstd(stream, code, err);
    stream->in_at = in.pos;
    stream->out_n = out.pos;
    stream->in_unit = code != 0;
    stream->pending = code != 0 && out.pos == out.size;
  }
  return XCODER_OK;
}

/* Skippable frames (0x184D2A50 to 0x184D2A5F) may come first. */
static bool starts_zstd(const unsigned char *p, size_t n) {
  if (n < 4) return false;
  return memcmp(p, "\x28\xb5\x2f\xfd", 4) == 0 || ((p[0] & 0xf0) == 0x50 && memcmp(p + 1, "\x2a\x4d\x18", 3) == 0);
}

static xcoder_status choose_decoder(xci_stream *stream, xcoder_error *err) {
  xcoder_status status = read_input(stream, 4, err);
  if (status) return status;
  stream->fill = fill_plain;
  if (stream->in_n >= 2 && stream->in[0] == 0x1f && stream->in[1] == 0x8b) {
    stream->fill = fill_gzip;
    stream->in_unit = true;
    stream->has_zlib = inflateInit2(&stream->zlib, 16 + MAX_WBITS) == Z_OK;
    if (!stream->has_zlib) return fail_at(stream, XCODER_MEMORY, "no memory to decompress", "", err);
  } else if (starts_zstd(stream->in, stream->in_n)) {
    stream->fill = fill_zstd;
    stream->zstd = ZSTD_createDCtx();
    if (!stream->zstd) return fail_at(stream, XCODER_MEMORY, "no memory to decompress", "", err);
    size_t code = ZSTD_DCtx_setParameter(stream->zstd, ZSTD_d_windowLogMax, stream->window_log);
    if (ZSTD_isError(code)) return fail_zstd(stream, code, err);
  }
  return XCODER_OK;
}

xcoder_status xci_stream_open(const char *path, unsigned window_log, xci_stream **out, xcoder_error *err) {
  xci_stream *stream = NULL;
  uint64_t n_bytes = 0;
  bool is_stdin = strcmp(path, "-") == 0;
  *out = NULL;
  if (window_log && (window_log < LEAST_WINDOW_LOG || window_log > LARGEST_WINDOW_LOG))
    return xci_fail(err, XCODER_USAGE, "a zstd window of 2^%u bytes, expected an exponent of %d to %d", window_log,
                    (int)LEAST_WINDOW_LOG, (int)LARGEST_WINDOW_LOG);
  xcoder_status status = XCI_ALLOC(&stream, 1, err);
  if (status) return status;
  status = xci_copy_text(is_stdin ? "standard input" : path, &stream->path, err);
  if (!status) status = XCI_ALLOC(&stream->in, IN_BYTES, err);
  if (!status) status = XCI_ALLOC(&stream->out, OUT_BYTES, err);
  if (!status) stream->window_log = window_log ? (int)window_log : DEFAULT_WINDOW_LOG;
  if (!status && is_stdin) stream->descriptor = STDIN_FILENO;
  if (!status && !is_stdin) {
    status = xci_open_regular(path, &stream->descriptor, &n_bytes, err);
    stream->owns_descriptor = !status;
  }
  if (!status) status = choose_decoder(stream, err);
  if (status) xci_stream_close(stream);
  else *out = stream;
  return status;
}

void xci_stream_close(xci_stream *stream) {
  if (!stream) return;
  if (stream->has_zlib) inflateEnd(&stream->zlib);
  ZSTD_freeDCtx(stream->zstd);
  if (stream->owns_descriptor) close(stream->descriptor);
  xci_free(stream->in);
  xci_free(stream->out);
  xci_free(stream->path);
  xci_free(stream);
}

xcoder_status xci_stream_read(xci_stream *stream, const char **bytes, size_t *n_bytes, xcoder_error *err) {
  *bytes = stream->out;
  *n_bytes = stream->out_n = 0;
  xcoder_status status = stream->fill(stream, err);
  if (!status) *n_bytes = stream->out_n;
  return status;
}

const char *xci_stream_path(const xci_stream *stream) { return stream->path; }

bool xci_stream_is_compressed(const xci_stream *stream) { return stream->fill != fill_plain; }
