#include "inflate.h"

#include <stdint.h>
#include <string.h>

enum { LONGEST = 15, LITERALS = 288, DISTANCES = 30, END_OF_BLOCK = 256 };

typedef struct {
  const unsigned char *in;
  size_t in_size, at; /* next byte */
  uint32_t bits;      /* taken from `in`, not used yet; lowest first */
  int bit_count;
  unsigned char *out;
  size_t out_size, done;
} Stream;

/* A canonical prefix code: symbols ordered by length, then value. */
typedef struct {
  uint16_t count[LONGEST + 1]; /* codes of each length */
  uint16_t symbol[LITERALS];
} Code;

/* `n` (at most 16) bits, lowest first; -1 at the end. */
static int take(Stream *s, int n) {
  while (s->bit_count < n) {
    if (s->at == s->in_size) return -1;
    s->bits |= (uint32_t)s->in[s->at++] << s->bit_count;
    s->bit_count += 8;
  }
  int value = (int)(s->bits & ((1u << n) - 1));
  s->bits >>= n;
  s->bit_count -= n;
  return value;
}

/* False: the lengths claim more codes than there are. */
static bool make_code(Code *code, const unsigned char *lengths, int count) {
  int start[LONGEST + 1], next = 0, left = 1;
  memset(code, 0, sizeof *code);
  for (int i = 0; i < count; i++) code->count[lengths[i]]++;
  code->count[0] = 0;
  for (int n = 1; n <= LONGEST; n++) {
    left = 2 * left - code->count[n];
    if (left < 0) return false;
    start[n] = next;
    next += code->count[n];
  }
  for (int i = 0; i < count; i++)
    if (lengths[i]) code->symbol[start[lengths[i]]++] = (uint16_t)i;
  return true;
}

/* The next symbol, -1: no such code, or the end. */
static int decode(Stream *s, const Code *code) {
  int value = 0, first = 0, index = 0; /* first code and symbol of this length */
  for (int n = 1; n <= LONGEST; n++) {
    int bit = take(s, 1);
    if (bit < 0) return -1;
    value |= bit;
    if (value - first < code->count[n]) return code->symbol[index + value - first];
    index += code->count[n];
    first = (first + code->count[n]) * 2;
    value *= 2;
  }
  return -1;
}

static bool stored(Stream *s) {
  s->bits = 0; /* the rest of the byte */
  s->bit_count = 0;
  int size = take(s, 16), inverse = take(s, 16);
  if (size < 0 || (size ^ inverse) != 0xFFFF || (size_t)size > s->in_size - s->at ||
      (size_t)size > s->out_size - s->done)
    return false;
  memcpy(s->out + s->done, s->in + s->at, (size_t)size);
  s->at += (size_t)size;
  s->done += (size_t)size;
  return true;
}

/* Base value plus extra bits of a length (3 to 258) or a distance (1 to 32768); -1: damaged. */
static int with_extra(Stream *s, int symbol, int group, int base) {
  int extra = symbol < 2 * group ? 0 : symbol / group - 1;
  for (int i = 0; i < symbol; i++) base += 1 << (i < 2 * group ? 0 : i / group - 1);
  int more = take(s, extra);
  return more < 0 ? -1 : base + more;
}

static bool copy_match(Stream *s, int symbol, const Code *distances) {
  int length = symbol == 285 ? 258 : symbol < 285 ? with_extra(s, symbol - 257, 4, 3) : -1;
  int code = length < 0 ? -1 : decode(s, distances);
  int distance = code < 0 || code >= DISTANCES ? -1 : with_extra(s, code, 2, 1);
  if (distance < 0 || (size_t)distance > s->done || (size_t)length > s->out_size - s->done)
    return false;
  for (int i = 0; i < length; i++, s->done++) s->out[s->done] = s->out[s->done - (size_t)distance];
  return true;
}

static bool symbols(Stream *s, const Code *literals, const Code *distances) {
  for (;;) {
    int symbol = decode(s, literals);
    if (symbol == END_OF_BLOCK) return true;
    if (symbol < 0 || (symbol < 256 && s->done == s->out_size)) return false;
    if (symbol < 256)
      s->out[s->done++] = (unsigned char)symbol;
    else if (!copy_match(s, symbol, distances))
      return false;
  }
}

static bool fixed(Stream *s) {
  unsigned char lengths[LITERALS];
  Code literals, distances;
  for (int i = 0; i < LITERALS; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  make_code(&literals, lengths, LITERALS);
  memset(lengths, 5, DISTANCES);
  make_code(&distances, lengths, DISTANCES);
  return symbols(s, &literals, &distances);
}

/* The lengths of both codes, themselves coded; 16 to 18 repeat. */
static bool read_lengths(Stream *s, const Code *code, unsigned char *lengths, int count) {
  for (int i = 0; i < count;) {
    int symbol = decode(s, code), value = 0, repeat = 1;
    if (symbol < 0) return false;
    if (symbol < 16) {
      value = symbol;
    } else {
      if (symbol == 16 && i == 0) return false;
      value = symbol == 16 ? lengths[i - 1] : 0;
      int more = take(s, symbol == 16 ? 2 : symbol == 17 ? 3 : 7);
      repeat = more < 0 ? count + 1 : more + (symbol == 18 ? 11 : 3);
    }
    if (repeat > count - i) return false;
    memset(lengths + i, value, (size_t)repeat);
    i += repeat;
  }
  return true;
}

static bool dynamic(Stream *s) {
  static const unsigned char order[] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                        11, 4,  12, 3, 13, 2, 14, 1, 15};
  unsigned char lengths[LITERALS + 32] = {0};
  Code code, literals, distances;
  int literal_count = take(s, 5) + 257, distance_count = take(s, 5) + 1,
      code_count = take(s, 4) + 4;
  if (literal_count < 257 || literal_count > 286 || distance_count < 1 ||
      distance_count > DISTANCES || code_count < 4)
    return false;
  for (int i = 0; i < code_count; i++) {
    int length = take(s, 3);
    if (length < 0) return false;
    lengths[order[i]] = (unsigned char)length;
  }
  if (!make_code(&code, lengths, 19)) return false;
  memset(lengths, 0, sizeof lengths);
  return read_lengths(s, &code, lengths, literal_count + distance_count) &&
         make_code(&literals, lengths, literal_count) &&
         make_code(&distances, lengths + literal_count, distance_count) &&
         symbols(s, &literals, &distances);
}

bool inflate_bytes(const unsigned char *in, size_t in_size, unsigned char *out, size_t out_size) {
  Stream s = {.in = in, .in_size = in_size, .out = out, .out_size = out_size};
  for (int last = 0; !last;) {
    last = take(&s, 1);
    int kind = take(&s, 2);
    bool good = last >= 0 && (kind == 0   ? stored(&s)
                              : kind == 1 ? fixed(&s)
                                          : kind == 2 && dynamic(&s));
    if (!good) return false;
  }
  return s.done == out_size;
}
