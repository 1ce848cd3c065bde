/* SPDX-License-Identifier: Apache-2.0 */
/* Progress, notes and warnings: a line that is rewritten on a terminal, a line now and then elsewhere, or JSON. */
#include "progress.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double terminal_pause = 0.2, plain_pause = 10;

double cli_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

const char *cli_duration(double seconds, char out[32]) {
  if (seconds < 99.5)
    snprintf(out, 32, "%.0f s", seconds);
  else if (seconds < 99.5 * 60)
    snprintf(out, 32, "%.0f min", seconds / 60);
  else if (seconds < 48 * 3600.0)
    snprintf(out, 32, "%.1f h", seconds / 3600);
  else
    snprintf(out, 32, "%.1f d", seconds / 86400);
  return out;
}

const char *cli_size(double bytes, char out[32]) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit < 5) {
    bytes /= 1024;
    unit++;
  }
  snprintf(out, 32, unit == 0 || bytes >= 100 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
  return out;
}

void cli_progress_init(cli_progress *progress, bool quiet, bool json, const char *command) {
  const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
  *progress = (cli_progress){.quiet = quiet, .json = json, .command = command, .seconds_after = -1};
  progress->terminal = !json && isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
  progress->colour = progress->terminal && !(no_colour && *no_colour);
}

void cli_progress_free(cli_progress *progress) {
  cli_end_line(progress);
  free(progress->log_path);
  progress->log_path = NULL;
}

void cli_end_line(cli_progress *progress) {
  if (progress->line_open)
    fputc('\n', stderr);
  progress->line_open = false;
}

static void add_time(json_t *object) {
  char text[32];
  time_t now = time(NULL);
  struct tm parts;
  if (gmtime_r(&now, &parts) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts))
    json_object_set_new(object, "time", json_string(text));
}

static void print_json(FILE *file, json_t *object) {
  char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
  if (text)
    fprintf(file, "%s\n", text);
  free(text);
  json_decref(object);
}

/* A JSON text even where `text` is not UTF-8. */
static json_t *make_string(const char *text) {
  json_t *string = json_string(text);
  char *clean = string ? NULL : cli_printable(text, strlen(text));
  if (clean)
    string = json_string(clean);
  free(clean);
  return string;
}

