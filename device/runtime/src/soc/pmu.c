/* Reading the records: what a job did when, as a summary and as tables. */
#include "pmu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/stream.h"

enum {
  RECORD = 16,
  LOAD = 1,
  STORE = 2,
  MOVE = 3,
  TIU = 4,
  UNIT = 16, /* bytes that counter 1 counts */
  DEFAULT_CLOCK = 750000000
};

typedef struct {
  uint32_t type, id, counter[2], start, end; /* times from the start of the job */
} record;

/* A descriptor of the dma buffer: segment and index. */
typedef struct {
  uint32_t segment, index;
} place;

typedef struct {
  const uint8_t *dmabuf;
  const soc_counters *counters;
  uint32_t at; /* of the next record */
  uint32_t first;
  place tiu, tdma;
  record last; /* of the TDMA */
} reader;

typedef struct {
  uint64_t tdma, tiu, bytes;
  uint32_t end;
} totals;

typedef struct {
  uint32_t id, start, end, tiu, load, weight, store;
  uint64_t bytes;
} layer;

static uint32_t word(const uint8_t *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t pmu_area(uint32_t commands) {
  return (uint32_t)rt_align((uint64_t)commands * RECORD + (1 << 20), 4096);
}

bool pmu_wanted(void) {
  const char *text = getenv("TPU_ENABLE_PMU");
  return text && atoi(text) > 0;
}

static bool next_record(reader *r, record *out) {
  const uint8_t *p = r->dmabuf + r->counters->offset + r->at;
  if (r->at + RECORD > r->counters->size || word(p) == 0) {
    return false;
  }
  uint64_t bits = word(p) | (uint64_t)word(p + 4) << 32;
  if (r->at == 0) {
    r->first = word(p + 12);
  }
  *out = (record){(uint32_t)bits & 15,
                  (uint32_t)bits >> 4 & 0xFFFF,
                  {(uint32_t)(bits >> 20) & 0x3FFFFF, (uint32_t)(bits >> 42)},
                  word(p + 12) - r->first,
                  word(p + 8) - r->first};
  r->at += RECORD;
  return true;
}

/* A copy inside DDR has two records, a load and a store of one time. */
static bool second_of_copy(reader *r, const record *now) {
  const record *last = &r->last;
  bool same = now->type == STORE && last->type == LOAD && last->id == now->id &&
              last->start == now->start && last->end == now->end;
  r->last = *now;
  return same;
}

/* ---- the summary ---- */

static void print_line(const char *const names[3], const double values[3], const char *unit[3]) {
  char line[160];
  int used = 0;
  for (int i = 0; i < 3; i++) {
    used += snprintf(line + used, sizeof(line) - (size_t)used, "%-20s%10.3f %-5s", names[i],
                     values[i], unit[i]);
  }
  rt_print("%s", line);
}

static void print_summary(const reader *r, const totals *t) {
  uint32_t clock = word(r->dmabuf + 20);
  double hz = clock ? clock : DEFAULT_CLOCK, all = t->end ? t->end : 1;
  double tdma = (double)t->tdma, tiu = (double)t->tiu, mega = (double)t->bytes / 1e6;
  double parallel = (tdma + tiu) / all * 100;
  char clock_name[24];
  snprintf(clock_name, sizeof(clock_name), "%s_tpu_clock:", r->counters->chip);
  rt_print("=================== inference total info ===================");
  print_line((const char *[]){clock_name, "inferece_data:", "inference_bw:"},
             (double[]){hz / 1e6, mega, mega * hz / all}, (const char *[]){"MHz", "MB", "MB/s"});
  print_line((const char *[]){"tdma_exe_tick:", "tiu_exe_tick", "inference_tick"},
             (double[]){tdma, tiu, all}, (const char *[]){"t", "t", "t"});
  print_line((const char *[]){"tdma_exe_percent:", "tiu_exe_percent:", "paralellism_percent"},
             (double[]){tdma / all * 100, tiu / all * 100, parallel < 100 ? 100 : parallel},
             (const char *[]){"%", "%", "%"});
  print_line((const char *[]){"tdma_exe_ms:", "tiu_exe_ms:", "inference_ms:"},
             (double[]){tdma / hz * 1e3, tiu / hz * 1e3, all / hz * 1e3},
             (const char *[]){"ms", "ms", "ms"});
}

static void add(totals *t, const record *now, bool again) {
  uint32_t ticks = now->end - now->start;
  if (now->type == TIU) {
    t->tiu += ticks;
  } else {
    t->tdma += again ? 0 : ticks;
    t->bytes += (uint64_t)now->counter[1] * UNIT;
  }
  t->end = (int32_t)(now->end - t->end) > 0 ? now->end : t->end;
}

/* ---- the tables ---- */

/* The descriptor with this id at or behind *from, NULL if there is none. */
static const uint8_t *find(const reader *r, bool tiu, uint32_t id, place *from) {
  bool cv183x = strcmp(r->counters->chip, "cv183x") == 0;
  uint32_t segments = word(r->dmabuf + 8);
  for (place p = *from; p.segment < segments; p = (place){p.segment + 1, 0}) {
    const uint8_t *cpu = r->dmabuf + DMABUF_HEADER + (size_t)DMABUF_CPU_DESC * p.segment;
    uint32_t count = word(cpu + (tiu ? 4 : 8)), start = word(cpu + (tiu ? 20 : 24));
    for (; p.index < count; p.index++) {
      const uint8_t *d = r->dmabuf + start + (size_t)p.index * (tiu ? TIU_BYTES : TDMA_BYTES);
      const uint8_t *head = tiu ? d + 96 : d; /* beats 0 and 6 are exchanged */
      uint32_t here = !tiu     ? word(head) >> 16
                      : cv183x ? word(head) >> 3 & 0xFFFF
                               : word(head + 4) & 0xFFFF;
      if (here == id) {
        *from = p;
        return d;
      }
    }
  }
  return NULL;
}

static uint32_t layer_of(const reader *r, const uint8_t *d, bool tiu) {
  if (!d || !tiu) {
    return d ? word(d + 60) >> 16 : 0;
  }
  bool cv183x = strcmp(r->counters->chip, "cv183x") == 0; /* bits 864..891, 512..527 */
  return cv183x ? word(d + 108 - 96) & 0xFFFFFFF : word(d + 64) & 0xFFFF;
}

static uint32_t tiu_kind(const reader *r, const uint8_t *d) {
  bool cv183x = strcmp(r->counters->chip, "cv183x") == 0;
  return (cv183x ? word(d + 96 + 4) : word(d + 96)) >> 5 & 15;
}

static void write_record(FILE *f, const reader *r, const record *now, const uint8_t *d) {
  static const char *const kinds[] = {"?",           "load",   "store",  "move",
                                      "convolution", "window", "matrix", "arithmetic"};
  bool tiu = now->type == TIU;
  uint32_t kind = tiu && d ? TIU + tiu_kind(r, d) : now->type;
  fprintf(f, "%u,%u,%u,%u,%u,%u,%u,%u,%s", now->type, now->id, now->counter[0], now->counter[1],
          now->start, now->end - now->start, now->end, layer_of(r, d, tiu),
          kind < 8 ? kinds[kind] : "?");
  for (int w = 3; d && !tiu && w < 15; w++) { /* bases, strides, sizes, addresses */
    fprintf(f, ",%08x", (unsigned)word(d + 4 * w));
  }
  fputs("\n", f);
}

/* The entry of a layer, made on first use; NULL: out of memory. */
static layer *entry_of(layer **list, uint32_t *count, uint32_t id) {
  for (uint32_t i = *count; i > 0; i--) {
    if ((*list)[i - 1].id == id) {
      return &(*list)[i - 1];
    }
  }
  if ((*count & (*count - 1)) == 0) { /* a power of two, or none */
    layer *grown = rt_grow(*list, *count, *count ? 2 * (size_t)*count : 1, sizeof(layer), "layers");
    if (!grown) {
      return NULL;
    }
    *list = grown;
  }
  (*list)[*count].id = id;
  (*list)[*count].start = UINT32_MAX;
  return &(*list)[(*count)++];
}

static void add_to_layer(layer *l, const record *now, const uint8_t *d, bool again) {
  uint32_t ticks = again ? 0 : now->end - now->start;
  bool weights = d && now->type == LOAD && (word(d + 12) >> 16 & 7) == 1; /* base register 1 */
  l->start = now->start < l->start ? now->start : l->start;
  l->end = now->end > l->end ? now->end : l->end;
  l->tiu += now->type == TIU ? ticks : 0;
  l->store += now->type == STORE ? ticks : 0;
  l->weight += weights ? ticks : 0;
  l->load += now->type == LOAD && !weights ? ticks : 0;
  l->bytes += now->type == TIU ? 0 : (uint64_t)now->counter[1] * UNIT;
}

static void write_layers(FILE *f, const reader *r, const layer *list, uint32_t count) {
  uint32_t clock = word(r->dmabuf + 20);
  double hz = clock ? clock : DEFAULT_CLOCK;
  for (uint32_t i = 0; i < count; i++) {
    const layer *l = &list[i];
    double ticks = l->end > l->start ? l->end - l->start : 1, percent = 100 / ticks;
    fprintf(f, "%u,%u,%u,%u,%.1f,%.1f,%.1f,%.1f,%.1f,%llu\n", l->id, l->start, l->end - l->start,
            l->end, l->tiu * percent, l->load * percent, l->weight * percent, l->store * percent,
            (double)l->bytes * hz / ticks / 1e6, (unsigned long long)l->bytes);
  }
}

/* The files of this process are begun once; every job adds its rows. */
static FILE *open_table(const char *prefix, const char *end, const char *title) {
  char path[512];
  snprintf(path, sizeof(path), "%.480s%s", prefix, end);
  static unsigned begun;
  FILE *f = fopen(path, begun < 2 ? "w" : "a");
  if (!f) {
    rt_log(RT_LOG_WARNING, "can not write '%s'", path);
  } else if (begun < 2) {
    fprintf(f, "%s\n", title);
  }
  begun += begun < 2;
  return f;
}

static void close_table(FILE *f) {
  if (f) {
    fclose(f);
  }
}

static void write_tables(reader r, const char *prefix) {
  FILE *records = open_table(prefix, "_des.csv",
                             "type,id,counter0,counter1,start,duration,end,layer,operation,"
                             "w3,w4,w5,w6,w7,w8,w9,w10,w11,w12,w13,w14");
  FILE *layers = open_table(prefix, "_layer.csv",
                            "layer,start,duration,end,tiu%,load_neuron%,load_weight%,store%,MB/s,"
                            "bytes");
  layer *list = NULL;
  uint32_t count = 0;
  for (record now; records && layers && next_record(&r, &now);) {
    bool tiu = now.type == TIU, again = !tiu && second_of_copy(&r, &now);
    const uint8_t *d = find(&r, tiu, now.id, tiu ? &r.tiu : &r.tdma);
    write_record(records, &r, &now, d);
    layer *l = entry_of(&list, &count, layer_of(&r, d, tiu));
    if (l) {
      add_to_layer(l, &now, d, again);
    }
  }
  if (layers) {
    write_layers(layers, &r, list, count);
  }
  rt_free(list);
  close_table(records);
  close_table(layers);
}

void pmu_report(const uint8_t *dmabuf, const soc_counters *counters) {
  reader r = {.dmabuf = dmabuf, .counters = counters}, again = r;
  totals t = {0};
  for (record now; next_record(&r, &now);) {
    add(&t, &now, now.type != TIU && second_of_copy(&r, &now));
  }
  print_summary(&r, &t);
  const char *prefix = getenv("TPU_PMUBUF_OUTPUT_FILE");
  if (prefix && *prefix) {
    write_tables(again, prefix);
  }
}
