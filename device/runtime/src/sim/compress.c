/* Compressed transfers (hw/cv18xx-tdma.md section 6). Streams are untrusted: every read is bounded
 * by the region, a damaged stream gives damaged data or TPU_SIM_RANGE. */

#include <string.h>

#include "stream.h"
#include "unpack.h"

#define BLOCK 16
#define CHUNK_BLOCKS 64

typedef struct {
  uint32_t payload; /* bytes */
  uint8_t is_signed, bf16, bias0, bias1, guard;
} stream_header;

/* ---- symbols ---- */

static uint8_t int8_symbol(int v, const stream_header *h) {
  if (!h->is_signed || v == 0) {
    return (uint8_t)v;
  }
  const int neg = v < 0;
  int a = (neg ? -v : v) - (neg ? h->bias1 : h->bias0);
  a += a <= 0 ? 127 + neg : 0;
  return (uint8_t)(neg ? 2 * a - 1 : 2 * a);
}

static uint8_t int8_value(unsigned u, const stream_header *h) {
  if (!h->is_signed || u == 0) {
    return (uint8_t)u;
  }
  const int neg = u & 1;
  int a = (int)((u + 1) >> 1) + (neg ? h->bias1 : h->bias0);
  a -= a > 127 + neg ? 127 + neg : 0;
  return (uint8_t)(neg ? -a : a);
}

static uint8_t exponent_symbol(int x, const stream_header *h) {
  const int z = h->guard, b = h->bias0, d = x - b, r = b <= 128 ? b : 255 - b;
  const int fold = d >= 0 ? 2 * d : -2 * d - 1;
  if (z && x == 0) {
    return 0;
  }
  if (b <= 128) {
    return (uint8_t)(x >= 2 * r ? x : fold + z);
  }
  return (uint8_t)(x < b - r ? r + b - x + z : fold + z);
}

static uint8_t exponent_value(int u, const stream_header *h) {
  const int z = h->guard, b = h->bias0, r = b <= 128 ? b : 255 - b, e = (u - z) & 255;
  const int unfold = e & 1 ? -(e + 1) / 2 : e / 2;
  if (z && u == 0) {
    return 0;
  }
  if (b <= 128) {
    return (uint8_t)(u >= 2 * r ? u : unfold + b);
  }
  return (uint8_t)(e > 2 * r ? r + b - u + z : unfold + b);
}

/* ---- decoding ---- */

static int read_header(const uint8_t *p, uint64_t size, stream_header *h) {
  if (size < 16) {
    return 0;
  }
  const uint32_t w0 = load32(p);
  *h = (stream_header){.payload = w0 & 0xFFFFFF,
                       .is_signed = w0 >> 28 & 1,
                       .bf16 = w0 >> 29 & 1,
                       .bias0 = p[4],
                       .bias1 = p[5] & 127,
                       .guard = p[5] >> 7};
  return 1;
}

/* Elements of a chunk of bf16 blocks: after each block's symbols the raw bytes of its elements. */
static void decode_bf16(bit_reader *r, const uint8_t *map, unsigned blocks, const stream_header *h,
                        const uint8_t table[256], uint8_t *out) {
  uint8_t sym[BLOCK];
  for (unsigned b = 0; b < blocks; b++) {
    unpack_block(r, map[b], h->guard, sym);
    for (unsigned i = 0; i < BLOCK; i++, out += 2) {
      const uint32_t x = table[sym[i]];
      uint32_t raw = 0;
      if (!(h->guard && x == 0)) {
        raw = peek_bits(r) & 255;
        r->at += 8;
      }
      store16(out, (raw & 128) << 8 | x << 7 | (raw & 127));
    }
  }
}

static void decode_int8(const kernel_set *k, bit_reader *r, const uint8_t *map, unsigned blocks,
                        const stream_header *h, const uint8_t table[256], uint8_t *out) {
  k->unpack(out, map, blocks, r);
  if (h->is_signed && h->bias0 == 0 && h->bias1 == 0) {
    for (unsigned i = 0; i < blocks * BLOCK; i++) {
      out[i] = (uint8_t)(out[i] >> 1 ^ -(out[i] & 1));
    }
  } else if (h->is_signed) {
    for (unsigned i = 0; i < blocks * BLOCK; i++) {
      out[i] = table[out[i]];
    }
  }
}

static void skip_elements(walker *to, uint64_t count) {
  while (count) {
    const uint64_t run = walker_run(to), n = run < count ? run : count;
    count -= n;
    walker_skip(to, n);
  }
}

