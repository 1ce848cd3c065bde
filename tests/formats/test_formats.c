/* SPDX-License-Identifier: Apache-2.0 */
/* Formats: what is written reads back, equal contents give equal bytes, locks hold, typed JSON members. */
#include "base/bytes.h"
#include "base/file.h"
#include "base/half.h"
#include "base/memory.h"
#include "formats/json.h"
#include "formats/npy.h"
#include "formats/safetensors.h"

#include <check.h>
#include <crosscoder/device.h>
#include <crosscoder/run.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];
static xcoder_error error;

static const char *path_of(const char *name) {
  static char path[2][256];
  static int turn;
  turn = !turn;
  snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
  return path[turn];
}

static void set_up(void) {
  strcpy(folder, "test-formats-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void tear_down(void) { ck_assert_int_eq(xci_remove_folder(folder, NULL), XCODER_OK); }

#define OK(call) ck_assert_msg((call) == XCODER_OK, "%s", error.message)

/* Adds the same two tensors and metadata in either order. */
static void write_pair(const char *path, int reversed) {
  static const float f32[3] = {1.5f, -2, 3};
  static const uint16_t bf16[4] = {0x3f80, 0x4000, 0xc040, 0x7f80};
  static const size_t shape[2] = {2, 2}, three = 3;
  xci_safetensors_writer *writer;
  OK(xci_safetensors_create(&writer, &error));
  for (int i = 0; i < 2; i++) {
    if (i == reversed) OK(xci_safetensors_add(writer, "b\"\n", XCI_F32, 1, &three, f32, &error));
    else OK(xci_safetensors_add(writer, "a", XCI_BF16, 2, shape, bf16, &error));
    OK(xci_safetensors_add_metadata(writer, i == reversed ? "k</script>" : "z", "\xc3\xa9", &error));
  }
  OK(xci_safetensors_write(writer, path, &error));
  xci_safetensors_discard(writer);
}

START_TEST(safetensors_round_trip) {
  write_pair(path_of("a.safetensors"), 0);
  xci_safetensors *file;
  OK(xci_safetensors_open(path_of("a.safetensors"), &file, &error));
  ck_assert_uint_eq(xci_safetensors_count(file), 2);
  const xci_tensor *wide = xci_safetensors_find(file, "b\"\n"), *narrow = xci_safetensors_find(file, "a");
  ck_assert_ptr_nonnull(wide);
  ck_assert_ptr_nonnull(narrow);
  ck_assert_ptr_null(xci_safetensors_find(file, "aa"));
  ck_assert_ptr_eq(xci_safetensors_at(file, 0), wide); /* wide elements first, so that all are aligned */
  ck_assert_str_eq(xci_safetensors_metadata(file, "k</script>"), "\xc3\xa9");
  ck_assert_ptr_null(xci_safetensors_metadata(file, "absent"));
  ck_assert_uint_eq(narrow->rank, 2);
  ck_assert_uint_eq(narrow->n_values, 4);
  float values[4];
  OK(xci_tensor_to_f32(narrow, values, &error));
  ck_assert(values[0] == 1 && values[1] == 2 && values[2] == -3 && values[3] > 3e38f);
  OK(xci_tensor_to_f32(wide, values, &error));
  ck_assert(values[0] == 1.5f && values[1] == -2 && values[2] == 3);
  int64_t integers[4];
  ck_assert_int_eq(xci_tensor_to_i64(narrow, integers, &error), XCODER_FORMAT);
  xci_safetensors_close(file);
}
END_TEST

START_TEST(equal_contents_give_equal_bytes) {
  char a[33], b[33];
  write_pair(path_of("a.safetensors"), 0);
  write_pair(path_of("b.safetensors"), 1);
  OK(xcoder_hash_file(path_of("a.safetensors"), a, &error));
  OK(xcoder_hash_file(path_of("b.safetensors"), b, &error));
  ck_assert_str_eq(a, b);
}
END_TEST

START_TEST(writer_refuses) {
  xci_safetensors_writer *writer;
  const size_t huge[2] = {SIZE_MAX / 2, 3}, one = 1;
  const float value = 0;
  OK(xci_safetensors_create(&writer, &error));
  ck_assert_int_eq(xci_safetensors_add(writer, "\xff", XCI_F32, 1, &one, &value, &error), XCODER_USAGE);
  ck_assert_int_eq(xci_safetensors_add(writer, "__metadata__", XCI_F32, 1, &one, &value, &error), XCODER_USAGE);
  ck_assert_int_eq(xci_safetensors_add(writer, "a", XCI_OTHER, 1, &one, &value, &error), XCODER_USAGE);
  ck_assert_int_eq(xci_safetensors_add(writer, "a", XCI_F32, 2, huge, &value, &error), XCODER_USAGE);
  ck_assert_int_eq(xci_safetensors_add_metadata(writer, "a", "\xff", &error), XCODER_USAGE);
  OK(xci_safetensors_add(writer, "a", XCI_F32, 1, &one, &value, &error));
  OK(xci_safetensors_add(writer, "a", XCI_F16, 1, &one, &value, &error));
  ck_assert_int_eq(xci_safetensors_write(writer, path_of("twice"), &error), XCODER_USAGE);
  ck_assert(!xci_exists(path_of("twice")));
  xci_safetensors_discard(writer);
}
END_TEST

START_TEST(integers_convert) {
  const unsigned char bytes[9] = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}; /* read from an odd address */
  static const struct {
    xci_dtype dtype;
    int64_t expected;
  } cases[] = {{XCI_I64, -1}, {XCI_I32, -1}, {XCI_I16, -1}, {XCI_I8, -1},
               {XCI_U32, UINT32_MAX}, {XCI_U16, UINT16_MAX}, {XCI_U8, UINT8_MAX}, {XCI_BOOL, UINT8_MAX}};
  xci_tensor tensor = {.name = "t", .n_values = 1, .bytes = bytes + 1};
  int64_t value;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tensor.dtype = cases[i].dtype;
    OK(xci_tensor_to_i64(&tensor, &value, &error));
    ck_assert_int_eq(value, cases[i].expected);
  }
  tensor.dtype = XCI_U64;
  ck_assert_int_eq(xci_tensor_to_i64(&tensor, &value, &error), XCODER_FORMAT);
  float number;
  ck_assert_int_eq(xci_tensor_to_f32(&tensor, &number, &error), XCODER_FORMAT);
  ck_assert_ptr_nonnull(strstr(error.message, "'t': dtype U64, expected a float"));
}
END_TEST

