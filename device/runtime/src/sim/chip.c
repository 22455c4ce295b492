#include "chip.h"

#include <stddef.h>
#include <string.h>

#include "cv18xx_fields.h"

#define X(name, lanes, magic, gen_b) {name, lanes, magic, gen_b},
static const chip_info chips[] = {CV_CHIPS(X)};
#undef X

enum { CHIPS = sizeof(chips) / sizeof(chips[0]) };

const chip_info *chip_find(const char *name) {
  for (int i = 0; name && i < CHIPS; i++) {
    if (strcmp(name, chips[i].name) == 0) {
      return &chips[i];
    }
  }
  return NULL;
}

const chip_info *chip_of_magic(uint8_t magic) {
  for (int i = 0; i < CHIPS; i++) {
    if (chips[i].magic == magic) {
      return &chips[i];
    }
  }
  return NULL;
}
