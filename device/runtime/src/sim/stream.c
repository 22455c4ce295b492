/* Element streams: n, c, h, w order, in runs of adjacent elements. */

#include "stream.h"

void stream_open(stream *s, const exec_ctx *x, const side *d) {
  const uint32_t e = d->fmt == 2 ? 2 : 1;
  *s = (stream){.d = d, .x = x, .e = e, .run = d->w, .nh = d->h, .nc = d->c};
  s->base = d->local ? x->lmem : x->regions[d->region].data + d->addr;
  if (s->nh == 1 || d->hs == s->run * e) {
    s->run *= s->nh;
    s->nh = 1;
    if (!d->local && (s->nc == 1 || d->cs == s->run * e)) {
      s->run *= s->nc;
      s->nc = 1;
      if (d->n == 1 || d->ns == s->run * e) {
        s->run *= d->n;
      }
    }
  }
  s->left = s->run;
  s->p = stream_row(s);
}

uint8_t *stream_row(const stream *s) {
  const side *d = s->d;
  if (!d->local) {
    return s->base + (size_t)s->n * d->ns + (size_t)s->c * d->cs + (size_t)s->h * d->hs;
  }
  const uint32_t k = (uint32_t)(d->addr / LANE_BYTES) + s->c;
  return s->base + (size_t)(k & (s->x->lanes - 1)) * LANE_BYTES + d->addr % LANE_BYTES +
         (size_t)s->n * d->ns + (size_t)(k >> s->x->lane_shift) * d->cs + (size_t)s->h * d->hs;
}

void stream_skip(stream *s, uint64_t count) {
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

void walker_open(walker *w, const exec_ctx *x, const tdma_cmd *d, const side *local) {
  w->row = *local;
  w->cols = d->matrix ? d->cols : (uint64_t)local->n * local->c * local->h * local->w;
  w->row.n = d->matrix ? 1 : local->n;
  w->left = w->cols;
  stream_open(&w->s, x, &w->row);
}

void walker_skip(walker *w, uint64_t count) {
  w->left -= count;
  stream_skip(&w->s, count);
  if (w->left == 0) {
    w->left = w->cols;
    w->row.addr += w->row.ns;
    stream_open(&w->s, w->s.x, &w->row);
  }
}
