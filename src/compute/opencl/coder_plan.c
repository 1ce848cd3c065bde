/* SPDX-License-Identifier: Apache-2.0 */
/* What a crosscoder takes of a device's memory, to the byte, and where its weights lie if that is more than there is.
 * Everything but weights is taken when the crosscoder is made, at its largest, so that no step asks for more: what is
 * counted here is what is used, and a training that begins does not end for want of memory. */
#include "compute/opencl/coder.h"

#include "base/size.h"

static const double MIB = 1 << 20;
/* Latents that a panel is a multiple of; of the room for weights, what the place for turns may take, and the most
 * latents of it: products of more are no faster, and what it takes goes up and down instead. What is left where not all
 * fits: of a quarter, for models, where nothing is known of them; else of a sixteenth, for vectors of theirs. */
enum { PART = 64, TURN_SHARE = 4, MOST_TURN = 2048, UNKNOWN_SHARE = 4, KNOWN_SHARE = 16, WEIGHTS_LEAVE = 8 };
/* Transfers of a host panel's array in a step. Up: weights for encoding, for norms, decoding and gradients, gradients
 * for their squares (two arrays), four slots of both for the update. Down: two gradients, three slots of both. */
enum { STEP_UP = 14, STEP_DOWN = 8 };

static uint64_t slots_of(const xci_coder_shape *s) { return s->training ? XCI_CL_SLOTS : 1; }

static uint64_t bytes_of(const xci_coder *c, size_t latents) { /* of weights; check_shape() has seen that they fit */
  return 2 * slots_of(&c->shape) * latents * c->columns * sizeof(float);
}

void xci_cl_coder_set_shape(xci_coder *c, const xci_coder_shape *s) {
  c->shape = *s;
  c->columns = s->n_checkpoints * s->d_model;
  const size_t n_weights = c->columns * s->n_latents;
  const size_t n_values[XCI_N_TENSORS] = {n_weights, s->n_latents, n_weights, c->columns};
  for (int t = 0; t < XCI_N_TENSORS; t++) c->n_values[t] = n_values[t];
}

size_t xci_cl_most_listed(const xci_coder *c) {
  const size_t limit = c->shape.max_batch * c->shape.n_latents / XCI_CL_DENSE_SHARE, most = c->shape.max_codes;
  if (most == 0 || most > limit / c->shape.max_batch) return xci_max_size(limit, 1);
  return xci_min_size(xci_max_size(limit, 1), xci_cl_expected_codes(most * c->shape.max_batch));
}

bool xci_cl_may_be_dense(const xci_coder *c) {
  return c->shape.max_codes == 0 || c->shape.max_codes > c->shape.n_latents / XCI_CL_DENSE_SHARE;
}

/* Arrays that grow to where they need not, beside those of coder_state.c. */
static uint64_t count_arrays(xci_coder *c, size_t *largest) {
  xci_cl_array arrays[XCI_CL_ARRAYS];
  const size_t n = xci_cl_list_arrays(c, arrays);
  uint64_t sum = 0;
  *largest = 0;
  for (size_t i = 0; i < n; i++) {
    const size_t bytes = xci_max_size(arrays[i].count, 1) * sizeof(float);
    sum += bytes;
    *largest = xci_max_size(*largest, bytes);
  }
  return sum;
}

static xcoder_status refuse(const xcoder_device *device, const xci_coder *c, uint64_t arrays, uint64_t free_bytes,
                            size_t largest, xcoder_error *err) {
  const xci_cl *cl = xci_cl_of(device);
  const size_t latents = c->shape.n_latents;
  return xci_fail(err, XCODER_DEVICE, "device %s: a crosscoder of %zu features needs %.1f MiB, %.1f MiB of it for "
                  "batches of %zu, in one array %.1f MiB; %.1f MiB are free, %.1f MiB are given at once (use smaller "
                  "batches, fewer features, or --device=cpu)", cl->name, latents,
                  (double)(arrays + bytes_of(c, latents)) / MIB, (double)arrays / MIB, c->shape.max_batch,
                  (double)largest / MIB, (double)free_bytes / MIB, (double)cl->max_buffer / MIB);
}

/* Latents of a panel, as one array allows. Kernels count the values of a panel in 32 bits. */
static size_t most_latents(const xci_cl *cl, const xci_coder *c) {
  const size_t limit = UINT32_MAX - 2 * XCI_CL_SQUARES;
  size_t most = xci_min_size(cl->max_buffer / sizeof(float), limit) / c->columns;
  if (xci_cl_wished_panel() > 0) most = xci_min_size(most, xci_max_size(1, xci_cl_wished_panel() / c->columns));
  return xci_min_size(most, c->shape.n_latents);
}

static size_t round_down(size_t n) { return n >= PART ? n / PART * PART : n; }

/* What CLBlast takes for padded copies of the matrices of a product, of which one side is a panel's latents. */
static uint64_t count_copies(const xci_cl *cl, const xci_coder *c, size_t latents) {
  enum { PAD = 256 };
  const uint64_t b = xci_ceil_div(c->shape.max_batch, PAD) * PAD, n = xci_ceil_div(latents, PAD) * PAD;
  const uint64_t k = xci_ceil_div(c->columns, PAD) * PAD;
  return cl->use_clblast && cl->tensor == NULL ? (b * k + n * k + b * n) * sizeof(float) : 0;
}

/* What models still have to take to work in. */
static uint64_t work_to_come(xcoder_device *device) {
  const uint64_t planned = device->has_plan ? device->plan.work_bytes : 0, held = xci_cl_work_bytes(device);
  return planned > held ? planned - held : 0;
}

