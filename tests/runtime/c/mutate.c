/* Loads and runs damaged copies of a cvimodel through the public API. Any return code is fine; the
 * sanitizers it is built with decide about the rest.
 *
 *   mutate FILE cut [STEP]            every STEP-th truncation
 *   mutate FILE flip STEP             one flipped bit in every STEP-th byte, all 8 bits in turn
 *   mutate FILE bits COUNT SEED       COUNT copies with one flipped bit, half of them in the header
 *                                     and the body
 *   mutate FILE random COUNT SEED     COUNT copies with 1 to 8 random bytes changed, mostly in the
 *                                     header and the body
 * Prints: tries, successes, errors by code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cviruntime.h"

static unsigned tries, good;
static struct {
  int code;
  unsigned count;
} codes[16];

static void count_code(int code) {
  for (int i = 0; i < 16; i++) {
    if (codes[i].count == 0 || codes[i].code == code) {
      codes[i].code = code;
      codes[i].count++;
      return;
    }
  }
}

static int use(const unsigned char *data, size_t size) {
  CVI_MODEL_HANDLE model;
  int rc = CVI_NN_RegisterModelFromBuffer((const int8_t *)data, (uint32_t)size, &model);
  if (rc) {
    return rc;
  }
  CVI_TENSOR *in, *out;
  int32_t nin, nout;
  rc = CVI_NN_GetInputOutputTensors(model, &in, &nin, &out, &nout);
  if (rc == 0) {
    for (int32_t i = 0; i < nin; i++) {
      memset(in[i].sys_mem, i + 1, in[i].mem_size);
    }
    rc = CVI_NN_Forward(model, in, nin, out, nout);
    volatile unsigned sum = 0;
    for (int32_t i = 0; i < nout; i++) {
      for (size_t j = 0; j < out[i].mem_size; j++) {
        sum += out[i].sys_mem[j];
      }
      sum += (unsigned)strlen(out[i].name);
    }
  }
  int cleanup = CVI_NN_CleanupModel(model);
  return rc ? rc : cleanup;
}

static void try_one(const unsigned char *data, size_t size) {
  unsigned char *exact = malloc(size ? size : 1); /* so that reads behind it are noticed */
  memcpy(exact, data, size);
  int rc = use(exact, size);
  free(exact);
  tries++;
  good += rc == 0;
  if (rc) {
    count_code(rc);
  }
}

static unsigned long long state;

static unsigned next_random(unsigned below) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return (unsigned)((state >> 33) % below);
}

/* First byte behind the body. */
static unsigned body_end(const unsigned char *data) {
  unsigned end = 48;
  for (int i = 0; i < 4; i++) {
    end += (unsigned)data[8 + i] << (8 * i);
  }
  return end;
}

static void random_bits(unsigned char *data, size_t size, unsigned count) {
  unsigned body = body_end(data);
  for (unsigned i = 0; i < count; i++) {
    unsigned at = next_random(i % 2 && body < size ? body : (unsigned)size);
    unsigned char bit = (unsigned char)(1u << next_random(8));
    data[at] ^= bit;
    try_one(data, size);
    data[at] ^= bit;
  }
}

static void random_copies(unsigned char *data, size_t size, unsigned count) {
  unsigned body = body_end(data);
  unsigned char *copy = malloc(size);
  for (unsigned i = 0; i < count; i++) {
    memcpy(copy, data, size);
    unsigned changes = 1 + next_random(8);
    for (unsigned c = 0; c < changes; c++) {
      unsigned range = next_random(4) || body >= size ? body : (unsigned)size;
      unsigned at = next_random(range < size ? range : (unsigned)size);
      switch (next_random(3)) {
      case 0:
        copy[at] ^= (unsigned char)(1u << next_random(8));
        break;
      case 1:
        copy[at] = (unsigned char)next_random(256);
        break;
      default:
        copy[at] = next_random(2) ? 0xFF : 0;
        break;
      }
    }
    try_one(copy, size);
  }
  free(copy);
}

int main(int argc, char **argv) {
  if (argc < 4) {
    return 2;
  }
  CVI_NN_Global_SetLogLevel(0);
  FILE *file = fopen(argv[1], "rb");
  if (!file) {
    return 2;
  }
  fseek(file, 0, SEEK_END);
  size_t size = (size_t)ftell(file);
  rewind(file);
  unsigned char *data = malloc(size);
  if (fread(data, 1, size, file) != size) {
    return 2;
  }
  fclose(file);
  size_t step = (size_t)atol(argv[3]);
  if (strcmp(argv[2], "cut") == 0) {
    for (size_t n = 0; n < size; n += step) {
      try_one(data, n);
    }
  } else if (strcmp(argv[2], "flip") == 0) {
    for (size_t at = 0, bit = 0; at < size; at += step, bit = (bit + 1) % 8) {
      data[at] ^= (unsigned char)(1u << bit);
      try_one(data, size);
      data[at] ^= (unsigned char)(1u << bit);
    }
  } else {
    state = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;
    (strcmp(argv[2], "bits") == 0 ? random_bits : random_copies)(data, size, (unsigned)step);
  }
  free(data);
  printf("tries %u good %u", tries, good);
  for (int i = 0; i < 16 && codes[i].count; i++) {
    printf(" %d:%u", codes[i].code, codes[i].count);
  }
  printf("\n");
  return 0;
}
