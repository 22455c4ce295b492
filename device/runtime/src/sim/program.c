/* Command streams: packets, decoding, order of execution (hw/cv18xx.md sections 5 and 6). */

#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define HEADER_BYTES 8

typedef struct {
  uint32_t at; /* of its packet */
  uint16_t id, wait;
  uint8_t ordered; /* takes part in the waiting */
  uint8_t engine;
} sync_info;

static int decode_packet(const chip_info *chip, const uint8_t *body, command *c, sync_info *s,
                         demand *need, const err_ctx *e) {
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
    s->id = (uint16_t)f.cmd_id_tpu;
    s->wait = (uint16_t)f.cmd_id_gdma;
    s->ordered = (uint8_t)f.cmd_id_en;
    return decode_tiu(chip, &f, c, need, e);
  }
  cv_tdma f;
  cv_tdma_unpack(&f, words);
  s->id = (uint16_t)f.cmd_id;
  s->wait = (uint16_t)f.wait_id_tpu;
  s->ordered = (uint8_t)f.bar_en;
  return decode_tdma(chip, &f, c, need, e);
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
static int order_commands(const sync_info *sync, uint32_t count, uint32_t *order, err_ctx *e) {
  uint32_t next[2] = {0, 0}, done[2] = {0, 0}, last[2] = {0, 0}, ran = 0;
  while (ran < count) {
    int moved = 0;
    for (int q = 0; q < 2 && !moved; q++) { /* queue 0: TIU, 1: TDMA */
      while (next[q] < count && sync[next[q]].engine != (q == 0 ? 0 : 2)) {
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

/* Decode and check every packet; sync: what to know for their order. */
static int check_packets(const chip_info *chip, const uint8_t *stream, size_t size, tpu_program *p,
                         sync_info *sync, demand *need, err_ctx *e) {
  uint32_t engine, length, i = 0;
  command c;
  for (size_t at = 0; at < size; at += HEADER_BYTES + length) {
    (void)read_packet(chip, stream, size, at, &engine, &length, e);
    if (engine == 1) {
      continue;
    }
    e->engine = engine == 0 ? "TIU" : "TDMA";
    e->index = i;
    c.engine = (uint8_t)engine;
    sync[i].at = (uint32_t)at;
    sync[i].engine = (uint8_t)engine;
    const uint8_t *body = stream + at + HEADER_BYTES;
    const int rc = decode_packet(chip, body, &c, &sync[i], need, e);
    if (rc != TPU_SIM_OK) {
      return rc;
    }
    if (need->work > MAX_STREAM_WORK) {
      return sim_fail(e, TPU_SIM_UNSUPPORTED, "the stream needs more than %llu operations",
                      (unsigned long long)MAX_STREAM_WORK);
    }
    if (engine == 2) {
      if (c.op != OP_FILL) {
        note_region(p, &c.u.d.src, i, 0);
      }
      note_region(p, &c.u.d.dst, i, 1);
    }
    p->snapshots |= engine == 0 && c.u.t.snapshot;
    i++;
  }
  return TPU_SIM_OK;
}

/* The packets in order of execution, with the command's position in place of the length. */
static void copy_packets(tpu_program *p, const uint8_t *stream, const sync_info *sync,
                         const uint32_t *order) {
  uint8_t *to = p->packets;
  for (uint32_t i = 0; i < p->count; i++) {
    const sync_info *s = &sync[order[i]];
    const uint32_t length = s->engine == 0 ? CV_TIU_BYTES : CV_TDMA_BYTES;
    memcpy(to, stream + s->at, HEADER_BYTES + length);
    memcpy(to + 4, &order[i], 4);
    to += HEADER_BYTES + length;
  }
}

const uint8_t *program_next(const tpu_program *p, const uint8_t *packet, command *out,
                            const err_ctx *e) {
  sync_info sync;
  demand need = {0};
  out->engine = packet[2] & 15;
  memcpy(&out->index, packet + 4, 4);
  (void)decode_packet(p->chip, packet + HEADER_BYTES, out, &sync, &need, e); /* was checked */
  out->work = need.work;
  return packet + HEADER_BYTES + (out->engine == 0 ? CV_TIU_BYTES : CV_TDMA_BYTES);
}

/* Scratch memory: 1/SCRATCH_SHARE of local memory, stream and what the commands touch of DDR
 * (weights, neuron memory), so that the whole stays small beside a small model and fast in a large
 * one; within what the commands can use. */
static size_t choose_scratch(const tpu_program *p, size_t stream, const demand *need) {
  uint64_t memory = (uint64_t)p->chip->lanes * LANE_BYTES + stream;
  for (uint32_t k = 0; k < 8; k++) {
    const uint64_t r = p->region[k].read_end, w = p->region[k].write_end;
    memory += r > w ? r : w; /* at most 2^41 */
  }
  uint64_t area = memory / SCRATCH_SHARE;
  area = area < SCRATCH_LEAST ? SCRATCH_LEAST : area < SCRATCH_MOST ? area : SCRATCH_MOST;
  area = area < need->scratch_most ? area : need->scratch_most;
  return area > need->scratch_least ? (size_t)area : need->scratch_least;
}

static int build(const chip_info *chip, const uint8_t *stream, size_t size, tpu_program *p,
                 sync_info **sync, uint32_t **order, err_ctx *e) {
  uint32_t engine, length;
  size_t bytes = 0;
  if (size > UINT32_MAX) {
    return sim_fail(e, TPU_SIM_UNSUPPORTED, "a stream of %zu bytes", size);
  }
  for (size_t at = 0; at < size; at += HEADER_BYTES + length) {
    const int rc = read_packet(chip, stream, size, at, &engine, &length, e);
    if (rc != TPU_SIM_OK) {
      return rc;
    }
    p->count += engine != 1;
    bytes += engine != 1 ? HEADER_BYTES + length : 0;
  }
  *sync = malloc((p->count + 1) * sizeof **sync);
  *order = malloc((p->count + 1) * sizeof **order);
  if (!*sync || !*order) {
    return sim_fail(e, TPU_SIM_NOMEM, "no memory for %u commands", p->count);
  }
  demand need = {0};
  int rc = check_packets(chip, stream, size, p, *sync, &need, e);
  p->work = need.work;
  p->scratch = choose_scratch(p, bytes, &need);
  rc = rc == TPU_SIM_OK ? order_commands(*sync, p->count, *order, e) : rc;
  if (rc == TPU_SIM_OK) {
    p->packets = malloc(bytes + 1);
    if (!p->packets) {
      return sim_fail(e, TPU_SIM_NOMEM, "no memory for %zu bytes of commands", bytes);
    }
    copy_packets(p, stream, *sync, *order);
  }
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
    free(p->packets);
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
