/* SPDX-License-Identifier: Apache-2.0 */
/* From Oniguruma's regular expressions to PCRE2's: where the same characters mean different things.
 *
 * White space (PCRE2 counts U+180E in), \w, \b and \h (other sets), nested classes (unknown to PCRE2), possessive
 * intervals (greedy in Oniguruma), most POSIX names and class intersections differ. The sets are written out, a union
 * of classes is flattened, the rest is refused. */
#include "data/pattern.h"

#include <string.h>

#define SPACES "\\p{Z}\\t-\\r\\x{85}"
/* Alphabetic, marks, decimal numbers, connectors; \w takes six numbers of Latin-1 besides. */
#define WORD_CLASS \
  "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
#define WORDS WORD_CLASS "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define BORDER "(?:(?<=[" WORDS "])(?![" WORDS "])|(?<![" WORDS "])(?=[" WORDS "]))"
#define NO_BORDER "(?:(?<=[" WORDS "])(?=[" WORDS "])|(?<![" WORDS "])(?![" WORDS "]))"
#define HEX_DIGITS "0-9A-Fa-f"

typedef struct rewrite {
  const char *p;
  xci_text *out;
  unsigned depth; /* of nested classes; 0: outside of any */
  bool after_interval;
  const char *reason;
} rewrite;

/* The set that an escape stands for, NULL if the escape means the same in both. */
static const char *escaped_set(char letter) {
  switch (letter) {
  case 's': case 'S': return SPACES;
  case 'w': case 'W': return WORDS;
  case 'h': case 'H': return HEX_DIGITS;
  default: return NULL;
  }
}

static void copy_escape(rewrite *r) {
  char letter = r->p[1];
  const char *set = escaped_set(letter);
  if (letter == '\0') {
    r->reason = "it ends with a backslash";
    return;
  }
  if (!set && !r->depth && (letter == 'b' || letter == 'B')) {
    xci_text_add(r->out, letter == 'b' ? BORDER : NO_BORDER);
  } else if (!set) {
    if (strchr("gkKRXyYOzZ", letter)) {
      r->reason = "it holds an escape whose meaning depends on the engine";
      return;
    }
    xci_text_append(r->out, r->p, 2);
  } else if (letter >= 'a') {
    xci_text_format(r->out, r->depth ? "%s" : "[%s]", set);
  } else if (r->depth) {
    r->reason = "a class holds a negated set";
    return;
  } else {
    xci_text_format(r->out, "[^%s]", set);
  }
  r->p += 2;
}

/* "[:name:]" inside a class. */
static void copy_posix_name(rewrite *r) {
  static const struct {
    const char *name, *set;
  } known[] = {{"[:digit:]", "\\p{Nd}"}, {"[:space:]", SPACES}, {"[:word:]", WORD_CLASS}, {"[:xdigit:]", HEX_DIGITS}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    size_t n = strlen(known[i].name);
    if (strncmp(r->p, known[i].name, n) != 0) continue;
    xci_text_add(r->out, known[i].set);
    r->p += n;
    return;
  }
  r->reason = "it holds a POSIX class whose meaning depends on the engine";
}

/* "[" inside a class: a POSIX name is written out, a nested class melts into the outer one. */
static void enter_class(rewrite *r) {
  if (r->depth && r->p[1] == ':') {
    copy_posix_name(r);
    return;
  }
  if (r->depth && r->p[1] == '^') {
    r->reason = "it nests a negated class in a class";
    return;
  }
  if (!r->depth) {
    size_t n = r->p[1] == '^' ? 2 : 1;
    xci_text_append(r->out, r->p, n);
    r->p += n;
  } else {
    r->p++;
  }
  r->depth++;
  if (*r->p == ']') { /* first in its class: the character itself */
    xci_text_add(r->out, "\\]");
    r->p++;
  }
}

static void copy_in_class(rewrite *r) {
  if (*r->p == '[') {
    enter_class(r);
  } else if (*r->p == ']') {
    if (--r->depth == 0) xci_text_add(r->out, "]");
    r->p++;
  } else if (r->p[0] == '&' && r->p[1] == '&') {
    r->reason = "it intersects classes";
  } else {
    xci_text_append(r->out, r->p++, 1);
  }
}

static bool is_interval(const char *p) {
  size_t digits = strspn(p + 1, "0123456789,");
  return digits > 0 && p[1 + digits] == '}';
}

static void copy_outside(rewrite *r) {
  bool after_interval = r->after_interval;
  r->after_interval = false;
  if (*r->p == '[') {
    enter_class(r);
  } else if (*r->p == '{' && is_interval(r->p)) {
    size_t n = strcspn(r->p, "}") + 1;
    xci_text_append(r->out, r->p, n);
    r->p += n;
    r->after_interval = true;
  } else if (*r->p == '+' && after_interval) {
    r->reason = "'+' follows an interval";
  } else if (strncmp(r->p, "(?m", 3) == 0 || strncmp(r->p, "(?C", 3) == 0 || strncmp(r->p, "(?R", 3) == 0 ||
             strncmp(r->p, "(*", 2) == 0) {
    r->reason = "it holds a group whose meaning depends on the engine";
  } else {
    xci_text_append(r->out, r->p++, 1);
  }
}

bool xci_pattern_rewrite(const char *pattern, xci_text *out, const char **reason) {
  rewrite r = {.p = pattern, .out = out};
  while (*r.p && !r.reason) {
    if (*r.p == '\\') {
      copy_escape(&r);
      r.after_interval = false;
    } else if (r.depth) {
      copy_in_class(&r);
    } else {
      copy_outside(&r);
    }
  }
  if (!r.reason && r.depth) r.reason = "a class is not closed";
  *reason = r.reason;
  return !r.reason;
}
