/* SPDX-License-Identifier: Apache-2.0 */
/* Which OpenCL device: all that the loader knows, and the one that was asked for. */
#include "compute/opencl/opencl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void device_text(cl_device_id id, cl_device_info what, char *out, size_t n) {
  char text[1024] = "";
  if (clGetDeviceInfo(id, what, sizeof text - 1, text, NULL) != CL_SUCCESS) text[0] = '\0';
  snprintf(out, n, "%.*s", (int)n - 1, text);
}

static size_t find_on(cl_platform_id platform, xci_cl_found *found, size_t room) {
  cl_device_id ids[XCI_CL_MAX_DEVICES];
  cl_uint n = 0;
  char name[96] = "";
  if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, (cl_uint)room, ids, &n) != CL_SUCCESS) return 0;
  if (clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name - 1, name, NULL) != CL_SUCCESS) name[0] = '\0';
  size_t count = n < room ? n : room;
  for (size_t i = 0; i < count; i++) {
    found[i] = (xci_cl_found){.platform = platform, .device = ids[i]};
    memcpy(found[i].platform_name, name, sizeof name);
    device_text(ids[i], CL_DEVICE_NAME, found[i].name, sizeof found[i].name);
    device_text(ids[i], CL_DRIVER_VERSION, found[i].driver, sizeof found[i].driver);
    device_text(ids[i], CL_DEVICE_VERSION, found[i].version, sizeof found[i].version);
    clGetDeviceInfo(ids[i], CL_DEVICE_TYPE, sizeof found[i].type, &found[i].type, NULL);
  }
  return count;
}

size_t xci_cl_find(xci_cl_found found[XCI_CL_MAX_DEVICES]) {
  cl_platform_id platforms[XCI_CL_MAX_DEVICES];
  cl_uint n_platforms = 0;
  size_t n = 0;
  if (clGetPlatformIDs(XCI_CL_MAX_DEVICES, platforms, &n_platforms) != CL_SUCCESS) return 0;
  for (cl_uint i = 0; i < n_platforms && i < XCI_CL_MAX_DEVICES && n < XCI_CL_MAX_DEVICES; i++)
    n += find_on(platforms[i], found + n, XCI_CL_MAX_DEVICES - n);
  return n;
}

static bool contains(const char *text, const char *part) {
  for (; *text != '\0'; text++)
    if (strncasecmp(text, part, strlen(part)) == 0) return true;
  return false;
}

xcoder_status xci_cl_select(const char *which, const xci_cl_found *found, size_t n, size_t *chosen,
                            xcoder_error *err) {
  *chosen = 0;
  if (n == 0)
    return xci_fail(err, XCODER_DEVICE, "device opencl: no platform offers a device (is a driver installed? "
                    "`crosscoder devices` lists what was found)");
  if (which == NULL || *which == '\0') {
    for (size_t i = n; i-- > 0;)
      if (found[i].type & CL_DEVICE_TYPE_GPU) *chosen = i;
    return XCODER_OK;
  }
  char *end;
  unsigned long number = strtoul(which, &end, 10);
  if (*end == '\0' && *which >= '0' && *which <= '9') {
    if (number >= n) return xci_fail(err, XCODER_DEVICE, "device opencl:%.20s: there are %zu, from 0", which, n);
    *chosen = number;
    return XCODER_OK;
  }
  for (size_t i = 0; i < n; i++)
    if (contains(found[i].name, which)) {
      *chosen = i;
      return XCODER_OK;
    }
  return xci_fail(err, XCODER_DEVICE, "device opencl:%.60s: none of the %zu devices has this in its name", which, n);
}

bool xci_cl_has_gpu(char which[24]) {
  static const cl_device_type wanted = CL_DEVICE_TYPE_GPU | CL_DEVICE_TYPE_ACCELERATOR;
  xci_cl_found found[XCI_CL_MAX_DEVICES];
  size_t n = xci_cl_find(found);
  for (size_t i = 0; i < n; i++)
    if (found[i].type & wanted) {
      snprintf(which, 24, "%zu", i);
      return true;
    }
  return false;
}
