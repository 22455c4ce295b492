/* Command streams: packets, decoding, order of execution (hw/cv18xx.md sections 5 and 6). */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define HEADER_BYTES 8

const chip_info *chip_find(const char *name) {
  static const chip_info chips[] = {{"cv183x", 32, 0xA5, 0},
                                    {"cv182x", 8, 0xA6, 1},
                                    {"cv181x", 8, 0xA7, 1},
                                    {"cv180x", 2, 0xA8, 1}};
  for (size_t i = 0; name && i < sizeof chips / sizeof *chips; i++) {
    if (strcmp(name, chips[i].name) == 0) {
      return &chips[i];
    }
  }
  return NULL;
}

int sim_fail(const err_ctx *e, int code, const char *fmt, ...) {
  if (e && e->buf && e->len) {
    int at = 0;
    if (e->engine) {
      at = snprintf(e->buf, e->len, "command %u (%s): ", e->index, e->engine);
    }
    if (at >= 0 && (size_t)at < e->len) {
      va_list args;
      va_start(args, fmt);
      vsnprintf(e->buf + at, e->len - (size_t)at, fmt, args);
      va_end(args);
    }
  }
  return code;
}

typedef struct {
  uint16_t id, wait;
  uint8_t ordered; /* takes part in the waiting */
} sync_info;

static int decode_packet(const chip_info *chip, const uint8_t *body, command *c, sync_info *s,
                         tpu_program *p, uint64_t *work, const err_ctx *e) {
  uint32_t words[CV_TIU_WORDS];
  const uint32_t count = c->engine == 0 ? CV_TIU_WORDS : CV_TDMA_WORDS;
  for (uint32_t i = 0; i < count; i++) {
    words[i] = load32(body + 4 * i);
  }
  if (c->engine == 0) {
    cv_tiu f;
    if (chip->gen_b) {
      cv_tiu_unpack_b(&f, words);
    } else {
      cv_tiu_unpack_a(&f, words);
    }
    *s = (sync_info){(uint16_t)f.cmd_id_tpu, (uint16_t)f.cmd_id_gdma, (uint8_t)f.cmd_id_en};
    return decode_tiu(chip, &f, c, &p->scratch, work, e);
  }
  cv_tdma f;
  cv_tdma_unpack(&f, words);
  *s = (sync_info){(uint16_t)f.cmd_id, (uint16_t)f.wait_id_tpu, (uint8_t)f.bar_en};
  return decode_tdma(chip, &f, c, work, e);
}

/* Header at `at`: engine and body length, or an error. */
static int read_packet(const chip_info *chip, const uint8_t *stream, size_t size, size_t at,
                       uint32_t *engine, uint32_t *length, const err_ctx *e) {
  const uint8_t *h = stream + at;
  if (size - at < HEADER_BYTES) {
    return sim_fail(e, TPU_SIM_BAD_STREAM, "%zu stray bytes at the end of the stream", size - at);
  }
  if (h[0] != chip->magic) {
    return sim_fail(e, TPU_SIM_BAD_STREAM, "packet at byte %zu has magic 0x%02x, %s needs 0x%02x",
                    at, h[0], chip->name, chip->magic);
  }
  *engine = h[2] & 15;
  *length = h[1] ? h[1] : load32(h + 4);
  const uint32_t wanted = *engine == 0 ? CV_TIU_BYTES : *engine == 2 ? CV_TDMA_BYTES : *length;
  if (*engine > 2 || *length != wanted) {
    return sim_fail(e, TPU_SIM_BAD_STREAM, "packet at byte %zu: engine %u with %u bytes", at,
                    *engine, *length);
  }
  if (*length > size - at - HEADER_BYTES) {
    return sim_fail(e, TPU_SIM_BAD_STREAM,
                    "packet at byte %zu is cut off: %u bytes announced, "
                    "%zu left",
                    at, *length, size - at - HEADER_BYTES);
  }
  return TPU_SIM_OK;
}

/* Order of execution: TIU commands first as far as their waits allow, then one TDMA command.
 * order[i] = index of the i-th command to run. */
static int order_commands(const command *cmds, const sync_info *sync, uint32_t count,
                          uint32_t *order, err_ctx *e) {
  uint32_t next[2] = {0, 0}, done[2] = {0, 0}, last[2] = {0, 0}, ran = 0;
  while (ran < count) {
    int moved = 0;
    for (int q = 0; q < 2 && !moved; q++) { /* queue 0: TIU, 1: TDMA */
      while (next[q] < count && cmds[next[q]].engine != (q == 0 ? 0 : 2)) {
        next[q]++;
      }
      if (next[q] == count) {
        continue;
      }
      const uint32_t i = next[q];
      if (sync[i].ordered && sync[i].wait > done[1 - q]) {
        continue;
      }
      e->engine = q == 0 ? "TIU" : "TDMA";
      e->index = i;
      if (sync[i].ordered && sync[i].id <= last[q]) {
        return sim_fail(e, TPU_SIM_BAD_STREAM,
                        "id %u follows id %u of the same engine, "
                        "ids must increase",
                        sync[i].id, last[q]);
      }
      last[q] = sync[i].ordered ? sync[i].id : last[q];
      done[q] = sync[i].id > done[q] ? sync[i].id : done[q];
      order[ran++] = i;
      next[q]++;
      moved = 1;
    }
    if (!moved) {
      const int q = next[0] < count ? 0 : 1;
      e->engine = q == 0 ? "TIU" : "TDMA";
      e->index = next[q];
      return sim_fail(e, TPU_SIM_DEADLOCK, "waits for id %u of the %s, which has finished %u",
                      sync[next[q]].wait, q == 0 ? "TDMA" : "TIU", done[1 - q]);
    }
  }
  return TPU_SIM_OK;
}