/* Bits of the blocks of bytes in front of one. */
static uint64_t bits_of(const uint8_t *map, uint64_t blocks) {
  uint64_t bits = 0;
  for (uint64_t b = 0; b < blocks; b++) {
    const unsigned k = map[b] >> 5;
    bits += k >= 6 ? 8 * BLOCK : 16 * k + 16 + (map[b] & 31);
  }
  return bits;
}

int decompress_divides(const chip_info *chip, const tdma_cmd *d) {
  const side *s = &d->dst;
  const uint64_t groups = (s->addr / LANE_BYTES + s->c - 1) / chip->lanes + 1;
  uint64_t dim[4][2] = {{1, s->w}, {s->hs, s->h}, {s->cs, groups}, {s->ns, s->n}};
  return !d->packed_bf16 && s->local && !dims_overlap(dim, 4, 1);
}

/* Some of the blocks; r: the bits of all. */
static void decode_blocks(const exec_ctx *x, const tdma_cmd *d, const stream_header *h,
                          const uint8_t *map, bit_reader r, span blocks) {
  uint8_t table[256], out[CHUNK_BLOCKS * BLOCK * 2];
  const kernel_set *k = kernels_get();
  for (unsigned u = 0; u < 256; u++) {
    table[u] = h->bf16 ? exponent_value((int)u, h) : int8_value(u, h);
  }
  const uint32_t e = h->bf16 ? 2 : 1;
  uint64_t left = d->count - (uint64_t)blocks.first * BLOCK;
  walker to;
  walker_open(&to, x, d, &d->dst);
  skip_elements(&to, (uint64_t)blocks.first * BLOCK);
  r.at = blocks.first ? bits_of(map, blocks.first) : 0;
  for (uint64_t b = blocks.first; b < blocks.end; b += CHUNK_BLOCKS) {
    const unsigned count =
        blocks.end - b < CHUNK_BLOCKS ? (unsigned)(blocks.end - b) : CHUNK_BLOCKS;
    if (h->bf16) {
      decode_bf16(&r, map + b, count, h, table, out);
    } else {
      decode_int8(k, &r, map + b, count, h, table, out);
    }
    uint64_t have = (uint64_t)count * BLOCK < left ? (uint64_t)count * BLOCK : left;
    left -= have;
    for (const uint8_t *q = out; have;) {
      const uint64_t run = walker_run(&to), n = run < have ? run : have;
      memcpy(to.s.p, q, n * e);
      q += n * e;
      have -= n;
      walker_skip(&to, n);
    }
  }
}

int exec_decompress(const exec_ctx *x, const tdma_cmd *d) {
  const tpu_region *region = &x->regions[d->src.region];
  const uint8_t *p = region->data + d->src.addr;
  const uint64_t size = region->size - d->src.addr; /* checked before the run */
  const uint64_t blocks = (d->count + BLOCK - 1) / BLOCK, map_size = (blocks + 15) & ~UINT64_C(15);
  stream_header h;
  if (!read_header(p, size, &h) || 16 + map_size + h.payload > size) {
    return sim_fail(x->err, TPU_SIM_RANGE, "compressed data at 0x%llx leave region %u",
                    (unsigned long long)d->src.addr, d->src.region);
  }
  if (h.bf16 != d->packed_bf16) {
    return sim_fail(x->err, TPU_SIM_BAD_STREAM, "compressed data at 0x%llx of region %u are %s",
                    (unsigned long long)d->src.addr, d->src.region,
                    h.bf16 ? "bf16, the command wants bytes" : "bytes, the command wants bf16");
  }
  const bit_reader r = {.p = p + 16 + map_size, .bits = (uint64_t)h.payload * 8};
  const span part = share_of(x, (uint32_t)blocks, CHUNK_BLOCKS); /* count < 2^29 */
  decode_blocks(x, d, &h, p + 16, r, part);
  return TPU_SIM_OK;
}

/* ---- encoding ---- */

typedef struct {
  uint8_t *p;
  uint64_t size, at; /* bytes available, bit position */
  uint32_t pending;
  int full;
} bit_writer;

static void put(bit_writer *w, unsigned value, unsigned bits) {
  for (unsigned i = 0; i < bits; i++, w->at++) {
    w->pending |= (value >> i & 1) << (w->at & 7);
    if ((w->at & 7) == 7) {
      if (w->at >> 3 < w->size) {
        w->p[w->at >> 3] = (uint8_t)w->pending;
      } else {
        w->full = 1;
      }
      w->pending = 0;
    }
  }
}

