/* SPDX-License-Identifier: Apache-2.0 */
/* Every file of the corpus is accepted or refused as it says, in one harmless line that names the file; mutants of
 * the good files never do worse; failing allocations leave nothing behind. */
#include "base/file.h"
#include "base/memory.h"
#include "corpus.h"
#include "formats/json.h"
#include "formats/npy.h"
#include "formats/safetensors.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char folder[64], file_path[128];
static xcoder_error error;

static void set_up(void) {
  strcpy(folder, "test-corpus-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  snprintf(file_path, sizeof file_path, "%s/file", folder);
}

static void tear_down(void) { ck_assert_int_eq(xci_remove_folder(folder, NULL), XCODER_OK); }

/* Opens a file and looks at every byte of what it offers. */
static xcoder_status read_safetensors(const char *path, xcoder_error *err) {
  xci_safetensors *file;
  unsigned sum = 0;
  xcoder_status status = xci_safetensors_open(path, &file, err);
  if (status) {
    ck_assert_ptr_null(file);
    return status;
  }
  for (size_t i = 0; i < xci_safetensors_count(file); i++) {
    const xci_tensor *tensor = xci_safetensors_at(file, i);
    ck_assert_ptr_eq(xci_safetensors_find(file, tensor->name), tensor);
    for (size_t j = 0; j < tensor->n_bytes; j++) sum += tensor->bytes[j];
    if (tensor->n_values > 100000) continue;
    void *values = calloc(tensor->n_values + 1, 8);
    ck_assert_ptr_nonnull(values);
    bool is_float = !xci_tensor_to_f32(tensor, values, NULL), is_integer = !xci_tensor_to_i64(tensor, values, NULL);
    ck_assert(!is_float || !is_integer);
    free(values);
  }
  ck_assert(sum < UINT32_MAX);
  xci_safetensors_close(file);
  return XCODER_OK;
}

static xcoder_status read_npy(const char *path, xcoder_error *err) {
  xci_npy npy;
  unsigned sum = 0;
  xcoder_status status = xci_npy_open(path, &npy, err);
  if (status) return status;
  for (size_t i = 0; i < npy.n_bytes; i++) sum += npy.bytes[i];
  ck_assert(sum < UINT32_MAX);
  xci_npy_close(&npy);
  return XCODER_OK;
}

static xcoder_status read_json(const char *path, xcoder_error *err) {
  json_t *value;
  xcoder_status status = xci_json_read(path, (size_t)64 << 20, &value, err);
  ck_assert(status ? !value : !!value);
  json_decref(value);
  return status;
}

static const struct {
  const corpus_format *format;
  xcoder_status (*read)(const char *path, xcoder_error *err);
} readers[] = {{&corpus_safetensors, read_safetensors}, {&corpus_npy, read_npy}, {&corpus_json, read_json}};

/* One line, valid UTF-8, no control or bidirectional override characters, and the file is named. */
static void check_message(const char *name) {
  const char *p = error.message;
  ck_assert_msg(strstr(p, file_path) != NULL, "%s: file not named: %s", name, p);
  ck_assert_msg(strlen(p) < XCODER_ERROR_BYTES, "%s", name);
  while (*p) {
    uint32_t code;
    size_t n = xci_utf8_decode(p, strlen(p), &code);
    ck_assert_msg(n > 0, "%s: not UTF-8: %s", name, error.message);
    ck_assert_msg(code >= 0x20 && (code < 0x7f || code > 0x9f) && (code < 0x202a || code > 0x202e) &&
                      (code < 0x2066 || code > 0x2069), "%s: U+%04x", name, (unsigned)code);
    p += n;
  }
}

START_TEST(cases_are_as_they_say) {
  const corpus_format *format = readers[_i].format;
  size_t n_accepted = 0, n = 0;
  for (const corpus_case *entry = format->cases; entry->name; entry++, n++) {
    ck_assert_msg(corpus_write(format, entry, file_path), "%s cannot be written", entry->name);
    memset(&error, 0, sizeof error);
    xcoder_status status = readers[_i].read(file_path, &error);
    ck_assert_msg(status == entry->expected, "%s %s: status %d, expected %d: %s", format->name, entry->name, status,
                  entry->expected, error.message);
    n_accepted += !status;
    if (!status) continue;
    ck_assert_int_eq(error.status, status);
    check_message(entry->name);
    ck_assert_msg(strstr(error.message, entry->words) != NULL, "%s %s: '%s' not in: %s", format->name, entry->name,
                  entry->words, error.message);
  }
  ck_assert_uint_ge(n, 25);
  ck_assert_uint_ge(n_accepted, 5); /* or refusing everything would pass */
}
END_TEST

/* Every byte of each small good file set to 0, 255, one more, one less; and the file cut at every length. */
START_TEST(mutants_do_no_harm) {
  const corpus_format *format = readers[_i].format;
  for (const corpus_case *entry = format->cases; entry->name; entry++) {
    xci_text file = {0};
    if (entry->expected) continue;
    corpus_make(format, entry, &file);
    for (size_t i = 0; i < file.n_bytes && file.n_bytes < 300; i++) {
      const char byte = file.bytes[i];
      const int variants[] = {0, 255, byte + 1, byte - 1};
      for (size_t v = 0; v < 4; v++) {
        file.bytes[i] = (char)variants[v];
        ck_assert(corpus_write_bytes(file_path, file.bytes, file.n_bytes, 0));
        if (readers[_i].read(file_path, &error)) check_message(entry->name);
      }
      file.bytes[i] = byte;
      ck_assert(corpus_write_bytes(file_path, file.bytes, i, 0));
      if (readers[_i].read(file_path, &error)) check_message(entry->name);
    }
    xci_text_clear(&file);
  }
}
END_TEST

START_TEST(only_regular_files) {
  char fifo[128];
  snprintf(fifo, sizeof fifo, "%s/fifo", folder);
  ck_assert_int_eq(mkfifo(fifo, 0600), 0);
  const char *const paths[] = {"/dev/zero", "/dev/null", folder, fifo};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    ck_assert_int_eq(readers[_i].read(paths[i], &error), XCODER_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.message, "regular file"));
  }
  ck_assert_int_eq(readers[_i].read("none-such", &error), XCODER_MISSING);
}
END_TEST