static void note_region(tpu_program *p, const side *s, uint32_t index, int write) {
  if (s->local) {
    return;
  }
  const uint64_t end = side_end(s);
  if (write && end > p->region[s->region].write_end) {
    p->region[s->region].write_end = end;
    p->region[s->region].write_index = index;
  } else if (!write && end > p->region[s->region].read_end) {
    p->region[s->region].read_end = end;
    p->region[s->region].read_index = index;
  }
}

/* cmds[i] = cmds[order[i]] for all i, along the cycles; order becomes the identity. */
static void permute(command *cmds, uint32_t *order, uint32_t count) {
  for (uint32_t start = 0; start < count; start++) {
    if (order[start] == start) {
      continue;
    }
    const command first = cmds[start];
    uint32_t i = start;
    while (order[i] != start) {
      const uint32_t from = order[i];
      cmds[i] = cmds[from];
      order[i] = i;
      i = from;
    }
    cmds[i] = first;
    order[i] = i;
  }
}

static int build(const chip_info *chip, const uint8_t *stream, size_t size, tpu_program *p,
                 sync_info **sync, uint32_t **order, err_ctx *e) {
  uint32_t count = 0, engine, length;
  for (size_t at = 0; at < size; at += HEADER_BYTES + length) {
    const int rc = read_packet(chip, stream, size, at, &engine, &length, e);
    if (rc != TPU_SIM_OK) {
      return rc;
    }
    count += engine != 1;
  }
  command *raw = p->cmds = malloc((count + 1) * sizeof *p->cmds);
  *sync = malloc((count + 1) * sizeof **sync);
  *order = malloc((count + 1) * sizeof **order);
  if (!raw || !*sync || !*order) {
    return sim_fail(e, TPU_SIM_NOMEM, "no memory for %u commands", count);
  }
  uint64_t work = 0;
  uint32_t i = 0;
  int rc = TPU_SIM_OK;
  for (size_t at = 0; at < size && rc == TPU_SIM_OK; at += HEADER_BYTES + length) {
    (void)read_packet(chip, stream, size, at, &engine, &length, e);
    if (engine == 1) {
      continue;
    }
    e->engine = engine == 0 ? "TIU" : "TDMA";
    e->index = i;
    raw[i].engine = (uint8_t)engine;
    raw[i].index = i;
    rc = decode_packet(chip, stream + at + HEADER_BYTES, &raw[i], &(*sync)[i], p, &work, e);
    if (rc == TPU_SIM_OK && work > MAX_STREAM_WORK) {
      rc = sim_fail(e, TPU_SIM_UNSUPPORTED, "the stream needs more than %llu operations",
                    (unsigned long long)MAX_STREAM_WORK);
    }
    if (rc == TPU_SIM_OK && engine == 2) {
      if (raw[i].op != OP_FILL) {
        note_region(p, &raw[i].u.d.src, i, 0);
      }
      note_region(p, &raw[i].u.d.dst, i, 1);
    }
    p->snapshots |= engine == 0 && raw[i].u.t.snapshot;
    i++;
  }
  rc = rc == TPU_SIM_OK ? order_commands(raw, *sync, count, *order, e) : rc;
  if (rc == TPU_SIM_OK) {
    permute(raw, *order, count);
  }
  p->count = count;
  p->work = work;
  return rc;
}

int tpu_program_create(const char *chip, const uint8_t *stream, size_t size, tpu_program **out,
                       char *err, size_t errlen) {
  err_ctx e = {.buf = err, .len = errlen};
  *out = NULL;
  const chip_info *info = chip_find(chip);
  if (!info) {
    return sim_fail(&e, TPU_SIM_UNSUPPORTED, "unknown chip %s", chip ? chip : "(null)");
  }
  tpu_program *p = calloc(1, sizeof *p);
  if (!p) {
    return sim_fail(&e, TPU_SIM_NOMEM, "no memory");
  }
  p->chip = info;
  sync_info *sync = NULL;
  uint32_t *order = NULL;
  const int rc = build(info, stream, size, p, &sync, &order, &e);
  free(sync);
  free(order);
  if (rc != TPU_SIM_OK) {
    tpu_program_destroy(p);
    return rc;
  }
  *out = p;
  return TPU_SIM_OK;
}

void tpu_program_destroy(tpu_program *p) {
  if (p) {
    free(p->cmds);
    free(p);
  }
}

int tpu_program_check(const tpu_program *p, const uint64_t region_size[8], char *err,
                      size_t errlen) {
  for (uint32_t k = 0; k < 8; k++) {
    const uint64_t r = p->region[k].read_end, w = p->region[k].write_end;
    const uint64_t end = r > w ? r : w;
    if (end > region_size[k]) {
      const err_ctx e = {.buf = err,
                         .len = errlen,
                         .engine = "TDMA",
                         .index = r > w ? p->region[k].read_index : p->region[k].write_index};
      return sim_fail(&e, TPU_SIM_RANGE, "access up to byte %llu of region %u, which has %llu",
                      (unsigned long long)end, k, (unsigned long long)region_size[k]);
    }
  }
  return TPU_SIM_OK;
}