/* What a crosscoder that is to come will take, all of it if that is possible, and the work of models. */
static uint64_t promised(xcoder_device *device) {
  const xci_cl *cl = xci_cl_of(device);
  const xci_coder_shape shape = xci_plan_shape(&device->plan);
  xci_coder c = {0};
  size_t largest;
  if (!device->has_plan || cl->has_coder || shape.n_latents == 0 || xci_cl_check_shape(&shape, NULL)) return 0;
  xci_cl_coder_set_shape(&c, &shape);
  const uint64_t all = bytes_of(&c, shape.n_latents), each = round_down(most_latents(cl, &c));
  uint64_t least = count_arrays(&c, &largest) + work_to_come(device) + count_copies(cl, &c, each) + sizeof(cl_uint);
  least = least < cl->memory ? least : cl->memory;
  const uint64_t left = cl->memory - least;
  return least + (all <= left ? all : left - left / UNKNOWN_SHARE);
}

size_t xci_cl_weights_leave(xcoder_device *device) {
  const size_t memory = xci_cl_of(device)->memory;
  return xci_max_size(memory / WEIGHTS_LEAVE, (size_t)promised(device));
}

/* Weights of models that are not there yet, as far as they will find room: a matrix that does not stays in its file. */
static uint64_t weights_to_come(xcoder_device *device) {
  const xci_cl *cl = xci_cl_of(device);
  const uint64_t room = cl->memory - xci_cl_weights_leave(device);
  if (!device->has_plan || cl->n_weights > 0) return 0;
  return device->plan.weight_bytes < room ? device->plan.weight_bytes : room;
}

static void fill_layout(const xci_coder *c, size_t each, size_t resident, xci_cl_layout *out) {
  *out = (xci_cl_layout){.each = each, .n_panels = xci_ceil_div(c->shape.n_latents, each)};
  out->n_resident = xci_min_size(resident, out->n_panels);
}

xcoder_status xci_cl_coder_layout(xcoder_device *device, const xci_coder *c, uint64_t arrays, uint64_t left,
                                  size_t largest, xci_cl_layout *out, xcoder_error *err) {
  const xci_cl *cl = xci_cl_of(device);
  const size_t latents = c->shape.n_latents, row = c->columns * sizeof(float);
  const uint64_t models = work_to_come(device), latent = bytes_of(c, 1), all = bytes_of(c, latents);
  const uint64_t small = sizeof(cl_uint); /* coder_codes.c takes that in passing */
  size_t each = most_latents(cl, c);
  *out = (xci_cl_layout){0};
  if (each == 0 || largest > cl->max_buffer) return refuse(device, c, arrays, left + arrays, xci_max_size(largest, row),
                                                           err);
  each = round_down(each);
  const uint64_t beside = models + small + count_copies(cl, c, each);
  if (beside <= left && all <= left - beside) {
    fill_layout(c, each, xci_cl_wished_panel() > 0 ? 1 : SIZE_MAX, out);
    return XCODER_OK;
  }
  each = xci_min_size(each, MOST_TURN);
  const uint64_t taken = models + small + count_copies(cl, c, each) + weights_to_come(device);
  uint64_t room = left > taken ? left - taken : 0;
  room -= room / (device->has_plan ? KNOWN_SHARE : UNKNOWN_SHARE);
  if (device->automatic || room < 2 * latent) return refuse(device, c, arrays, left + arrays, largest, err);
  each = xci_min_size(each, round_down((size_t)(room / TURN_SHARE / latent)));
  each = xci_max_size(each, 1);
  fill_layout(c, each, (size_t)(room / (latent * each)) - 1, out);
  return XCODER_OK;
}

static void describe(const xci_coder *c, const xci_cl_layout *l, uint64_t arrays, xcoder_device_room *room) {
  const size_t n_host = l->n_panels - l->n_resident, latents = c->shape.n_latents;
  const size_t away = n_host > 0 ? latents - l->n_resident * l->each : 0;
  const uint64_t one = (uint64_t)away * c->columns * sizeof(float);
  room->batch_bytes = arrays;
  room->coder_bytes = arrays + bytes_of(c, latents);
  room->n_panels = l->n_panels;
  room->n_host_panels = n_host;
  room->panel_latents = l->each;
  room->host_bytes = bytes_of(c, away);
  /* A single panel of the host is still in the place when its turn comes again. */
  room->step_up = n_host > 1 ? (c->shape.training ? STEP_UP : 2) * one : 0;
  room->step_down = c->shape.training ? STEP_DOWN * one : 0;
}

xcoder_status xci_cl_coder_plan(xcoder_device *device, const xci_coder_shape *shape, xcoder_device_room *room,
                                xcoder_error *err) {
  const xci_cl *cl = xci_cl_of(device);
  xci_coder c = {0};
  xci_cl_layout layout;
  size_t largest;
  *room = (xcoder_device_room){.own_memory = true, .memory_bytes = cl->memory, .largest_bytes = cl->max_buffer,
                               .used_bytes = cl->used};
  if (shape->n_latents == 0) return XCODER_OK;
  xcoder_status status = xci_cl_check_shape(shape, err);
  if (status) return status;
  xci_cl_coder_set_shape(&c, shape);
  const uint64_t arrays = count_arrays(&c, &largest), free_bytes = cl->memory - cl->used;
  if (arrays > free_bytes) return refuse(device, &c, arrays, free_bytes, largest, err);
  status = xci_cl_coder_layout(device, &c, arrays, free_bytes - arrays, largest, &layout, err);
  if (!status) describe(&c, &layout, arrays, room);
  return status;
}
