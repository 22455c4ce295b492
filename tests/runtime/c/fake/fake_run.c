/* The worker of the kernel and the TPU behind it. The inverse of the conversion is written here
 * anew, from section 5 of the document, not taken from the runtime. */
#include "fake_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

enum { TIU = 112, TDMA = 64, HEAD = 128, DESC = 224 };

static uint32_t word(const uint8_t *p) {
  uint32_t w;
  memcpy(&w, p, 4);
  return w;
}

/* Eight base registers: memory from there to the end of its buffer. */
static void set_regions(const fake_buffer *b, tpu_region regions[8]) {
  for (int k = 0; k < 8; k++) {
    uint32_t low = word(b->cpu + 32 + 8 * k);
    uint64_t physical = fake_ddr() + low;
    fake_buffer *target = low ? fake_find(physical) : NULL;
    if (low && !target) {
      fake_violation("base register %d is 0x%x: no buffer", k, low);
    }
    regions[k] = (tpu_region){0};
    if (target) {
      uint64_t offset = physical - target->physical;
      regions[k] = (tpu_region){target->device + offset, target->size - offset, 1};
    }
  }
}

static bool check_bits(const char *what, uint32_t index, bool last, bool end, bool interrupt) {
  if (end != last || interrupt != last) {
    fake_violation("%s command %u: end %d, interrupt %d, last %d", what, index, end, interrupt,
                   last);
    return false;
  }
  return true;
}

/* A TIU descriptor back to the words of a command stream. */
static bool read_tiu(bool cv183x, const uint8_t *stored, uint8_t *out, uint32_t index, bool last) {
  memcpy(out, stored + 96, 16);
  memcpy(out + 16, stored + 16, 80);
  memcpy(out + 96, stored, 16);
  for (int beat = 0; beat < 7; beat++) {
    if (out[16 * beat + 15] >> 4 != beat) {
      fake_violation("TIU command %u: beat %d is numbered %d", index, beat,
                     out[16 * beat + 15] >> 4);
      return false;
    }
    out[16 * beat + 15] &= 15;
  }
  uint8_t *flags = out + (cv183x ? 4 : 0);
  bool good = check_bits("TIU", index, last, out[0] & 2, *flags & 0x10);
  out[0] &= (uint8_t)~2;
  *flags &= (uint8_t)~0x10;
  return good;
}

static bool read_tdma(const uint8_t *stored, uint8_t *out, uint32_t index, bool last) {
  memcpy(out, stored, TDMA);
  if (!(out[0] & 0x10)) {
    fake_violation("TDMA command %u: no barrier", index);
    return false;
  }
  bool good = check_bits("TDMA", index, last, out[0] & 4, out[0] & 8);
  out[0] &= (uint8_t)~12;
  return good;
}

/* Offset inside the buffer of a relocated address; false if it is not the one noted before. */
static bool place_of(const fake_buffer *b, uint64_t address, uint32_t noted, uint64_t bytes,
                     uint64_t *offset) {
  *offset = address - b->physical;
  if (address < b->physical || bytes > b->size || *offset > b->size - bytes || *offset != noted) {
    fake_violation("commands at 0x%llx, noted at %u of the buffer at 0x%llx",
                   (unsigned long long)address, noted, (unsigned long long)b->physical);
    return false;
  }
  return true;
}

/* One segment as a command stream: all TIU commands, all TDMA commands; their ids order them. */
static uint8_t *segment_stream(const char *chip, const fake_buffer *b, const uint8_t *desc,
                               size_t *size) {
  bool cv183x = strcmp(chip, "cv183x") == 0;
  uint32_t tius = word(desc + 4) & 0xFFFF, tdmas = word(desc + 8) & 0xFFFF;
  uint64_t tiu_at = 0, tdma_at = 0;
  if ((tius && !place_of(b, (uint64_t)word(desc + 12) << 8, word(desc + 20),
                         (uint64_t)tius * TIU + 128, &tiu_at)) ||
      (tdmas && !place_of(b, (uint64_t)word(desc + 16) << 6, word(desc + 24),
                          (uint64_t)tdmas * TDMA, &tdma_at))) {
    return NULL;
  }
  static const uint8_t zero[128];
  if (tius && memcmp(b->device + tiu_at + (uint64_t)tius * TIU, zero, 128) != 0) {
    fake_violation("no zeros behind the TIU commands");
    return NULL;
  }
  *size = (size_t)tius * (8 + TIU) + (size_t)tdmas * (8 + TDMA);
  uint8_t *stream = calloc(*size + 1, 1), *at = stream;
  const uint8_t magic = (uint8_t)(chip[4] == '3'   ? 0xA5
                                  : chip[4] == '2' ? 0xA6
                                  : chip[4] == '1' ? 0xA7
                                                   : 0xA8);
  bool good = stream != NULL;
  for (uint32_t i = 0; i < tius && good; i++, at += 8 + TIU) {
    memcpy(at, (uint8_t[3]){magic, TIU, 0}, 3);
    good = read_tiu(cv183x, b->device + tiu_at + (uint64_t)i * TIU, at + 8, i, i + 1 == tius);
  }
  for (uint32_t i = 0; i < tdmas && good; i++, at += 8 + TDMA) {
    memcpy(at, (uint8_t[3]){magic, TDMA, 2}, 3);
    good = read_tdma(b->device + tdma_at + (uint64_t)i * TDMA, at + 8, i, i + 1 == tdmas);
  }
  if (!good) {
    free(stream);
    return NULL;
  }
  return stream;
}

