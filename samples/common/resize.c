#include "resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

/* One output coordinate: two source positions and their weights (sum 2048). */
typedef struct {
  int first, second;
  int16_t w0, w1;
} Tap;

static int clamp(int value, int high) { return value < 0 ? 0 : value > high ? high : value; }

/* step = 1 / (to / from) in double; f = float((d + 0.5) * step - 0.5); s = floor(f); f -= s.
 * Horizontally positions outside are set to the border with f = 0; vertically f is kept and only
 * the row numbers are clamped. Weights rint((1 - f) * 2048), rint(f * 2048), half to even. */
static Tap *make_taps(int from, int to, bool horizontal) {
  Tap *taps = malloc((size_t)to * sizeof *taps);
  if (!taps) return NULL;
  double step = 1.0 / ((double)to / (double)from);
  for (int d = 0; d < to; d++) {
    float f = (float)((d + 0.5) * step - 0.5);
    int s = (int)floorf(f);
    f -= (float)s;
    if (horizontal && s < 0) s = 0, f = 0;
    if (horizontal && s >= from - 1) s = from - 1, f = 0;
    float keep = (1.0f - f) * 2048.0f, next = f * 2048.0f;
    taps[d] = (Tap){clamp(s, from - 1), clamp(s + 1, from - 1), (int16_t)rintf(keep),
                    (int16_t)rintf(next)};
  }
  return taps;
}

/* H = p[s] * w0 + p[s + 1] * w1 for a row. */
static void blend_row(int32_t *out, const uint8_t *row, const Tap *taps, int width, int channels) {
  for (int x = 0; x < width; x++) {
    const uint8_t *a = row + (size_t)taps[x].first * (size_t)channels;
    const uint8_t *b = row + (size_t)taps[x].second * (size_t)channels;
    for (int c = 0; c < channels; c++) *out++ = a[c] * taps[x].w0 + b[c] * taps[x].w1;
  }
}

/* out = (((v0 * (H0 >> 4)) >> 16) + ((v1 * (H1 >> 4)) >> 16) + 2) >> 2, clipped to 0..255 */
static void blend_columns(uint8_t *out, const int32_t *h0, const int32_t *h1, Tap tap, int count) {
  for (int i = 0; i < count; i++) {
    int32_t sum = ((tap.w0 * (h0[i] >> 4)) >> 16) + ((tap.w1 * (h1[i] >> 4)) >> 16);
    out[i] = (uint8_t)clamp((sum + 2) >> 2, 255);
  }
}

static bool bilinear(Image *to, const Image *from) {
  Tap *xs = make_taps(from->width, to->width, true);
  Tap *ys = make_taps(from->height, to->height, false);
  size_t count = (size_t)to->width * (size_t)to->channels;
  size_t stride = (size_t)from->width * (size_t)from->channels;
  int32_t *rows = malloc(2 * count * sizeof *rows);
  bool good = xs && ys && rows;
  int held[2] = {-1, -1}; /* which source row each half of `rows` holds */
  for (int y = 0; good && y < to->height; y++) {
    int wanted[2] = {ys[y].first, ys[y].second};
    int32_t *h[2];
    for (int k = 0; k < 2; k++) {
      int slot = wanted[k] & 1; /* two neighbouring rows never share a slot */
      h[k] = rows + (size_t)slot * count;
      if (held[slot] == wanted[k]) continue;
      blend_row(h[k], from->pixels + (size_t)wanted[k] * stride, xs, to->width, to->channels);
      held[slot] = wanted[k];
    }
    blend_columns(to->pixels + (size_t)y * count, h[0], h[1], ys[y], (int)count);
  }
  free(xs);
  free(ys);
  free(rows);
  return good ? true : fail("no memory to resize a picture");
}

/* Exactly 2:1 in both directions: (sum of 2 x 2 + 2) >> 2. */
static void halve(Image *to, const Image *from) {
  size_t n = (size_t)from->channels, stride = (size_t)from->width * n;
  uint8_t *out = to->pixels;
  for (int y = 0; y < to->height; y++)
    for (int x = 0; x < to->width; x++) {
      const uint8_t *p = from->pixels + 2 * (size_t)y * stride + 2 * (size_t)x * n;
      for (size_t c = 0; c < n; c++)
        *out++ = (uint8_t)((p[c] + p[n + c] + p[stride + c] + p[stride + n + c] + 2) >> 2);
    }
}

bool image_resize(Image *to, const Image *from, int width, int height) {
  if (!image_new(to, width, height, from->channels)) return false;
  if (width == from->width && height == from->height) {
    memcpy(to->pixels, from->pixels, (size_t)width * (size_t)height * (size_t)from->channels);
    return true;
  }
  if (from->width == 2 * width && from->height == 2 * height) {
    halve(to, from);
    return true;
  }
  if (bilinear(to, from)) return true;
  image_free(to);
  return false;
}

Letterbox letterbox_geometry(int from_width, int from_height, int width, int height) {
  double rx = (double)width / from_width, ry = (double)height / from_height;
  Letterbox g = {rx < ry ? rx : ry, 0, 0, 0, 0};
  g.width = (int)(from_width * g.ratio);
  g.height = (int)(from_height * g.ratio);
  if (g.width < 1) g.width = 1;
  if (g.height < 1) g.height = 1;
  g.left = (width - g.width) / 2;
  g.top = (height - g.height) / 2;
  return g;
}

bool image_letterbox(Image *to, const Image *from, int width, int height, uint8_t pad) {
  Letterbox g = letterbox_geometry(from->width, from->height, width, height);
  Image small;
  if (!image_new(to, width, height, from->channels)) return false;
  if (!image_resize(&small, from, g.width, g.height)) return image_free(to), false;
  size_t n = (size_t)from->channels, row = (size_t)g.width * n;
  memset(to->pixels, pad, (size_t)width * (size_t)height * n);
  for (int y = 0; y < g.height; y++)
    memcpy(to->pixels + ((size_t)(g.top + y) * (size_t)width + (size_t)g.left) * n,
           small.pixels + (size_t)y * row, row);
  image_free(&small);
  return true;
}
