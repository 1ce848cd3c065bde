/* SPDX-License-Identifier: Apache-2.0 */
/* Which features carry one prompt? Usage: attribute CROSSCODER RIGHT WRONG CHECKPOINT...
 * with one checkpoint folder for each of the crosscoder's, in its order. The prompt is read from standard input. */
#include <crosscoder.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static xcoder_status one_token(const xcoder_tokenizer *tokenizer, const char *text, uint32_t *id, xcoder_error *err) {
  uint32_t *ids = NULL;
  size_t n = 0;
  xcoder_status status = xcoder_tokenize(tokenizer, text, strlen(text), &ids, &n, err);
  if (!status) *id = n ? ids[0] : 0;
  xcoder_free(ids);
  return status;
}

int main(int argc, char **argv) {
  xcoder_error err = {0};
  xcoder *coder = NULL;
  xcoder_device *device = NULL;
  xcoder_tokenizer *tokenizer = NULL;
  xcoder_model *models[XCODER_MAX_CHECKPOINTS] = {NULL};
  char prompt[4096], *json = NULL;
  uint32_t ids[1024], *found = NULL, right = 0, wrong = 0;
  size_t n_ids = 0, n_found = 0, n_models = argc > 4 ? (size_t)argc - 4 : 0;
  if (n_models == 0 || n_models > XCODER_MAX_CHECKPOINTS || !fgets(prompt, sizeof prompt, stdin)) {
    fprintf(stderr, "usage: attribute CROSSCODER RIGHT WRONG CHECKPOINT... <PROMPT\n");
    return 2;
  }
  prompt[strcspn(prompt, "\n")] = '\0';
  xcoder_status status = xcoder_device_open("cpu", &device, &err);
  if (!status) status = xcoder_load(argv[1], &coder, &err);
  if (!status) status = xcoder_tokenizer_open(argv[4], &tokenizer, &err);
  for (size_t c = 0; !status && c < n_models; c++)
    status = xcoder_model_open(argv[4 + c], device, -1, &models[c], &err);
  if (!status) status = xcoder_tokenize(tokenizer, prompt, strlen(prompt), &found, &n_found, &err);
  if (!status && xcoder_tokenizer_end_of_text(tokenizer, &ids[0])) n_ids = 1; /* the masked first position */
  for (size_t i = 0; !status && i < n_found && n_ids < 1024; i++) ids[n_ids++] = found[i];
  if (!status) status = one_token(tokenizer, argv[2], &right, &err);
  if (!status) status = one_token(tokenizer, argv[3], &wrong, &err);
  xcoder_setting setting = {.device = device, .coder = coder, .models = models, .tokenizer = tokenizer};
  if (!status) status = xcoder_explain(&setting, ids, n_ids, &right, &wrong, 10, &json, &err);
  if (status)
    fprintf(stderr, "attribute: %s\n", err.message);
  else
    puts(json);
  xcoder_free(json);
  xcoder_free(found);
  for (size_t c = 0; c < n_models; c++) xcoder_model_close(models[c]);
  xcoder_tokenizer_close(tokenizer);
  xcoder_free_coder(coder);
  xcoder_device_close(device);
  return xcoder_exit_status(status);
}