/* More values than one chunk, so that the parallel path runs. */
START_TEST(large_conversion) {
  enum { N = 200000 };
  unsigned char *bytes;
  float *values;
  OK(xci_alloc(N, 8, (void **)&bytes, &error));
  OK(XCI_ALLOC(&values, N, &error));
  for (size_t i = 0; i < N; i++) xci_store_f64(bytes + 8 * i, (double)i + 0.5);
  xci_convert_to_f32(bytes, XCI_F64, N, values);
  for (size_t i = 0; i < N; i++) ck_assert(values[i] == (float)i + 0.5f);
  for (size_t i = 0; i < N; i++) xci_store_u16(bytes + 2 * i, xci_f32_to_f16((float)(i % 2048)));
  xci_convert_to_f32(bytes, XCI_F16, N, values);
  for (size_t i = 0; i < N; i++) ck_assert(values[i] == (float)(i % 2048));
  xci_free(bytes);
  xci_free(values);
}
END_TEST

START_TEST(npy_round_trip) {
  static const size_t shapes[][3] = {{0}, {6}, {2, 3}, {1, 0, 4}};
  static const uint16_t values[6] = {1, 2, 3, 4, 5, 65535};
  for (size_t rank = 0; rank < 4; rank++) {
    OK(xci_npy_write(path_of("a.npy"), XCI_U16, rank, shapes[rank], values, &error));
    xci_npy npy;
    OK(xci_npy_open(path_of("a.npy"), &npy, &error));
    ck_assert_uint_eq(npy.rank, rank);
    for (size_t i = 0; i < rank; i++) ck_assert_uint_eq(npy.shape[i], shapes[rank][i]);
    ck_assert_int_eq(npy.dtype, XCI_U16);
    ck_assert_uint_eq((size_t)(npy.bytes - npy.map.bytes) % 64, 0);
    ck_assert_uint_eq(npy.n_bytes, 2 * npy.n_values);
    for (size_t i = 0; i < npy.n_values; i++) ck_assert_uint_eq(xci_load_u16(npy.bytes + 2 * i), values[i]);
    xci_npy_close(&npy);
  }
  ck_assert_int_eq(xci_npy_write(path_of("b.npy"), XCI_BF16, 0, NULL, values, &error), XCODER_USAGE);
}
END_TEST

