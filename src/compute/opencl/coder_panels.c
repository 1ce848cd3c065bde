/* SPDX-License-Identifier: Apache-2.0 */
/* A crosscoder's weights in panels of latents: each no larger than what the device gives at once, and where all of them
 * do not fit, some in the host's memory, which take turns in one place on the device. */
#include "compute/opencl/coder.h"

#include "base/memory.h"
#include "base/size.h"
#include <stdio.h>

static const double MIB = 1 << 20;
/* Latents that a panel is a multiple of; what the place for turns may take of the room for weights; what is left of the
 * memory where not all fits, for models, lists that grow and samples. */
enum { PART = 64, TURN_SHARE = 4, LEFT_SHARE = 4 };

/* ---- Cutting ---- */

/* What a crosscoder takes, in bytes. */
typedef struct needs {
  double latent, other; /* a latent's weights in all slots; everything but weights */
  size_t largest;       /* array that cannot be cut */
  size_t free_bytes;
} needs;

static double slots_of(const xci_coder_shape *s) { return s->training ? XCI_CL_SLOTS : 1; }

/* check_shape() has seen that no product of the sizes of a batch overflows. */
static needs find_needs(const xcoder_device *device, const xci_coder_shape *s) {
  const xci_cl *cl = xci_cl_of(device);
  const double n = (double)s->n_checkpoints, latents = (double)s->n_latents, columns = n * (double)s->d_model;
  const size_t batch = s->max_batch, width = s->n_checkpoints * s->d_model;
  const double chunks = (double)xci_ceil_div(batch, XCI_CL_CHUNK), codes = (double)batch * latents;
  needs w = {.latent = 2 * slots_of(s) * columns * sizeof(float), .free_bytes = cl->memory - cl->used};
  w.largest = xci_max_size(batch * s->n_latents, batch * width) * sizeof(float);
  /* x and the residual; f and lists of an eighth; what there is of each latent. In training also the gradient of f and
   * sums over chunks, and as much as the auxiliary term asks for where all features are dead. */
  w.other = 2 * (double)batch * columns + 1.5 * codes + (n + 4) * latents;
  if (s->training) w.other += 2 * codes + (double)batch * columns + (n + 18 + 3 * chunks) * latents + chunks * columns;
  w.other *= sizeof(float);
  return w;
}

static xcoder_status refuse(const xcoder_device *device, const xci_coder_shape *s, const needs *w, double bytes,
                            size_t largest, xcoder_error *err) {
  const xci_cl *cl = xci_cl_of(device);
  return xci_fail(err, XCODER_DEVICE, "device %s: a crosscoder of %zu features needs %.1f MiB, its largest array %.1f "
                  "MiB; %.1f MiB are free, %.1f MiB are given at once (use smaller batches, fewer features, or "
                  "--device=cpu)", cl->name, s->n_latents, bytes / MIB, (double)largest / MIB,
                  (double)w->free_bytes / MIB, (double)cl->max_buffer / MIB);
}

/* Latents of a panel: as one array allows, evenly. Kernels count the values of a panel in 32 bits. */
static size_t most_latents(const xci_cl *cl, const xci_coder_shape *s) {
  const size_t columns = s->n_checkpoints * s->d_model, limit = UINT32_MAX - 2 * XCI_CL_SQUARES;
  size_t most = xci_min_size(cl->max_buffer / sizeof(float), limit) / columns;
  if (xci_cl_wished_panel() > 0) most = xci_min_size(most, xci_max_size(1, xci_cl_wished_panel() / columns));
  return xci_min_size(most, s->n_latents);
}

static size_t round_down(size_t n) { return n >= PART ? n / PART * PART : n; }

xcoder_status xci_cl_coder_fits(xcoder_device *device, const xci_coder_shape *s, uint64_t other, xcoder_error *err) {
  const needs w = find_needs(device, s);
  const double bytes = w.other + w.latent * (double)s->n_latents;
  const size_t row = s->n_checkpoints * s->d_model * sizeof(float), largest = xci_max_size(w.largest, row);
  if (s->n_latents == 0 && (double)other > (double)w.free_bytes)
    return xci_fail(err, XCODER_DEVICE, "device %s: models and samples need %.1f MiB; %.1f MiB are free",
                    xci_cl_of(device)->name, (double)other / MIB, (double)w.free_bytes / MIB);
  if (bytes + (double)other > (double)w.free_bytes && other > 0)
    return xci_fail(err, XCODER_DEVICE, "device %s: a crosscoder of %zu features needs %.1f MiB, models and samples "
                    "%.1f MiB; %.1f MiB are free", xci_cl_of(device)->name, s->n_latents, bytes / MIB,
                    (double)other / MIB, (double)w.free_bytes / MIB);
  if (largest > xci_cl_of(device)->max_buffer || bytes > (double)w.free_bytes)
    return refuse(device, s, &w, bytes, largest, err);
  return XCODER_OK;
}