/* Coding parameter of a block: k, or 7 for a raw block; *unary its length. */
static unsigned choose(const uint8_t *sym, int guarded, unsigned *unary) {
  unsigned best = 7, best_cost = 129;
  for (unsigned k = 0; k < 6; k++) {
    unsigned u = 0;
    for (unsigned i = 0; i < BLOCK; i++) {
      u += (sym[i] >> k) + 1u;
    }
    const unsigned cost = 16 * k + u + (guarded && k > 0 ? 4 : 0);
    if (u <= 47 && cost <= 128 && cost < best_cost) {
      best = k;
      best_cost = cost;
      *unary = u;
    }
  }
  return best;
}

static uint8_t encode_block(bit_writer *w, const uint8_t *sym, const stream_header *h) {
  const int guarded = h->bf16 && h->guard;
  unsigned unary = 0, zeros = 0;
  const unsigned k = choose(sym, guarded, &unary);
  if (k == 7) {
    for (unsigned i = 0; i < BLOCK; i++) {
      put(w, sym[i], 8);
    }
    return 0xE0;
  }
  for (unsigned p = 0; p < k; p++) {
    for (unsigned i = 0; i < BLOCK; i++) {
      put(w, sym[i] >> p & 1, 1);
    }
  }
  for (unsigned i = 0; i < BLOCK; i++) {
    zeros += sym[i] == 0;
  }
  put(w, zeros & 15, guarded && k > 0 ? 4 : 0);
  for (unsigned i = 0; i < BLOCK; i++) {
    for (unsigned q = 0; q < (unsigned)sym[i] >> k; q++) {
      put(w, 0, 1);
    }
    put(w, 1, 1);
  }
  return (uint8_t)(k * 32 + ((unary - 16) & 31));
}

/* The next up to 16 elements, zero-padded. */
static void take_block(walker *from, uint64_t count, uint8_t *raw) {
  memset(raw, 0, 2 * BLOCK);
  while (count) {
    const uint64_t run = walker_run(from), n = run < count ? run : count;
    memcpy(raw, from->s.p, n * from->s.e);
    raw += n * from->s.e;
    count -= n;
    walker_skip(from, n);
  }
}

int exec_compress(const exec_ctx *x, const tdma_cmd *d) {
  const tpu_region *region = &x->regions[d->dst.region];
  uint8_t *p = region->data + d->dst.addr;
  const uint64_t size = region->size - d->dst.addr;
  uint64_t left = d->count;
  const uint64_t blocks = (left + BLOCK - 1) / BLOCK, map_size = (blocks + 15) & ~UINT64_C(15);
  stream_header h = {.is_signed = d->is_signed,
                     .bf16 = d->packed_bf16,
                     .bias0 = d->bias0,
                     .bias1 = d->bias1,
                     .guard = d->zero_guard};
  if (16 + map_size > size) {
    return sim_fail(x->err, TPU_SIM_RANGE, "compressed store at 0x%llx leaves region %u",
                    (unsigned long long)d->dst.addr, d->dst.region);
  }
  bit_writer w = {.p = p + 16 + map_size, .size = size - 16 - map_size};
  walker from;
  walker_open(&from, x, d, &d->src);
  memset(p + 16, 0, map_size);
  for (uint64_t b = 0; b < blocks; b++) {
    uint8_t raw[2 * BLOCK], sym[BLOCK];
    const uint64_t n = left < BLOCK ? left : BLOCK;
    left -= n;
    take_block(&from, n, raw);
    for (unsigned i = 0; i < BLOCK; i++) {
      sym[i] = h.bf16 ? exponent_symbol(load16(raw + 2 * i) >> 7 & 255, &h)
                      : int8_symbol(h.is_signed ? (int8_t)raw[i] : raw[i], &h);
    }
    p[16 + b] = encode_block(&w, sym, &h);
    for (unsigned i = 0; h.bf16 && i < BLOCK; i++) {
      const uint32_t v = load16(raw + 2 * i);
      if (!(h.guard && (v >> 7 & 255) == 0)) {
        put(&w, (v >> 8 & 128) | (v & 127), 8);
      }
    }
  }
  while (w.at & 127) {
    put(&w, 0, 1);
  }
  const uint64_t payload = w.at / 8;
  if (w.full || payload > 0xFFFFFF) {
    return sim_fail(x->err, TPU_SIM_RANGE, "compressed store at 0x%llx needs %llu bytes",
                    (unsigned long long)d->dst.addr, (unsigned long long)(16 + map_size + payload));
  }
  memset(p, 0, 16);
  store16(p, (uint32_t)payload);
  p[2] = (uint8_t)(payload >> 16);
  p[3] = (uint8_t)(h.is_signed << 4 | h.bf16 << 5);
  p[4] = h.bias0;
  p[5] = (uint8_t)(h.bias1 | h.guard << 7);
  return TPU_SIM_OK;
}