START_TEST(json_members) {
  static const char text[] = "{\"n\": 7, \"x\": 0.5, \"b\": true, \"t\": \"hi\", \"z\": null, \"m\": -1}";
  json_t *value;
  OK(xci_json_parse(text, strlen(text), "p", 0, &value, &error));
  size_t n, three = 3;
  double x, two = 2;
  bool b, yes = true;
  const char *t;
  OK(xci_json_get_size(value, "p", "n", NULL, &n, &error));
  ck_assert_uint_eq(n, 7);
  OK(xci_json_get_size(value, "p", "z", &three, &n, &error));
  ck_assert_uint_eq(n, 3);
  ck_assert_int_eq(xci_json_get_size(value, "p", "m", NULL, &n, &error), XCODER_FORMAT);
  ck_assert_str_eq(error.message, "p: key 'm' is -1, expected 0 or more");
  ck_assert_int_eq(xci_json_get_size(value, "p", "x", NULL, &n, &error), XCODER_FORMAT);
  ck_assert_int_eq(xci_json_get_size(value, "p", "z", NULL, &n, &error), XCODER_FORMAT);
  ck_assert_str_eq(error.message, "p: key 'z' is missing");
  OK(xci_json_get_number(value, "p", "x", NULL, &x, &error));
  ck_assert(x == 0.5);
  OK(xci_json_get_number(value, "p", "n", NULL, &x, &error));
  OK(xci_json_get_number(value, "p", "q", &two, &x, &error));
  ck_assert(x == 2);
  ck_assert_int_eq(xci_json_get_number(value, "p", "t", NULL, &x, &error), XCODER_FORMAT);
  OK(xci_json_get_bool(value, "p", "b", NULL, &b, &error));
  OK(xci_json_get_bool(value, "p", "q", &yes, &b, &error));
  ck_assert(b);
  ck_assert_int_eq(xci_json_get_bool(value, "p", "n", NULL, &b, &error), XCODER_FORMAT);
  OK(xci_json_get_text(value, "p", "t", NULL, &t, &error));
  ck_assert_str_eq(t, "hi");
  OK(xci_json_get_text(value, "p", "q", "dflt", &t, &error));
  ck_assert_str_eq(t, "dflt");
  ck_assert_int_eq(xci_json_get_text(value, "p", "b", NULL, &t, &error), XCODER_FORMAT);
  ck_assert_str_eq(error.message, "p: key 'b' is true or false, expected a text");
  json_decref(value);
}
END_TEST

/* Every allocation of the parser fails once: that is a lack of memory, never a syntax error or another value. */
START_TEST(json_without_memory) {
  static const char text[] =
    "{\"name\": \"a text of some length that needs a buffer\", \"list\": [1, 2.5, true, null, \"x\"]}";
  json_t *wanted = NULL, *value = NULL;
  OK(xci_json_parse(text, sizeof text - 1, "p", 0, &wanted, &error));
  xcoder_status status = XCODER_MEMORY;
  long n = 1;
  for (; status; n++) {
    xci_fail_allocation(n, 0);
    status = xci_json_parse(text, sizeof text - 1, "p", 0, &value, &error);
    xci_fail_allocation(0, 0);
    ck_assert_msg(!status || status == XCODER_MEMORY, "allocation %ld: %s", n, error.message);
    ck_assert(status ? !value : json_equal(value, wanted));
    json_decref(value);
    ck_assert_int_lt(n, 200);
  }
  ck_assert_int_gt(n, 10);
  json_decref(wanted);
}
END_TEST

START_TEST(json_file_names_the_line) {
  OK(xcoder_write_file(path_of("deep/er/x.json"), "{\n\"a\": 1,\n\"a\": 2}", 18, &error));
  json_t *value;
  ck_assert_int_eq(xci_json_read(path_of("deep/er/x.json"), 100, &value, &error), XCODER_FORMAT);
  ck_assert_ptr_nonnull(strstr(error.message, "x.json: line 3, byte"));
  ck_assert_ptr_null(value);
  ck_assert_int_eq(xci_json_read(path_of("deep/er/x.json"), 10, &value, &error), XCODER_FORMAT);
  ck_assert_int_eq(xci_json_read(path_of("deep/none.json"), 10, &value, &error), XCODER_MISSING);
}
END_TEST