/* *each: latents of a panel; *on_device: how many of the panels stay there. */
static xcoder_status choose(xcoder_device *device, const xci_coder_shape *s, size_t *each, size_t *on_device,
                            xcoder_error *err) {
  const xci_cl *cl = xci_cl_of(device);
  const needs w = find_needs(device, s);
  const double all = w.latent * (double)s->n_latents;
  double room = (double)w.free_bytes - w.other;
  const size_t row = s->n_checkpoints * s->d_model * sizeof(float);
  *each = most_latents(cl, s);
  if (*each == 0 || w.largest > cl->max_buffer)
    return refuse(device, s, &w, w.other + all, xci_max_size(w.largest, row), err);
  *each = round_down(*each);
  *on_device = xci_ceil_div(s->n_latents, *each);
  if (all > room) {
    room -= (double)w.free_bytes / LEFT_SHARE;
    if (room < w.latent || device->automatic) return refuse(device, s, &w, w.other + all, w.largest, err);
    *each = xci_min_size(*each, round_down((size_t)(room / TURN_SHARE / w.latent)));
    if (*each == 0) *each = 1;
    *on_device = (size_t)((room - w.latent * (double)*each) / (w.latent * (double)*each));
  } else if (xci_cl_wished_panel() > 0) {
    *on_device = 1;
  }
  return XCODER_OK;
}

static xcoder_status allocate(xcoder_device *device, xci_coder *c, xci_cl_panel *p, bool on_device,
                              xcoder_error *err) {
  const size_t slots = c->shape.training ? XCI_CL_SLOTS : 1, n_values = p->n * c->columns;
  xcoder_status status = XCODER_OK;
  for (int t = XCI_W_ENC; t <= XCI_W_DEC; t += XCI_W_DEC - XCI_W_ENC)
    for (size_t s = 0; s < slots && !status; s++) {
      if (!on_device) {
        status = XCI_ALLOC(&p->host[t][s], n_values, err);
        continue;
      }
      status = xci_cl_alloc(device, n_values, sizeof(float), &p->memory[t][s], err);
      if (!status) status = xci_cl_zero(device, p->memory[t][s], 0, n_values * sizeof(float), err);
    }
  return status;
}

/* The place where panels of the host take turns. */
static xcoder_status allocate_turns(xcoder_device *device, xci_coder *c, size_t each, xcoder_error *err) {
  const size_t slots = c->shape.training ? XCI_CL_SLOTS : 1;
  xcoder_status status = XCODER_OK;
  for (int t = XCI_W_ENC; t <= XCI_W_DEC; t += XCI_W_DEC - XCI_W_ENC)
    for (size_t s = 0; s < slots && !status; s++)
      status = xci_cl_alloc(device, each * c->columns, sizeof(float), &c->tensor[t][s], err);
  return status;
}

xcoder_status xci_cl_panels_create(xcoder_device *device, xci_coder *c, xcoder_error *err) {
  size_t each = 0, on_device = 0, latents = c->shape.n_latents;
  xcoder_status status = choose(device, &c->shape, &each, &on_device, err);
  if (status) return status;
  c->n_panels = xci_ceil_div(latents, each);
  c->n_resident = xci_min_size(on_device, c->n_panels);
  status = XCI_ALLOC(&c->panels, c->n_panels, err);
  for (size_t i = 0; i < c->n_panels && !status; i++) {
    c->panels[i].first = i * each;
    c->panels[i].n = xci_min_size(each, latents - i * each);
    status = allocate(device, c, &c->panels[i], i < c->n_resident, err);
  }
  if (!status && c->n_resident < c->n_panels) status = allocate_turns(device, c, each, err);
  device->remark[0] = '\0';
  if (!status && c->n_resident < c->n_panels)
    snprintf(device->remark, sizeof device->remark, "device %s: the weights of %zu features do not fit at once: %zu of "
             "%zu panels of %zu features stay in the host's memory and cross the bus in every batch",
             xci_cl_of(device)->name, latents, c->n_panels - c->n_resident, c->n_panels, each);
  return status;
}

void xci_cl_panels_free(xcoder_device *device, xci_coder *c) {
  for (size_t i = 0; c->panels != NULL && i < c->n_panels; i++)
    for (int t = 0; t < XCI_N_TENSORS; t++)
      for (int s = 0; s < XCI_CL_SLOTS; s++) {
        xci_cl_free(device, &c->panels[i].memory[t][s]);
        xci_free(c->panels[i].host[t][s]);
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
