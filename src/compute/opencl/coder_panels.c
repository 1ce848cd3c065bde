/* SPDX-License-Identifier: Apache-2.0 */
/* A crosscoder's weights in panels of latents: each no larger than what the device gives at once, and where all of them
 * do not fit (coder_plan.c), some in the host's memory, which take turns in one place on the device. */
#include "compute/opencl/coder.h"

#include "base/memory.h"
#include "base/size.h"
#include <stdio.h>

static xcoder_status allocate(xcoder_device *device, xci_coder *c, xci_cl_panel *p, bool on_device, bool *refused,
                              xcoder_error *err) {
  const size_t slots = c->shape.training ? XCI_CL_SLOTS : 1, n_values = p->n * c->columns;
  xcoder_status status = XCODER_OK;
  for (int t = XCI_W_ENC; t <= XCI_W_DEC; t += XCI_W_DEC - XCI_W_ENC)
    for (size_t s = 0; s < slots && !status; s++) {
      if (!on_device) {
        status = XCI_ALLOC(&p->host[t][s], n_values, err);
        continue;
      }
      status = xci_cl_try_alloc(device, n_values, sizeof(float), &p->memory[t][s], refused, err);
      if (!status) status = xci_cl_zero(device, p->memory[t][s], 0, n_values * sizeof(float), err);
    }
  return status;
}

/* The place where panels of the host take turns. */
static xcoder_status allocate_turns(xcoder_device *device, xci_coder *c, size_t each, bool *refused,
                                    xcoder_error *err) {
  const size_t slots = c->shape.training ? XCI_CL_SLOTS : 1;
  xcoder_status status = XCODER_OK;
  for (int t = XCI_W_ENC; t <= XCI_W_DEC; t += XCI_W_DEC - XCI_W_ENC)
    for (size_t s = 0; s < slots && !status; s++)
      status = xci_cl_try_alloc(device, each * c->columns, sizeof(float), &c->tensor[t][s], refused, err);
  return status;
}

static xcoder_status take(xcoder_device *device, xci_coder *c, const xci_cl_layout *l, bool *refused,
                          xcoder_error *err) {
  const size_t latents = c->shape.n_latents;
  c->n_panels = l->n_panels;
  c->n_resident = l->n_resident;
  xcoder_status status = XCI_ALLOC(&c->panels, c->n_panels, err);
  for (size_t i = 0; i < c->n_panels && !status; i++) {
    c->panels[i].first = i * l->each;
    c->panels[i].n = xci_min_size(l->each, latents - i * l->each);
    status = allocate(device, c, &c->panels[i], i < c->n_resident, refused, err);
  }
  if (!status && c->n_resident < c->n_panels) status = allocate_turns(device, c, l->each, refused, err);
  return status;
}

/* A driver may give less than the device has, if others use it too: then that is what there is, and the weights are
 * laid out for it. */
xcoder_status xci_cl_panels_create(xcoder_device *device, xci_coder *c, uint64_t arrays, xcoder_error *err) {
  xci_cl *cl = xci_cl_of(device);
  xci_cl_layout layout;
  xcoder_status status;
  bool refused;
  do {
    refused = false;
    status = xci_cl_coder_layout(device, c, arrays, cl->memory - cl->used, 0, &layout, err);
    if (!status) status = take(device, c, &layout, &refused, err);
    if (!status) break;
    const size_t given = cl->used;
    xci_cl_panels_free(device, c);
    if (refused) cl->memory = given;
  } while (refused && !device->automatic);
  device->remark[0] = '\0';
  if (!status && c->n_resident < c->n_panels)
    snprintf(device->remark, sizeof device->remark, "device %s: the weights of %zu features do not fit at once: %zu of "
             "%zu panels of %zu features stay in the host's memory and cross the bus in every batch", cl->name,
             c->shape.n_latents, c->n_panels - c->n_resident, c->n_panels, layout.each);
  return status;
}

void xci_cl_panels_free(xcoder_device *device, xci_coder *c) {
  for (int t = XCI_W_ENC; t <= XCI_W_DEC; t += XCI_W_DEC - XCI_W_ENC)
    for (int s = 0; s < XCI_CL_SLOTS; s++) {
      for (size_t i = 0; c->panels != NULL && i < c->n_panels; i++) {
        xci_cl_free(device, &c->panels[i].memory[t][s]);
        xci_free(c->panels[i].host[t][s]);
      }
      xci_cl_free(device, &c->tensor[t][s]);
    }
  xci_free(c->panels);
  c->panels = NULL;
}

/* ---- Using one ---- */

/* Transfers wait and the queue is in order, so nothing reads the place any more when the next panel goes there. */
xcoder_status xci_cl_panel_in(xcoder_device *device, xci_coder *c, const xci_cl_panel *p, xci_coder_tensor tensor,
                              xci_coder_slot slot, bool fetch, cl_mem *memory, xcoder_error *err) {
  *memory = p->memory[tensor][slot];
  if (*memory != NULL) return XCODER_OK;
  *memory = c->tensor[tensor][slot];
  if (c->there[tensor][slot] == p) return XCODER_OK;
  c->there[tensor][slot] = NULL;
  xcoder_status status = XCODER_OK;
  if (fetch) status = xci_cl_write(device, *memory, 0, p->host[tensor][slot], p->n * c->columns * sizeof(float), err);
  if (!status) c->there[tensor][slot] = p;
  return status;
}

xcoder_status xci_cl_panel_out(xcoder_device *device, xci_coder *c, const xci_cl_panel *p, xci_coder_tensor tensor,
                               xci_coder_slot slot, xcoder_error *err) {
  if (p->memory[tensor][slot] != NULL) return XCODER_OK;
  return xci_cl_read(device, c->tensor[tensor][slot], 0, p->host[tensor][slot], p->n * c->columns * sizeof(float), err);
}
