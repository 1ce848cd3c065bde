/* SPDX-License-Identifier: Apache-2.0 */
/* Opening devices. The registry of backends: the only place that names them. */
#include "config.h"

#include "base/memory.h"
#include "base/text.h"
#include "compute/compute.h"
#include "compute/cpu/cpu.h"
#include "compute/cpu/gemm.h"
#include "compute/cpu/isa.h"
#if HAVE_OPENCL
#include "compute/opencl/opencl.h"
#endif
#include <stdio.h>
#include <string.h>

static const struct {
  const char *spec; /* what users write; an optional ":which" goes to the backend */
  bool takes_which;
  const xci_backend *backend; /* NULL: known, but not in this build */
} registry[] = {
  {"cpu", false, &xci_backend_cpu},
  {"reference", false, &xci_backend_reference},
  {"auto", false, &xci_backend_cpu},
#if HAVE_OPENCL
  {"opencl", true, &xci_backend_opencl},
#else
  {"opencl", true, NULL},
#endif
};
enum { N_REGISTRY = sizeof registry / sizeof *registry };

static xcoder_status find_backend(const char *spec, const xci_backend **backend, const char **which,
                                  xcoder_error *err) {
  size_t n_name = strcspn(spec, ":");
  for (size_t i = 0; i < N_REGISTRY; i++) {
    if (strlen(registry[i].spec) != n_name || memcmp(spec, registry[i].spec, n_name) != 0) continue;
    if (spec[n_name] != '\0' && !registry[i].takes_which) break;
    if (registry[i].backend == NULL)
      return xci_fail(err, XCODER_DEVICE, "device '%.60s': this build has no OpenCL backend", spec);
    *backend = registry[i].backend;
    *which = spec[n_name] == ':' ? spec + n_name + 1 : NULL;
    return XCODER_OK;
  }
  return xci_fail(err, XCODER_USAGE, "device '%.60s' is not one of cpu, reference, opencl[:N|:NAME], auto", spec);
}

/* "auto": a GPU that computes what it should, else the processor, whose `reason` says why. */
static xcoder_status open_auto(xcoder_device **device, xcoder_error *err) {
  xcoder_error why = {.message = "no OpenCL device is a GPU"};
#if HAVE_OPENCL
  char which[24], spec[32];
  if (xci_cl_has_gpu(which)) {
    snprintf(spec, sizeof spec, "opencl:%s", which);
    if (xcoder_device_open(spec, device, &why) == XCODER_OK) {
      if (xcoder_device_self_test(*device, &why) == XCODER_OK) {
        (*device)->replaceable = (*device)->automatic = true;
        return XCODER_OK;
      }
      xcoder_device_close(*device);
    }
  }
#endif
  xcoder_status status = xcoder_device_open("cpu", device, err);
  if (!status) snprintf((*device)->reason, sizeof (*device)->reason, "%s", why.message);
  return status;
}

xcoder_status xcoder_device_open(const char *spec, xcoder_device **device, xcoder_error *err) {
  const xci_backend *backend = NULL;
  const char *which = NULL;
  xcoder_device *d = NULL;
  *device = NULL;
  if (spec != NULL && strcmp(spec, "auto") == 0) return open_auto(device, err);
  xcoder_status status = find_backend(spec != NULL ? spec : "cpu", &backend, &which, err);
  if (!status) status = XCI_ALLOC(&d, 1, err);
  if (!status) {
    d->ops = backend;
    status = backend->open(which, d, err);
  }
  if (status) {
    xci_free(d);
    return status;
  }
  *device = d;
  return XCODER_OK;
}

xcoder_status xcoder_device_set_compute(xcoder_device *device, const char *compute, xcoder_error *err) {
  static const char *const names[] = {[XCI_COMPUTE_FP32] = "fp32", [XCI_COMPUTE_BF16] = "bf16",
                                     [XCI_COMPUTE_BF16_ALL] = "bf16-all"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (strcmp(names[i], compute) != 0) continue;
    xcoder_status status = device->ops->check_compute(device, (xci_compute)i, err);
    if (!status) device->compute = (xci_compute)i;
    return status;
  }
  return xci_fail(err, XCODER_USAGE, "compute '%.60s' is not one of fp32, bf16, bf16-all", compute);
}

void xci_device_enter(xcoder_device *device, xci_guest *guest) {
  guest->next = device->guests;
  device->guests = guest;
}

void xci_device_leave(xcoder_device *device, xci_guest *guest) {
  for (xci_guest **link = &device->guests; *link != NULL; link = &(*link)->next)
    if (*link == guest) {
      *link = guest->next;
      return;
    }
}

static void see_guests_off(xcoder_device *device) {
  while (device->guests != NULL) {
    xci_guest *guest = device->guests;
    device->guests = guest->next;
    guest->leave(guest);
  }
}

void xcoder_device_close(xcoder_device *device) {
  if (device == NULL) return;
  see_guests_off(device);
  device->ops->close(device);
  xci_free(device);
}

/* ---- The processor instead ---- */

/* The processor's state and table become the device's; `spare` is gone. */
static void become(xcoder_device *device, xcoder_device *spare) {
  see_guests_off(device);
  device->ops->close(device);
  if (spare->ops->check_compute(spare, device->compute, NULL)) device->compute = XCI_COMPUTE_FP32;
  device->ops = spare->ops;
  device->state = spare->state;
  device->replaceable = device->automatic = false;
  device->remark[0] = '\0';
  memcpy(device->name, spare->name, sizeof device->name);
  memcpy(device->kernels, spare->kernels, sizeof device->kernels);
  xci_free(spare);
}