START_TEST(run_directory_lock) {
  xcoder_run *run, *second;
  OK(xcoder_write_file(path_of("r/sub/keep.csv.tmp-12"), "x", 1, &error));
  OK(xcoder_write_file(path_of("r/sub.tmp-34/inner"), "x", 1, &error));
  OK(xcoder_write_file(path_of("r/notes.tmp-mine"), "x", 1, &error));
  OK(xcoder_run_open(path_of("r"), &run, &error));
  ck_assert(!xci_exists(path_of("r/sub/keep.csv.tmp-12")) && !xci_exists(path_of("r/sub.tmp-34")));
  ck_assert(xci_exists(path_of("r/notes.tmp-mine")));
  ck_assert_int_eq(xcoder_run_open(path_of("r"), &second, &error), XCODER_LOCKED);
  ck_assert_ptr_null(second);
  char owner[64];
  snprintf(owner, sizeof owner, "in use by process %ld on ", (long)getpid());
  ck_assert_ptr_nonnull(strstr(error.message, owner));
  xcoder_run_close(run);
  ck_assert(!xci_exists(path_of("r/.lock")));
  OK(xcoder_run_open(path_of("r"), &second, &error));
  xcoder_run_close(second);
  xcoder_run_close(NULL);
}
END_TEST

/* A killed owner leaves its lock file, not its lock. */
START_TEST(lock_dies_with_its_owner) {
  xcoder_run *run;
  fflush(NULL);
  pid_t child = fork();
  ck_assert_int_ge(child, 0);
  if (!child) _exit(xcoder_run_open(path_of("r"), &run, NULL) ? 1 : 0);
  int result;
  ck_assert_int_eq(waitpid(child, &result, 0), child);
  ck_assert_int_eq(result, 0);
  ck_assert(xci_exists(path_of("r/.lock")));
  OK(xcoder_run_open(path_of("r"), &run, &error));
  xcoder_run_close(run);
}
END_TEST

START_TEST(run_directory_leaves_nothing) {
  xcoder_run *run;
  OK(xcoder_run_open(path_of("one/two//three/"), &run, &error));
  xcoder_run_close(run);
  ck_assert(!xci_exists(path_of("one")));
  OK(xcoder_write_file(path_of("plain"), "x", 1, &error));
  ck_assert_int_eq(xcoder_run_open(path_of("plain"), &run, &error), XCODER_IO);
  ck_assert_int_ne(xcoder_run_open(path_of("plain/below"), &run, &error), XCODER_OK);
  ck_assert_int_ne(xcoder_run_open("/proc/none/below", &run, &error), XCODER_OK);
}
END_TEST

START_TEST(read_file_is_capped) {
  char *bytes;
  size_t n;
  OK(xcoder_write_file(path_of("plain"), "hello", 5, &error));
  OK(xcoder_read_file(path_of("plain"), 0, &bytes, &n, &error));
  ck_assert(n == 5 && !strcmp(bytes, "hello"));
  xcoder_free(bytes);
  ck_assert_int_eq(xcoder_read_file(path_of("plain"), 4, &bytes, &n, &error), XCODER_FORMAT);
  ck_assert_ptr_null(bytes);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("formats");
  TCase *files = tcase_create("files");
  tcase_add_checked_fixture(files, set_up, tear_down);
  tcase_add_test(files, safetensors_round_trip);
  tcase_add_test(files, equal_contents_give_equal_bytes);
  tcase_add_test(files, writer_refuses);
  tcase_add_test(files, integers_convert);
  tcase_add_test(files, large_conversion);
  tcase_add_test(files, npy_round_trip);
  tcase_add_test(files, json_members);
  tcase_add_test(files, json_without_memory);
  tcase_add_test(files, json_file_names_the_line);
  tcase_add_test(files, run_directory_lock);
  tcase_add_test(files, lock_dies_with_its_owner);
  tcase_add_test(files, run_directory_leaves_nothing);
  tcase_add_test(files, read_file_is_capped);
  suite_add_tcase(suite, files);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* OpenMP does not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
