/* Command stream -> dma buffer and back. */
#include "stream.h"

#include <string.h>

#include "sim/chip.h"

enum { LAST_ID = 0xFFFF }; /* ends a segment */

typedef struct {
  uint8_t *tiu, *tdma; /* bodies in stream order, in the work copy */
  uint32_t tiu_count, tdma_count;
} segment;

static uint32_t get32(const uint8_t *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put32(uint8_t *p, uint64_t value) {
  for (int i = 0; i < 4; i++) {
    p[i] = (uint8_t)(value >> (8 * i));
  }
}

static uint32_t tiu_id(bool cv183x, const uint8_t *d) {
  return cv183x ? get32(d) >> 3 & 0xFFFF : get32(d + 4) & 0xFFFF;
}

/* Id of the TDMA command this TIU command waits for, 0: none. */
static uint32_t tiu_wait(bool cv183x, const uint8_t *d) {
  if (!(get32(d) & 4)) {
    return 0;
  }
  return cv183x ? (get32(d) >> 19 | get32(d + 4) << 13) & 0xFFFF : get32(d + 4) >> 16;
}

static uint32_t tdma_id(const uint8_t *d) { return get32(d) >> 16; }

static uint32_t tdma_wait(const uint8_t *d) { return get32(d) & 0x10 ? get32(d + 4) >> 16 : 0; }

size_t stream_segment(const char *chip, const uint8_t *stream, size_t size) {
  uint8_t magic = chip_find(chip)->magic;
  for (size_t pos = 0; size - pos >= 8;) {
    const uint8_t *p = stream + pos;
    unsigned engine = p[2] & 15;
    uint32_t length = p[1] ? p[1] : get32(p + 4);
    if (p[0] != magic || length < 8 || length > size - pos - 8) {
      break;
    }
    pos += 8 + (size_t)length;
    if ((engine == 0 && tiu_id(magic == 0xA5, p + 8) == LAST_ID) ||
        (engine == 2 && tdma_id(p + 8) == LAST_ID)) {
      return pos;
    }
  }
  return size;
}

/* One packet at *pos. Returns its body and moves *pos behind it; NULL after a fault. */
static const uint8_t *next_packet(uint8_t magic, const uint8_t *stream, size_t size, size_t *pos,
                                  bool *is_tdma) {
  const uint8_t *p = stream + *pos;
  if (size - *pos < 8 || p[0] != magic) {
    rt_fail(CVI_RC_DATA_ERR, "command stream: no packet of this chip (0x%02x) at byte %zu", magic,
            *pos);
    return NULL;
  }
  unsigned engine = p[2] & 15;
  uint32_t length = p[1] ? p[1] : get32(p + 4);
  if ((engine != 0 || length != TIU_BYTES) && (engine != 2 || length != TDMA_BYTES)) {
    rt_fail(CVI_RC_DATA_ERR, "command stream: packet for engine %u with %u bytes at byte %zu",
            engine, length, *pos);
    return NULL;
  }
  if (size - *pos - 8 < length) {
    rt_fail(CVI_RC_DATA_ERR, "command stream: cut inside the packet at byte %zu", *pos);
    return NULL;
  }
  *is_tdma = engine == 2;
  *pos += 8 + length;
  return p + 8;
}

/* Room for the numbers of the beats? Compilers leave it empty or have written them already. */
static bool beats_numberable(const uint8_t *d) {
  for (int beat = 0; beat < 7; beat++) {
    int there = d[16 * beat + 15] >> 4;
    if (there && there != beat) {
      return false;
    }
  }
  return true;
}

/* The changes of section 5.3 step 2 and 3; `last` of the segment. */
static void convert_tiu(bool cv183x, uint8_t *d, bool last) {
  if (last) {
    d[0] |= 2;
    d[cv183x ? 4 : 0] |= 0x10;
  }
  for (int beat = 0; beat < 7; beat++) {
    d[16 * beat + 15] |= (uint8_t)(beat << 4);
  }
  uint8_t first[16];
  memcpy(first, d, 16);
  memcpy(d, d + 96, 16);
  memcpy(d + 96, first, 16);
}

static bool restore_tiu(bool cv183x, uint8_t *d, bool last) {
  uint8_t sixth[16];
  memcpy(sixth, d, 16);
  memcpy(d, d + 96, 16);
  memcpy(d + 96, sixth, 16);
  for (int beat = 0; beat < 7; beat++) {
    if (d[16 * beat + 15] >> 4 != beat) {
      return false;
    }
    if (cv183x) { /* the compilers' streams for the others carry the numbers, too */
      d[16 * beat + 15] &= 15;
    }
  }
  if (last) {
    d[0] &= (uint8_t)~2;
    d[cv183x ? 4 : 0] &= (uint8_t)~0x10;
  }
  return true;
}

/* Counts the segments and commands of a stream; false after a fault. */
static bool measure(uint8_t magic, const uint8_t *stream, size_t size, uint32_t *segments,
                    uint32_t *tdmas, uint64_t *tiu_area) {
  bool cv183x = magic == 0xA5;
  uint32_t tius_here = 0;
  bool open = false;
  *segments = *tdmas = 0;
  *tiu_area = 0;
  for (size_t pos = 0; pos < size;) {
    bool is_tdma;
    const uint8_t *d = next_packet(magic, stream, size, &pos, &is_tdma);
    if (!d) {
      return false;
    }
    if (!is_tdma && !beats_numberable(d)) {
      rt_fail(CVI_RC_DATA_ERR, "command stream: reserved bits set before byte %zu", pos);
      return false;
    }
    *segments += !open;
    open = true;
    *tdmas += is_tdma;
    tius_here += !is_tdma;
    if ((is_tdma ? tdma_id(d) : tiu_id(cv183x, d)) == LAST_ID || pos == size) {
      *tiu_area = tius_here ? rt_align(*tiu_area + tius_here * TIU_BYTES + 128, 256) : *tiu_area;
      tius_here = 0;
      open = false;
    }
  }
  return true;
}

typedef struct {
  uint8_t *buf;
  bool cv183x;
  uint64_t tiu_at, tdma_at; /* where the next descriptor goes */
  uint64_t tiu_start, tdma_start;
  uint32_t tius, tdmas; /* of the segment */
  uint32_t index;       /* of the segment */
} dmabuf_writer;

static void close_segment(dmabuf_writer *w) {
  uint8_t *desc = w->buf + DMABUF_HEADER + (size_t)DMABUF_CPU_DESC * w->index++;
  if (w->tius) {
    convert_tiu(w->cv183x, w->buf + w->tiu_at - TIU_BYTES, true);
  }
  if (w->tdmas) {
    w->buf[w->tdma_at - TDMA_BYTES] |= 4 | 8;
  }
  put32(desc, 2);
  put32(desc + 4, w->tius);
  put32(desc + 8, w->tdmas);
  put32(desc + 12, w->tius ? w->tiu_start : 0);
  put32(desc + 16, w->tdmas ? w->tdma_start : 0);
  memcpy(desc + 28, "layer_end", 9);
  if (w->tius) {
    w->tiu_at = rt_align(w->tiu_at + 128, 256);
  }
  w->tiu_start = w->tiu_at;
  w->tdma_start = w->tdma_at;
  w->tius = w->tdmas = 0;
}

static void add_command(dmabuf_writer *w, const uint8_t *body, bool is_tdma) {
  if (is_tdma) {
    memcpy(w->buf + w->tdma_at, body, TDMA_BYTES);
    w->buf[w->tdma_at] |= 0x10;
    w->tdma_at += TDMA_BYTES;
    w->tdmas++;
    return;
  }
  if (w->tius) { /* the one before is not the last */
    convert_tiu(w->cv183x, w->buf + w->tiu_at - TIU_BYTES, false);
  }
  memcpy(w->buf + w->tiu_at, body, TIU_BYTES);
  w->tiu_at += TIU_BYTES;
  w->tius++;
}

CVI_RC stream_to_dmabuf(const char *chip, const uint8_t *stream, size_t size, uint8_t **out,
                        size_t *out_size) {
  uint8_t magic = chip_find(chip)->magic;
  uint32_t segments, tdmas;
  uint64_t tiu_area;
  if (!measure(magic, stream, size, &segments, &tdmas, &tiu_area)) {
    return CVI_RC_DATA_ERR;
  }
  uint64_t tiu_offset = rt_align(DMABUF_HEADER + (uint64_t)DMABUF_CPU_DESC * segments, 256);
  uint64_t tdma_offset = rt_align(tiu_offset + tiu_area, 64);
  uint64_t total = tdma_offset + (uint64_t)TDMA_BYTES * tdmas;
  if (total > INT32_MAX) {
    return rt_fail(CVI_RC_NOMEM, "dma buffer of %llu bytes", (unsigned long long)total);
  }
  uint8_t *buf = rt_zalloc((size_t)total, 1, "dma buffer");
  if (!buf) {
    return CVI_RC_NOMEM;
  }
  dmabuf_writer w = {.buf = buf,
                     .cv183x = magic == 0xA5,
                     .tiu_at = tiu_offset,
                     .tdma_at = tdma_offset,
                     .tiu_start = tiu_offset,
                     .tdma_start = tdma_offset};
  uint32_t tius = 0;
  for (size_t pos = 0; pos < size;) {
    bool is_tdma;
    const uint8_t *d = next_packet(magic, stream, size, &pos, &is_tdma);
    add_command(&w, d, is_tdma);
    tius += !is_tdma;
    if ((is_tdma ? tdma_id(d) : tiu_id(w.cv183x, d)) == LAST_ID || pos == size) {
      close_segment(&w);
    }
  }
  put32(buf, DMABUF_MAGIC | (w.cv183x ? 0x1835u : 0x1822u) << 16);
  put32(buf + 4, total);
  put32(buf + 8, segments);
  put32(buf + 12, tius);
  put32(buf + 16, tdmas);
  *out = buf;
  *out_size = (size_t)total;
  return CVI_RC_SUCCESS;
}

uint32_t dmabuf_commands(const uint8_t *dmabuf) { return get32(dmabuf + 12) + get32(dmabuf + 16); }

void dmabuf_relocate(uint8_t *dmabuf, uint64_t physical, uint32_t counters) {
  uint32_t segments = get32(dmabuf + 8);
  for (uint32_t i = 0; i < segments; i++) {
    uint8_t *desc = dmabuf + DMABUF_HEADER + (size_t)DMABUF_CPU_DESC * i;
    if (get32(desc + 4)) {
      memcpy(desc + 20, desc + 12, 4);
      put32(desc + 12, (physical + get32(desc + 12)) >> 8);
    }
    if (get32(desc + 8)) {
      memcpy(desc + 24, desc + 16, 4);
      put32(desc + 16, (physical + get32(desc + 16)) >> 6);
    }
  }
  put32(dmabuf + 24, counters);
  put32(dmabuf + 28, get32(dmabuf + 4));
}

static uint8_t *put_packet(uint8_t *at, uint8_t magic, const uint8_t *body, bool is_tdma) {
  uint8_t length = is_tdma ? TDMA_BYTES : TIU_BYTES;
  memcpy(at, (uint8_t[8]){magic, length, is_tdma ? 2 : 0}, 8);
  memcpy(at + 8, body, length);
  return at + 8 + length;
}

/* Write the commands of a segment so that every command comes behind the ones it waits for. */
static uint8_t *merge_segment(const segment *s, uint8_t magic, uint8_t *at) {
  bool cv183x = magic == 0xA5;
  uint32_t i = 0, j = 0, tiu_done = 0, tdma_done = 0;
  while (i < s->tiu_count || j < s->tdma_count) {
    const uint8_t *tiu = s->tiu + (size_t)i * TIU_BYTES;
    const uint8_t *tdma = s->tdma + (size_t)j * TDMA_BYTES;
    bool tdma_ready = j < s->tdma_count && tdma_wait(tdma) <= tiu_done &&
                      (tdma_id(tdma) != LAST_ID || i == s->tiu_count);
    bool tiu_ready = i < s->tiu_count && tiu_wait(cv183x, tiu) <= tdma_done &&
                     (tiu_id(cv183x, tiu) != LAST_ID || j == s->tdma_count);
    if (tdma_ready || (!tiu_ready && j < s->tdma_count)) { /* a deadlock is found by the decoder */
      tdma_done = tdma_id(tdma);
      at = put_packet(at, magic, tdma, true);
      j++;
    } else {
      tiu_done = tiu_id(cv183x, tiu);
      at = put_packet(at, magic, tiu, false);
      i++;
    }
  }
  return at;
}

/* Undo the conversion of one segment; work copies are in `s`. */
static bool restore_segment(bool cv183x, segment *s) {
  for (uint32_t i = 0; i < s->tiu_count; i++) {
    if (!restore_tiu(cv183x, s->tiu + (size_t)i * TIU_BYTES, i + 1 == s->tiu_count)) {
      return false;
    }
  }
  if (s->tdma_count) {
    s->tdma[(size_t)(s->tdma_count - 1) * TDMA_BYTES] &= (uint8_t)~(4 | 8);
  }
  return true;
}

static bool segment_at(const uint8_t *desc, uint8_t *copy, size_t size, segment *s) {
  uint64_t tiu = get32(desc + 12), tdma = get32(desc + 16);
  s->tiu_count = get32(desc + 4);
  s->tdma_count = get32(desc + 8);
  if (get32(desc) != 2 || (s->tiu_count && tiu < DMABUF_HEADER) ||
      (s->tdma_count && tdma < DMABUF_HEADER) || tiu + (uint64_t)s->tiu_count * TIU_BYTES > size ||
      tdma + (uint64_t)s->tdma_count * TDMA_BYTES > size) {
    return false;
  }
  s->tiu = copy + tiu;
  s->tdma = copy + tdma;
  return true;
}

CVI_RC dmabuf_to_stream(const char *chip, const uint8_t *dmabuf, size_t size, uint8_t **out,
                        size_t *out_size) {
  uint8_t magic = chip_find(chip)->magic;
  if (size < DMABUF_HEADER || (get32(dmabuf) & 0xFFFF) != DMABUF_MAGIC ||
      get32(dmabuf + 4) > size) {
    return rt_fail(CVI_RC_DATA_ERR, "dma buffer: wrong magic or size (%zu bytes)", size);
  }
  uint32_t segments = get32(dmabuf + 8);
  uint64_t tius = get32(dmabuf + 12), tdmas = get32(dmabuf + 16);
  if (segments > (size - DMABUF_HEADER) / DMABUF_CPU_DESC || tius > size / TIU_BYTES ||
      tdmas > size / TDMA_BYTES) {
    return rt_fail(CVI_RC_DATA_ERR,
                   "dma buffer: %u segments, %llu TIU, %llu TDMA commands in %zu bytes", segments,
                   (unsigned long long)tius, (unsigned long long)tdmas, size);
  }
  size_t total = (size_t)(tius * (TIU_BYTES + 8) + tdmas * (TDMA_BYTES + 8));
  uint8_t *copy = rt_zalloc(size, 1, "dma buffer");
  uint8_t *stream = copy ? rt_zalloc(total, 1, "command stream") : NULL;
  CVI_RC rc = stream ? CVI_RC_SUCCESS : CVI_RC_NOMEM;
  if (!rc) {
    memcpy(copy, dmabuf, size);
  }
  uint8_t *at = stream;
  for (uint32_t i = 0; i < segments && !rc; i++) {
    segment s;
    bool good = segment_at(dmabuf + DMABUF_HEADER + (size_t)DMABUF_CPU_DESC * i, copy, size, &s) &&
                s.tiu_count <= tius && s.tdma_count <= tdmas && restore_segment(magic == 0xA5, &s);
    if (!good) {
      rc = rt_fail(CVI_RC_DATA_ERR, "dma buffer: segment %u does not fit the buffer", i);
      break;
    }
    tius -= s.tiu_count;
    tdmas -= s.tdma_count;
    at = merge_segment(&s, magic, at);
  }
  rt_free(copy);
  if (rc) {
    rt_free(stream);
    return rc;
  }
  *out = stream;
  *out_size = (size_t)(at - stream);
  return CVI_RC_SUCCESS;
}