/* Where the next performance record goes; `left` 0: not wanted. */
typedef struct {
  uint8_t *at;
  uint64_t left;
  uint32_t ticks;
} pmu_writer;

enum { RECORD = 16, TICKS = 10, COUNTED = 4 };

/* A made-up record: every command takes 10 ticks, one after the other, and moves 64 bytes. */
static void put_record(pmu_writer *w, uint32_t type, uint32_t id, bool later) {
  if (w->left >= RECORD) {
    uint64_t bits = type | (uint64_t)id << 4 | (uint64_t)COUNTED << 42;
    w->ticks += later ? TICKS : 0;
    uint32_t times[2] = {w->ticks + TICKS, w->ticks};
    memcpy(w->at, &bits, 8);
    memcpy(w->at + 8, times, 8);
    w->at += RECORD;
    w->left -= RECORD;
  }
}

/* Records of a segment: the TIU commands, then those of the TDMA; a copy inside DDR has two. */
static void put_records(pmu_writer *w, bool cv183x, const uint8_t *stream, size_t size) {
  for (size_t pos = 0; pos < size; pos += 8 + stream[pos + 1]) {
    const uint8_t *d = stream + pos + 8;
    if (stream[pos + 2] == 0) {
      put_record(w, 4, cv183x ? word(d) >> 3 & 0xFFFF : word(d + 4) & 0xFFFF, true);
      continue;
    }
    static const uint8_t types[] = {1, 2, 1, 3}; /* by direction */
    unsigned direction = d[0] >> 6;
    put_record(w, types[direction], word(d) >> 16, true);
    if (direction == 2) {
      put_record(w, 2, word(d) >> 16, false);
    }
  }
}

/* The area named in the header: inside the buffer, aligned, cleared. */
static pmu_writer open_records(fake_buffer *b) {
  uint64_t size = word(b->cpu + 24), offset = word(b->cpu + 28);
  pmu_writer w = {.left = size};
  if (offset < word(b->cpu + 4) || offset % RECORD || size > b->size || offset > b->size - size) {
    fake_violation("PMU area of %u bytes at %u", (unsigned)size, (unsigned)offset);
    w.left = 0;
    return w;
  }
  w.at = b->device + offset;
  for (uint64_t i = 0; i < size; i++) {
    if (w.at[i]) {
      fake_violation("PMU area not cleared at byte %u", (unsigned)i);
      break;
    }
  }
  return w;
}

static int run_segment(const char *chip, tpu_sim *sim, const fake_buffer *b, const uint8_t *desc,
                       const tpu_region regions[8], pmu_writer *pmu) {
  size_t size = 0;
  uint8_t *stream = segment_stream(chip, b, desc, &size);
  if (!stream) {
    return -ETIMEDOUT;
  }
  char text[256] = "";
  tpu_program *program = NULL;
  int code = tpu_program_create(chip, stream, size, &program, text, sizeof(text));
  code = code ? code : tpu_sim_run(sim, program, regions, text, sizeof(text));
  tpu_program_destroy(program);
  if (!code) {
    put_records(pmu, strcmp(chip, "cv183x") == 0, stream, size);
  }
  free(stream);
  if (code) {
    fake_violation("segment: %s", text);
  }
  return code ? -ETIMEDOUT : 0;
}

int fake_run(const char *chip, fake_buffer *b, unsigned *segments) {
  static tpu_sim *sim;
  static char sim_chip[8];
  uint32_t count = word(b->cpu + 8);
  if (b->size < HEAD || (word(b->cpu) & 0xFFFF) != 0xB5B5) {
    return -1;
  }
  if (word(b->cpu + 4) > b->size || count > (b->size - HEAD) / DESC) {
    fake_violation("header: size %u, %u segments", word(b->cpu + 4), count);
    return -ETIMEDOUT;
  }
  pmu_writer pmu = word(b->cpu + 24) ? open_records(b) : (pmu_writer){0};
  if (!sim || strcmp(sim_chip, chip) != 0) {
    tpu_sim_destroy(sim);
    sim = NULL;
    if (tpu_sim_create(chip, &sim)) {
      fake_violation("no simulator of %s", chip);
      return -ETIMEDOUT;
    }
    snprintf(sim_chip, sizeof(sim_chip), "%s", chip);
  }
  size_t local;
  uint8_t *memory = tpu_sim_lmem(sim, &local);
  memset(memory, 0x3B, local); /* nothing is kept from run to run */
  tpu_region regions[8];
  set_regions(b, regions);
  int ret = 0;
  for (uint32_t i = 0; i < count && !ret; i++, ++*segments) {
    ret = run_segment(chip, sim, b, b->cpu + HEAD + (uint64_t)DESC * i, regions, &pmu);
  }
  const uint32_t clock = 500000000;
  memcpy(b->cpu + 20, &clock, 4);
  return ret;
}
