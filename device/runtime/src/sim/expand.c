/* Building of expanded input maps, see expand.h. */

#include "expand.h"

#include <string.h>

static uint32_t used_phases(uint32_t taps, uint32_t dilation, uint32_t stride, uint8_t *slot,
                            uint8_t *phase) {
    uint32_t count = 0;
    memset(slot, 0xFF, 32);
    for (uint32_t i = 0; i < taps && i < stride; i++) {
        const uint32_t p = i * dilation % stride;
        if (slot[p] == 0xFF) {
            slot[p] = (uint8_t)count;
            phase[count++] = (uint8_t)p;
        }
    }
    return count;
}

void expansion_init(expansion *x, const tiu_cmd *t, int packed_rows) {
    const window *w = &t->win;
    x->in_h = t->a.h;
    x->in_w = t->a.w;
    x->height = (t->a.h - 1u) * (w->yins + 1u) + 1 + w->yins_last + w->up + w->dn;
    x->width = (t->a.w - 1u) * (w->xins + 1u) + 1 + w->xins_last + w->lf + w->rt;
    x->whole = packed_rows && w->ystr == 1 && w->xstr == 1 && x->height == t->a.h &&
               x->width == t->a.w;
    x->hph = ceil_div(x->height, w->ystr);
    x->wph = ceil_div(x->width, w->xstr);
    x->ny = used_phases(w->kh, w->ydil, w->ystr, x->yslot, x->yphase);
    x->nx = used_phases(w->kw, w->xdil, w->xstr, x->xslot, x->xphase);
    x->plane = (uint64_t)x->ny * x->nx * x->hph * x->wph;
    x->flat = (t->res.h - 1u) * x->wph + t->res.w;
}

static void fill_units(void *dst, uint32_t size, uint32_t value, size_t count) {
    if (size == 1 || value == 0) {
        memset(dst, (int)(value & 255), count * size);
    } else if (size == 2) {
        uint16_t *d = dst;
        for (size_t i = 0; i < count; i++) {
            d[i] = (uint16_t)value;
        }
    } else {
        uint32_t *d = dst;
        for (size_t i = 0; i < count; i++) {
            d[i] = value;
        }
    }
}

/* dst[i*dstep] = src[i*sstep] */
static void copy_units(void *dst, uint32_t dstep, const void *src, uint32_t sstep, uint32_t size,
                       size_t count) {
    if (size == 1) {
        uint8_t *d = dst;
        const uint8_t *s = src;
        for (size_t i = 0; i < count; i++) {
            d[i * dstep] = s[i * sstep];
        }
    } else if (size == 2) {
        uint16_t *d = dst;
        const uint16_t *s = src;
        for (size_t i = 0; i < count; i++) {
            d[i * dstep] = s[i * sstep];
        }
    } else {
        uint32_t *d = dst;
        const uint32_t *s = src;
        for (size_t i = 0; i < count; i++) {
            d[i * dstep] = s[i * sstep];
        }
    }
}

/* Input row behind expanded row y, or -1 for a fill row. */
static int64_t source_row(const expansion *x, const window *w, uint32_t y) {
    if (y < w->up) {
        return -1;
    }
    const uint32_t r = y - w->up, step = w->yins + 1u;
    return r % step == 0 && r / step < x->in_h ? (int64_t)(r / step) : -1;
}

void expand(const expansion *x, const window *w, void *dst, uint32_t size, uint32_t fill,
            row_loader load, const void *ctx, void *rows) {
    if (x->whole) {
        load(dst, ctx, 0, x->in_h * x->in_w);
        return;
    }
    const int plain = w->xstr == 1 && w->xins == 0;
    uint8_t *full = rows, *raw = full + (size_t)(x->width + 16) * size;
    if (!plain) {
        fill_units(full, size, fill, x->width);
    }
    for (uint32_t ys = 0; ys < x->ny; ys++) {
        for (uint32_t r = 0; r < x->hph; r++) {
            const int64_t source = source_row(x, w, r * w->ystr + x->yphase[ys]);
            uint8_t *row = (uint8_t *)dst + ((size_t)ys * x->nx * x->hph + r) * x->wph * size;
            const size_t step = (size_t)x->hph * x->wph * size;
            if (source < 0) {
                for (uint32_t xs = 0; xs < x->nx; xs++) {
                    fill_units(row + xs * step, size, fill, x->wph);
                }
                continue;
            }
            if (plain) {
                const uint32_t end = w->lf + x->in_w;
                fill_units(row, size, fill, w->lf);
                load(row + (size_t)w->lf * size, ctx, (uint32_t)source, x->in_w);
                fill_units(row + (size_t)end * size, size, fill, x->width - end);
                continue;
            }
            load(raw, ctx, (uint32_t)source, x->in_w);
            copy_units(full + (size_t)w->lf * size, w->xins + 1u, raw, 1, size, x->in_w);
            for (uint32_t xs = 0; xs < x->nx; xs++) {
                const uint32_t p = x->xphase[xs];
                const uint32_t n = p < x->width ? ceil_div(x->width - p, w->xstr) : 0;
                copy_units(row + xs * step, 1, full + (size_t)p * size, w->xstr, size, n);
                fill_units(row + xs * step + (size_t)n * size, size, fill, x->wph - n);
            }
        }
    }
}
