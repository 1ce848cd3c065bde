/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenCL devices of this machine as JSON, for `crosscoder devices`. */
#include "compute/opencl/opencl.h"

#include <stdio.h>
#include <string.h>

static void add_text(xci_text *json, const char *key, const char *value) {
  xci_text_format(json, ",\"%s\":\"", key);
  xci_text_json(json, value, strlen(value));
  xci_text_add(json, "\"");
}

static void add_size(xci_text *json, const char *key, cl_device_id device, cl_device_info what) {
  cl_ulong value = 0;
  if (clGetDeviceInfo(device, what, sizeof value, &value, NULL) != CL_SUCCESS) value = 0;
  xci_text_format(json, ",\"%s\":%llu", key, (unsigned long long)value);
}

/* Processors are tested by `devices --self-test --device=opencl:N` alone, because compiling for them takes seconds. */
static void add_test(xci_text *json, size_t index, const xci_cl_found *found) {
  char spec[24];
  xcoder_error err = {0};
  xcoder_device *device = NULL;
  if (found->type & CL_DEVICE_TYPE_CPU) {
    add_text(json, "self_test", "not run: a processor (--self-test with --device=opencl:N runs it)");
    return;
  }
  snprintf(spec, sizeof spec, "opencl:%u", (unsigned)index);
  xcoder_status status = xcoder_device_open(spec, &device, &err);
  if (!status) status = xcoder_device_self_test(device, &err);
  if (device != NULL) add_text(json, "computes", xcoder_device_kernels(device));
  add_text(json, "self_test", status ? err.message : "passed");
  xcoder_device_close(device);
}

void xci_cl_list(xci_text *json) {
  xci_cl_found found[XCI_CL_MAX_DEVICES];
  size_t n = xci_cl_find(found);
  for (size_t i = 0; i < n; i++) {
    char extensions[8192] = "";
    cl_uint units = 0;
    if (clGetDeviceInfo(found[i].device, CL_DEVICE_EXTENSIONS, sizeof extensions - 1, extensions, NULL) != CL_SUCCESS)
      extensions[0] = '\0';
    clGetDeviceInfo(found[i].device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL);
    xci_text_format(json, "%s{\"number\":%zu", i > 0 ? "," : "", i);
    add_text(json, "name", found[i].name);
    add_text(json, "platform", found[i].platform_name);
    add_text(json, "type", found[i].type & CL_DEVICE_TYPE_GPU ? "gpu" : found[i].type & CL_DEVICE_TYPE_CPU ? "cpu"
             : "accelerator");
    add_text(json, "version", found[i].version);
    add_text(json, "driver", found[i].driver);
    xci_text_format(json, ",\"compute_units\":%u", (unsigned)units);
    add_size(json, "memory_bytes", found[i].device, CL_DEVICE_GLOBAL_MEM_SIZE);
    add_size(json, "largest_buffer_bytes", found[i].device, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    add_size(json, "local_memory_bytes", found[i].device, CL_DEVICE_LOCAL_MEM_SIZE);
    add_text(json, "extensions", extensions);
    add_test(json, i, &found[i]);
    xci_text_add(json, "}");
  }
}