void cli_log_event(cli_progress *progress, const char *event, const char *message) {
  if (!progress->log_path)
    return;
  json_t *object = json_object();
  add_time(object);
  json_object_set_new(object, "command", json_string(progress->command));
  json_object_set_new(object, "event", json_string(event));
  json_object_set_new(object, "message", make_string(message));
  char *text = json_dumps(object, JSON_COMPACT), *line = text ? cli_format("%s\n", text) : NULL;
  /* One write to a file opened for appending: lines of a crash are whole or missing, never mixed. */
  int file = line ? open(progress->log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : -1;
  if (file < 0 || write(file, line, strlen(line)) != (ssize_t)strlen(line)) {
    char *path = progress->log_path;
    char *warning = cli_format("%s: cannot be written (%s); the log ends here", path, strerror(errno));
    progress->log_path = NULL;
    cli_warn(progress, warning ? warning : "the log cannot be written");
    free(warning);
    free(path);
  }
  if (file >= 0)
    close(file);
  free(line);
  free(text);
  json_decref(object);
}

void cli_warn(void *context, const char *message) {
  cli_progress *progress = context;
  cli_end_line(progress);
  if (progress->json) {
    print_json(stderr, json_pack("{s:s,s:o}", "event", "warning", "message", make_string(message)));
  } else {
    char *clean = cli_printable(message, strlen(message));
    fprintf(stderr, "crosscoder: warning: %s\n", clean ? clean : "out of memory");
    free(clean);
  }
  cli_log_event(progress, "warning", message);
}

void cli_note(cli_progress *progress, const char *format, ...) {
  va_list list;
  char line[2048];
  va_start(list, format);
  vsnprintf(line, sizeof line, format, list);
  va_end(list);
  cli_log_event(progress, "note", line);
  if (progress->quiet)
    return;
  cli_end_line(progress);
  char *clean = cli_printable(line, strlen(line));
  if (progress->json)
    print_json(stderr, json_pack("{s:s,s:o}", "event", "note", "message", make_string(line)));
  else
    fprintf(stderr, "%s\n", clean ? clean : "");
  free(clean);
}

void cli_note_traffic(cli_progress *progress, const char *what, const xcoder_device *device,
                      const xcoder_traffic *before) {
  xcoder_traffic t;
  char up[32], down[32];
  if (!device || !xcoder_device_traffic(device, &t) || t.n_launches == before->n_launches)
    return;
  cli_note(progress,
           "%s: on the device %llu commands, %llu transfers up (%s), %llu down (%s), %llu waits (%.1f s, then "
           "%.1f s with nothing queued), %.1f s between commands",
           what, (unsigned long long)(t.n_launches - before->n_launches), (unsigned long long)(t.n_up - before->n_up),
           cli_size((double)(t.bytes_up - before->bytes_up), up), (unsigned long long)(t.n_down - before->n_down),
           cli_size((double)(t.bytes_down - before->bytes_down), down),
           (unsigned long long)(t.n_waits - before->n_waits), t.wait_seconds - before->wait_seconds,
           t.idle_seconds - before->idle_seconds, t.host_seconds - before->host_seconds);
}

/* "1234", "12.3k", "4.5M". */
static const char *short_number(double number, char out[32]) {
  if (number < 10000)
    snprintf(out, 32, number < 10 && number > 0 ? "%.1f" : "%.0f", number);
  else if (number < 1e6)
    snprintf(out, 32, "%.1fk", number / 1e3);
  else if (number < 1e9)
    snprintf(out, 32, "%.1fM", number / 1e6);
  else
    snprintf(out, 32, "%.1fG", number / 1e9);
  return out;
}

static void print_progress_json(const xcoder_progress *p, double rate, double left, double all) {
  json_t *object = json_pack("{s:s,s:s,s:s,s:I,s:I,s:f,s:f}", "event", "progress", "stage", p->stage ? p->stage : "",
                             "unit", p->unit ? p->unit : "", "done", (json_int_t)p->done, "total",
                             (json_int_t)p->total, "rate", rate, "seconds_left", left);
  if (object && all >= 0)
    json_object_set_new(object, "seconds_left_in_all", json_real(all));
  if (object && p->detail)
    json_object_set_new(object, "detail", make_string(p->detail));
  print_json(stderr, object);
}

static void print_progress_line(cli_progress *progress, const xcoder_progress *p, double rate, double left,
                                double all) {
  char done[32], total[32], speed[32], remaining[32], in_all[32];
  cli_string line = {0};
  cli_addf(&line, "%s%-10s%s %s", progress->colour ? "\033[1m" : "", p->stage ? p->stage : "",
           progress->colour ? "\033[0m" : "", short_number((double)p->done, done));
  if (p->total)
    cli_addf(&line, " of %s %s (%.0f %%)", short_number((double)p->total, total), p->unit ? p->unit : "",
             100.0 * (double)p->done / (double)p->total);
  else
    cli_addf(&line, " %s", p->unit ? p->unit : "");
  if (rate > 0)
    cli_addf(&line, ", %s/s", short_number(rate, speed));
  if (rate > 0 && p->total)
    cli_addf(&line, ", %s left", cli_duration(left, remaining));
  if (all >= 0)
    cli_addf(&line, " (%s in all)", cli_duration(all, in_all));
  if (p->detail) {
    char *detail = cli_printable(p->detail, strlen(p->detail));
    cli_addf(&line, "  %s", detail ? detail : "");
    free(detail);
  }
  if (!line.failed && progress->terminal)
    fprintf(stderr, "\r%s\033[K", line.text);
  else if (!line.failed)
    fprintf(stderr, "%s\n", line.text);
  progress->line_open = progress->terminal;
  cli_string_free(&line);
  fflush(stderr);
}

static void show(cli_progress *progress, const xcoder_progress *p, double rate, double left, double now) {
  bool finished = p->total && p->done >= p->total;
  double pause = progress->terminal ? terminal_pause : plain_pause;
  if (progress->quiet || (now - progress->last_shown < pause && !(finished && progress->line_open)))
    return;
  progress->last_shown = now;
  double all = progress->seconds_after >= 0 ? left + progress->seconds_after : -1;
  if (progress->json)
    print_progress_json(p, rate, left, all);
  else
    print_progress_line(progress, p, rate, left, all);
  if (finished)
    cli_end_line(progress);
}

static void start_stage(cli_progress *progress, const char *stage, uint64_t done, double now) {
  snprintf(progress->stage, sizeof progress->stage, "%s", stage);
  progress->stage_started = now;
  progress->first_done = done;
  progress->fill_seconds = progress->fill_samples = 0;
  progress->last_shown = progress->terminal ? 0 : now; /* short stages stay silent outside a terminal */
}

/* Windows are filled within a stage, whose clock stands still meanwhile; what they take is spread over all samples. */
static void show_fill(cli_progress *progress, const xcoder_progress *p, double now) {
  if (progress->fill_started <= 0 || p->done == 0)
    progress->fill_started = now;
  double elapsed = now - progress->fill_started, rate = elapsed > 0 ? (double)p->done / elapsed : 0;
  if (!progress->stage[0])
    start_stage(progress, "fill", 0, now);
  double after = progress->seconds_after;
  progress->seconds_after = -1; /* of the whole, only the stage knows */
  show(progress, p, rate, rate > 0 ? (double)(p->total - p->done) / rate : 0, now);
  progress->seconds_after = after;
  if (p->done < p->total)
    return;
  progress->fill_seconds += elapsed;
  progress->fill_samples += (double)p->total;
  progress->stage_started += elapsed;
  progress->fill_started = 0;
}

void cli_show_progress(void *context, const xcoder_progress *p) {
  cli_progress *progress = context;
  double now = cli_seconds();
  const char *stage = p->stage ? p->stage : "";
  if (strcmp(stage, "fill") == 0) {
    show_fill(progress, p, now);
    return;
  }
  if (strncmp(stage, progress->stage, sizeof progress->stage - 1) != 0 || p->done < progress->first_done)
    start_stage(progress, stage, p->done, now);
  double elapsed = now - progress->stage_started, done = (double)(p->done - progress->first_done);
  double fill = progress->fill_seconds / fmax(fmax(progress->fill_samples, done), 1);
  double rate = elapsed > 0 && done > 0 ? 1 / (elapsed / done + fill) : 0;
  double left = rate > 0 && p->total > p->done ? (double)(p->total - p->done) / rate : 0;
  show(progress, p, rate, left, now);
}
