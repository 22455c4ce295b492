/* Runs damaged copies of a command stream; build with sanitizers.
 *
 * usage: hostile CHIP STREAM REGION_BYTES ITERATIONS SEED
 * All regions are one heap block of exactly REGION_BYTES. Prints how many variants ran and were
 * refused. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../device/runtime/src/sim/sim.h"

static uint64_t state;

static uint32_t next(void) {
  state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
  return (uint32_t)(state >> 33);
}

static void damage(uint8_t *s, size_t size) {
  const uint32_t hits = 1 + next() % 4;
  for (uint32_t i = 0; i < hits; i++) {
    const size_t at = next() % size;
    switch (next() % 4) {
    case 0:
      s[at] ^= (uint8_t)(1u << next() % 8);
      break;
    case 1:
      s[at] = (uint8_t)next();
      break;
    case 2:
      s[at] = 0xFF;
      break;
    default:
      s[at] = 0;
      break;
    }
  }
}

int main(int argc, char **argv) {
  if (argc != 6) {
    return 2;
  }
  FILE *f = fopen(argv[2], "rb");
  if (!f) {
    return 2;
  }
  fseek(f, 0, SEEK_END);
  const size_t size = (size_t)ftell(f), region_size = (size_t)atol(argv[3]);
  rewind(f);
  uint8_t *original = malloc(size), *copy = malloc(size);
  if (!original || !copy || fread(original, 1, size, f) != size) {
    return 2;
  }
  fclose(f);
  state = (uint64_t)atol(argv[5]);
  tpu_sim *sim;
  if (tpu_sim_create(argv[1], &sim) != TPU_SIM_OK) {
    return 2;
  }
  tpu_region regions[8];
  uint8_t *memory = malloc(region_size);
  for (size_t i = 0; memory && i < region_size; i++) {
    memory[i] = (uint8_t)next();
  }
  for (int k = 0; k < 8; k++) {
    regions[k] = (tpu_region){memory, memory ? region_size : 0, 1};
  }
  long counts[8] = {0};
  for (long i = 0; i < atol(argv[4]); i++) {
    char err[256] = "";
    tpu_program *p;
    memcpy(copy, original, size);
    damage(copy, size);
    const size_t cut = next() % 16 == 0 ? next() % size : size;
    int rc = tpu_program_create(argv[1], copy, cut, &p, err, sizeof err);
    if (rc == TPU_SIM_OK) {
      rc = tpu_sim_run(sim, p, regions, err, sizeof err);
    }
    tpu_program_destroy(p);
    if ((rc != TPU_SIM_OK) != (err[0] != 0)) {
      fprintf(stderr, "code %d with text '%s'\n", rc, err);
      return 1;
    }
    counts[rc]++;
  }
  printf("ran %ld, refused %ld %ld %ld %ld %ld\n", counts[0], counts[1], counts[2], counts[3],
         counts[4], counts[5]);
  free(memory);
  tpu_sim_destroy(sim);
  free(original);
  free(copy);
  return 0;
}
