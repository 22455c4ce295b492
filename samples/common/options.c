#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

static bool usage(const char *program) {
  fprintf(
      stderr,
      "Usage: %s MODEL.cvimodel IMAGE LABELS [options]\n"
      "  IMAGE   JPEG, PNG or .npy (uint8, height x width x 3, BGR)\n"
      "  LABELS  one label a line\n"
      "  --rgb                  the network takes RGB (default BGR)\n"
      "  --mean A,B,C           subtracted, in the order of the network (103.94,116.78,123.68)\n"
      "  --scale A,B,C          then multiplied (0.017,0.017,0.017)\n"
      "  --resize W,H           size before the centre is cut out (256,256)\n"
      "  --fit stretch|letterbox|short-side\n"
      "  --tensor FILE          the input tensor itself: .npy, or its bytes; IMAGE is ignored\n"
      "  --output FILE.npy      write the output tensor\n"
      "  --repeat N             run N times and print the times\n",
      program);
  return false;
}

/* Up to three comma-separated numbers; one number counts for all. */
static bool numbers(const char *text, double *out, int count) {
  for (int i = 0; i < count; i++) {
    char *end;
    out[i] = strtod(text, &end);
    if (end == text) return false;
    if (*end == 0) {
      for (int k = i + 1; k < count; k++) out[k] = out[i];
      return i == 0 || i == count - 1;
    }
    if (*end != ',') return false;
    text = end + 1;
  }
  return false;
}

static bool parse_fit(const char *word, Fit *fit) {
  static const char *words[] = {"stretch", "letterbox", "short-side"};
  for (int i = 0; i < 3; i++)
    if (!strcmp(word, words[i])) return *fit = (Fit)i, true;
  return false;
}

/* One option with its value; false: not understood. */
static bool parse_value(Options *o, const char *name, const char *value) {
  Preprocess *p = &o->preprocess;
  double size[2];
  if (!strcmp(name, "--mean")) {
    p->folded = false;
    return numbers(value, p->mean, 3);
  }
  if (!strcmp(name, "--scale")) {
    p->folded = false;
    return numbers(value, p->scale, 3);
  }
  if (!strcmp(name, "--resize")) {
    if (!numbers(value, size, 2) || size[0] < 0 || size[1] < 0 || size[0] > IMAGE_MAX_SIDE ||
        size[1] > IMAGE_MAX_SIDE)
      return false;
    p->resize_width = (int)size[0];
    p->resize_height = (int)size[1];
    return true;
  }
  if (!strcmp(name, "--fit")) return parse_fit(value, &p->fit);
  if (!strcmp(name, "--output")) return o->output = value, true;
  if (!strcmp(name, "--tensor")) return o->tensor = value, true;
  if (!strcmp(name, "--repeat")) return (o->repeat = atoi(value)) >= 1 && o->repeat <= 1000000;
  return false;
}

bool options_parse(Options *o, int argc, char **argv) {
  memset(o, 0, sizeof *o);
  o->preprocess = preprocess_default;
  o->repeat = 1;
  if (argc < 4) return usage(argv[0]);
  o->model = argv[1];
  o->image = argv[2];
  o->labels = argv[3];
  for (int i = 4; i < argc; i++) {
    if (!strcmp(argv[i], "--rgb")) {
      o->preprocess.rgb = true;
      continue;
    }
    if (i + 1 >= argc || !parse_value(o, argv[i], argv[i + 1])) {
      usage(argv[0]);
      return fail("option %s is unknown, or its value is wrong or missing", argv[i]);
    }
    i++;
  }
  return true;
}
