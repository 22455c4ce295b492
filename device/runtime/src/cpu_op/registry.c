/* The table of CPU functions. */
#include <string.h>

#include "cpu_op/cpu_op.h"
#include "cpu_op/ops.h"

#define ENTRY(text, name) {text, name##_setup, name##_run}

static const cpu_op table[] = {
    ENTRY("quant", quant),
};

const cpu_op *cpu_op_find(const char *name) {
  for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
    if (strcmp(table[i].name, name) == 0) {
      return &table[i];
    }
  }
  return NULL;
}