/* ---- Allocations that fail ---- */

static xcoder_status write_and_read_all(void) {
  static const float values[4] = {1, 2, 3, 4};
  static const size_t shape[2] = {2, 2};
  xci_safetensors_writer *writer;
  xcoder_status status = xci_safetensors_create(&writer, &error);
  if (!status) status = xci_safetensors_add(writer, "b", XCI_F32, 2, shape, values, &error);
  if (!status) status = xci_safetensors_add(writer, "a", XCI_BF16, 2, shape, values, &error);
  if (!status) status = xci_safetensors_add_metadata(writer, "k", "v", &error);
  if (!status) status = xci_safetensors_write(writer, file_path, &error);
  xci_safetensors_discard(writer);
  if (!status) status = read_safetensors(file_path, &error);
  if (!status) status = xci_npy_write(file_path, XCI_F32, 2, shape, values, &error);
  if (!status) status = read_npy(file_path, &error);
  return status;
}

START_TEST(our_allocations_fail) {
  for (int onwards = 0; onwards < 2; onwards++) {
    xcoder_status status = XCODER_MEMORY;
    for (long n = 1; status; n++) {
      char **names;
      size_t n_names;
      ck_assert_int_lt(n, 500);
      xci_fail_allocation(n, onwards);
      status = write_and_read_all();
      xci_fail_allocation(0, 0);
      ck_assert_msg(!status || status == XCODER_MEMORY, "%ld: %s", n, error.message);
      ck_assert_int_eq(xci_list_folder(folder, &names, &n_names, &error), XCODER_OK);
      for (size_t i = 0; i < n_names; i++) ck_assert_str_eq(names[i], "file"); /* no temporary file */
      xci_free_names(names, n_names);
    }
  }
}
END_TEST

static long json_allocations_left;
static void *allocate_or_fail(size_t n) { return json_allocations_left-- > 0 ? malloc(n) : NULL; }

/* The same for the allocations of the JSON library, which blames the text for some of its own failures. */
START_TEST(allocations_of_the_json_library_fail) {
  static const char text[] = "{\"a\":[1,2.5,\"x\\u00e9\",null,true,{}],\"b\":{\"c\":\"d\",\"e\":[[],[{}]]}}";
  xcoder_status status = XCODER_MEMORY;
  json_set_alloc_funcs(allocate_or_fail, free);
  for (long n = 0; status && n < 500; n++) {
    json_t *value;
    json_allocations_left = n;
    status = xci_json_parse(text, sizeof text - 1, "text", 0, &value, &error);
    ck_assert(status == XCODER_OK || status == XCODER_MEMORY || status == XCODER_FORMAT);
    ck_assert(status ? !value : !!value);
    json_decref(value);
  }
  json_set_alloc_funcs(malloc, free);
  ck_assert_msg(status == XCODER_OK, "%d: %s", status, error.message);
}
END_TEST

int main(void) {
  const int n_readers = sizeof readers / sizeof *readers;
  Suite *suite = suite_create("corpus");
  TCase *files = tcase_create("files");
  tcase_add_checked_fixture(files, set_up, tear_down);
  tcase_add_loop_test(files, cases_are_as_they_say, 0, n_readers);
  tcase_add_loop_test(files, mutants_do_no_harm, 0, n_readers);
  tcase_add_loop_test(files, only_regular_files, 0, n_readers);
  tcase_add_test(files, our_allocations_fail);
  tcase_add_test(files, allocations_of_the_json_library_fail);
  suite_add_tcase(suite, files);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* OpenMP does not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
