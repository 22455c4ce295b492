/* The elements of one side of a transfer in n, c, h, w order. */
#ifndef TPUFORGE_SIM_STREAM_H
#define TPUFORGE_SIM_STREAM_H

#include "internal.h"

typedef struct {
  const side *d;
  const exec_ctx *x;
  uint8_t *base, *p;   /* p: next element */
  uint32_t e, n, c, h; /* e: bytes per element */
  uint32_t nh, nc;     /* counts after merging adjacent rows */
  uint64_t run, left;  /* elements per run, elements left in this one */
} stream;

void stream_open(stream *s, const exec_ctx *x, const side *d);

/* The first element of a row. */
static inline uint8_t *stream_row(const stream *s) {
  const side *d = s->d;
  if (!d->local) {
    return s->base + (size_t)s->n * d->ns + (size_t)s->c * d->cs + (size_t)s->h * d->hs;
  }
  const uint32_t k = (uint32_t)(d->addr / LANE_BYTES) + s->c;
  return s->base + (size_t)(k & (s->x->lanes - 1)) * LANE_BYTES + d->addr % LANE_BYTES +
         (size_t)s->n * d->ns + (size_t)(k >> s->x->lane_shift) * d->cs + (size_t)s->h * d->hs;
}

/* Move on by count <= left elements. */
static inline void stream_skip(stream *s, uint64_t count) {
  s->left -= count;
  s->p += count * s->e;
  if (s->left == 0) {
    if (++s->h == s->nh) {
      s->h = 0;
      if (++s->c == s->nc) {
        s->c = 0;
        s->n++;
      }
    }
    s->left = s->run;
    if (s->n < s->d->n) {
      s->p = stream_row(s);
    }
  }
}

/* The local side of a compressed transfer: a tensor, or the rows of a matrix, of which only the
 * first `cols` elements exist. */
typedef struct {
  stream s;
  side row;
  uint64_t left, cols; /* elements left in this row; per row */
} walker;

void walker_open(walker *w, const exec_ctx *x, const tdma_cmd *d, const side *local);
/* Adjacent elements available at w->s.p; walker_skip moves on by at most that many. */
static inline uint64_t walker_run(const walker *w) {
  return w->s.left < w->left ? w->s.left : w->left;
}
void walker_skip(walker *w, uint64_t count);

#endif