xcoder_status xcoder_device_find_room(xcoder_device *device, const xcoder_device_plan *plan, xcoder_device_room *room,
                                      xcoder_error *err) {
  const xcoder_device_plan before = device->plan;
  const xci_coder_shape shape = xci_plan_shape(plan);
  const bool had_plan = device->has_plan;
  *room = (xcoder_device_room){0};
  device->plan = *plan;
  device->has_plan = true;
  xcoder_status status = device->ops->coder_plan(device, &shape, room, err);
  device->plan = before;
  device->has_plan = had_plan;
  return status;
}

static double in_mib(uint64_t bytes) { return (double)bytes / (1 << 20); }

/* Whether all of a plan fits at once; else why not. */
static bool holds_all(xcoder_device *device, const xcoder_device_plan *plan, xcoder_error *why) {
  xcoder_device_room room;
  const uint64_t other = plan->work_bytes + plan->weight_bytes + plan->window_bytes;
  if (xcoder_device_find_room(device, plan, &room, why)) return false;
  const uint64_t free_bytes = room.memory_bytes - room.used_bytes;
  if (!room.own_memory || (room.n_host_panels == 0 && room.coder_bytes <= free_bytes &&
                           other <= free_bytes - room.coder_bytes))
    return true;
  if (plan->n_latents == 0)
    xci_fail(why, XCODER_DEVICE, "device %s: models and samples need %.1f MiB; %.1f MiB are free", device->name,
             in_mib(other), in_mib(free_bytes));
  else
    xci_fail(why, XCODER_DEVICE, "device %s: a crosscoder of %zu features needs %.1f MiB, models and samples %.1f MiB; "
             "%.1f MiB are free", device->name, plan->n_latents, in_mib(room.coder_bytes), in_mib(other),
             in_mib(free_bytes));
  return false;
}

xcoder_status xcoder_device_fit(xcoder_device *device, const xcoder_device_plan *plan, xcoder_error *err) {
  xcoder_device *spare = NULL;
  xcoder_error why = {0};
  device->plan = *plan;
  device->has_plan = plan->n_latents > 0 || plan->work_bytes > 0 || plan->weight_bytes > 0;
  if (!device->automatic || holds_all(device, plan, &why)) return XCODER_OK;
  xcoder_status status = xcoder_device_open("cpu", &spare, err);
  if (status) return status;
  become(device, spare);
  snprintf(device->reason, sizeof device->reason, "%s", why.message);
  return XCODER_OK;
}

void xcoder_device_set_fallback(xcoder_device *device, void (*notice)(void *context, const char *message),
                                void *context) {
  device->replaceable = device->ops->remote;
  device->notice = notice;
  device->notice_context = context;
}

bool xci_device_replace(xcoder_device *device, xcoder_status status, const xcoder_error *err) {
  xcoder_device *spare = NULL;
  char line[XCODER_ERROR_BYTES + 64];
  if (status != XCODER_DEVICE || device == NULL || !device->replaceable) return false;
  if (xcoder_device_open("cpu", &spare, NULL)) return false;
  bool same = !spare->ops->check_compute(spare, device->compute, NULL);
  snprintf(line, sizeof line, "%s; going on with the processor%s",
           err != NULL && err->message[0] != '\0' ? err->message : "the device failed", same ? "" : " in fp32");
  if (device->notice != NULL) device->notice(device->notice_context, line);
  become(device, spare);
  return true;
}

const char *xcoder_device_name(const xcoder_device *device) { return device->name; }

const char *xcoder_device_reason(const xcoder_device *device) { return device->reason; }

const char *xcoder_device_kernels(const xcoder_device *device) { return device->kernels; }

bool xcoder_device_traffic(const xcoder_device *device, xcoder_traffic *traffic) {
  *traffic = device->traffic;
  return device->has_traffic;
}

xcoder_status xcoder_device_list(char **json, xcoder_error *err) {
  xci_text text = {0};
  *json = NULL;
  const char *blas = xci_blas_prepare();
  xci_text_add(&text, "{\"backends\":[");
  const char *separator = "";
  for (size_t i = 0; i < N_REGISTRY; i++) {
    if (strcmp(registry[i].spec, "auto") == 0) continue;
    xci_text_format(&text, "%s{\"name\":\"%s\",\"available\":%s}", separator, registry[i].spec,
                    registry[i].backend != NULL ? "true" : "false");
    separator = ",";
  }
  xci_text_format(&text, "],\"instructions\":\"%s\"", xci_cpu_instructions());
#if HAVE_OPENCL
  xci_text_add(&text, ",\"opencl_devices\":[");
  xci_cl_list(&text);
  xci_text_add(&text, "]");
#endif
  xci_text_add(&text, ",\"blas\":\"");
  xci_text_json(&text, blas, strlen(blas));
#if defined(_OPENMP)
  const char *openmp = "true";
#else
  const char *openmp = "false";
#endif
  xci_text_format(&text, "\",\"threads\":%d,\"openmp\":%s,\"opencl_library\":%s}", xcoder_threads(), openmp,
                  HAVE_OPENCL ? "true" : "false");
  xcoder_status status = xci_text_status(&text, err);
  if (status) {
    xci_text_clear(&text);
    return status;
  }
  *json = text.bytes;
  return XCODER_OK;
}
