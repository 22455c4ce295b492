/* Reading a cvimodel: header, body, weights, command sections (formats/cvimodel.md 1, 2, 5, 10). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lz4.h"
#include "model.h"
#include "sim/chip.h"
#include "stream.h"

enum { HEADER_OLD = 32, HEADER = 48 };

typedef struct {
  uint64_t body_at, body_size, payload_at;
  char chip[8];
} file_header;

static atomic_uint register_count;

/* Copy [pos, pos + size) of the file. */
static CVI_RC read_at(const rt_source *s, uint64_t pos, void *out, size_t size) {
  if (pos > s->size || size > s->size - pos) {
    return rt_fail(CVI_RC_DATA_ERR, "damaged cvimodel: %zu bytes at %llu, file has %llu", size,
                   (unsigned long long)pos, (unsigned long long)s->size);
  }
  if (s->data) {
    memcpy(out, s->data + pos, size);
    return CVI_RC_SUCCESS;
  }
  for (size_t done = 0; done < size;) {
    ssize_t n = pread(s->fd, (uint8_t *)out + done, size - done, (off_t)(s->start + pos + done));
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return rt_fail(n < 0 ? CVI_RC_INVALID_ARG : CVI_RC_DATA_ERR,
                     "cvimodel: read of %zu bytes: %s", size,
                     n < 0 ? strerror(errno) : "end of file");
    }
    done += (size_t)n;
  }
  return CVI_RC_SUCCESS;
}

static CVI_RC read_header(const rt_source *s, file_header *h) {
  uint8_t raw[HEADER];
  if (s->size <= HEADER) {
    return rt_fail(CVI_RC_INVALID_ARG, "not a cvimodel: %llu bytes, a file has more than %d",
                   (unsigned long long)s->size, HEADER);
  }
  CVI_RC rc = read_at(s, 0, raw, HEADER);
  if (rc) {
    return rc;
  }
  if (memcmp(raw, "CviModel", 8) != 0) {
    return rt_fail(CVI_RC_INVALID_ARG, "not a cvimodel: it does not begin with 'CviModel'");
  }
  bool old = raw[12] == 1 && raw[13] == 0;
  *h = (file_header){.body_at = old ? HEADER_OLD : HEADER};
  for (int i = 0; i < 4; i++) {
    h->body_size |= (uint64_t)raw[8 + i] << (8 * i);
  }
  memcpy(h->chip, old ? "cv183x" : (const char *)raw + 30, 7);
  if (memchr(h->chip, 0, 7) == NULL || !chip_find(h->chip)) {
    h->chip[7] = '\0';
    return rt_fail(CVI_RC_INVALID_ARG,
                   "cvimodel: for chip '%.7s', known are cv183x, cv182x, cv181x, cv180x", h->chip);
  }
  h->payload_at = h->body_at + h->body_size;
  if (h->payload_at > s->size) {
    return rt_fail(CVI_RC_DATA_ERR, "damaged cvimodel: body of %llu bytes, file has %llu",
                   (unsigned long long)h->body_size, (unsigned long long)s->size);
  }
  return CVI_RC_SUCCESS;
}

static CVI_RC load_weights(const rt_source *s, const file_header *h, rt_model *m) {
  if (m->file.weight_section < 0) {
    return CVI_RC_SUCCESS;
  }
  const mf_section *section = &m->file.sections[m->file.weight_section];
  char name[128];
  snprintf(name, sizeof(name), "%.100s:%u", m->file.name, m->number);
  CVI_RC rc = rt_region_alloc(&m->weights, section->size, CVI_ALLOC_WEIGHT, name);
  rc = rc ? rc
          : read_at(s, h->payload_at + section->offset, rt_region_ptr(&m->weights), section->size);
  if (!rc) {
    m->weights.block->read_only = m->weights.offset == 0;
    rc = rt_backend_get()->flush(m->weights.block, m->weights.offset, section->size);
  }
  return rc;
}

/* Replace *bytes by its decompressed form. */
static CVI_RC decompress(const mf_section *s, uint8_t **bytes, size_t *size) {
  uint8_t *plain = rt_zalloc(s->decompressed_size, 1, "decompressed section");
  if (!plain) {
    return CVI_RC_NOMEM;
  }
  bool good = lz4_decode(*bytes, *size, plain, s->decompressed_size);
  rt_free(*bytes);
  *bytes = plain;
  *size = s->decompressed_size;
  return good ? CVI_RC_SUCCESS
              : rt_fail(CVI_RC_DATA_ERR, "damaged cvimodel: section '%.60s': bad lz4 block",
                        s->name);
}

static CVI_RC load_code(const rt_source *s, const file_header *h, rt_model *m, uint32_t index) {
  const mf_section *section = &m->file.sections[index];
  size_t size = section->size;
  uint8_t *bytes = rt_zalloc(size, 1, "command section");
  CVI_RC rc = bytes ? read_at(s, h->payload_at + section->offset, bytes, size) : CVI_RC_NOMEM;
  if (!rc && section->compress) {
    rc = decompress(section, &bytes, &size);
  }
  if (!rc && section->type == MF_SECTION_DMABUF) {
    uint8_t *stream = NULL;
    rc = dmabuf_to_stream(m->chip, bytes, size, &stream, &size);
    rt_free(bytes);
    bytes = stream;
  }
  rc = rc ? rc : rt_backend_get()->code_load(m->chip, bytes, size, false, &m->code[index]);
  rt_free(bytes);
  if (rc == CVI_RC_DATA_ERR || rc == CVI_RC_UNSUPPORT) {
    rt_fail(rc, "section '%.60s': %s", section->name, rt_error_text());
  }
  return rc;
}

static CVI_RC load_sections(const rt_source *s, const file_header *h, rt_model *m) {
  m->code = rt_zalloc(m->file.section_count, sizeof(*m->code), "command sections");
  CVI_RC rc = m->code ? CVI_RC_SUCCESS : CVI_RC_NOMEM;
  for (uint32_t i = 0; i < m->file.section_count && !rc; i++) {
    mf_section_type type = m->file.sections[i].type;
    if (type == MF_SECTION_CMDBUF || type == MF_SECTION_DMABUF) {
      rc = load_code(s, h, m, i);
    }
  }
  return rc ? rc
            : load_weights(s, h, m); /* last: while commands are checked there are two copies */
}

CVI_RC rt_model_load(const rt_source *source, rt_model **out) {
  file_header h;
  CVI_RC rc = read_header(source, &h);
  if (rc) {
    return rc;
  }
  rt_model *m = rt_zalloc(1, sizeof(*m), "model");
  uint8_t *body = m ? rt_zalloc((size_t)h.body_size, 1, "model body") : NULL;
  if (!body) {
    rt_free(m);
    return CVI_RC_NOMEM;
  }
  atomic_init(&m->refs, 1);
  pthread_mutex_init(&m->worker_lock, NULL);
  memcpy(m->chip, h.chip, sizeof(m->chip));
  m->number = atomic_fetch_add(&register_count, 1);
  rc = read_at(source, h.body_at, body, (size_t)h.body_size);
  if (rc) {
    m->file.body = body;
  } else {
    rc = mf_parse(m->chip, body, (uint32_t)h.body_size, source->size - h.payload_at, &m->file);
  }
  rc = rc ? rc : load_sections(source, &h, m);
  if (rc) {
    rt_model_unref(m);
    return rc;
  }
  for (uint32_t i = 0; i < m->file.program_count; i++) {
    uint64_t shared = m->file.programs[i].neuron_size ? 0 : m->file.programs[i].shared_gmem;
    m->shared_need = shared > m->shared_need ? shared : m->shared_need;
  }
  rt_log(RT_LOG_INFO, "model '%s' version %u.%u.%u, built %s, for %s", m->file.name,
         m->file.version[0], m->file.version[1], m->file.version[2],
         m->file.build_time ? m->file.build_time : "?", m->chip);
  *out = m;
  return CVI_RC_SUCCESS;
}

rt_model *rt_model_ref(rt_model *model) {
  atomic_fetch_add(&model->refs, 1);
  return model;
}

void rt_model_unref(rt_model *m) {
  if (atomic_fetch_sub(&m->refs, 1) != 1) {
    return;
  }
  rt_async_stop(m);
  for (uint32_t i = 0; m->code && i < m->file.section_count; i++) {
    if (m->code[i]) {
      rt_backend_get()->code_free(m->code[i]);
    }
  }
  rt_free(m->code);
  if (m->weights.block) {
    m->weights.block->read_only = false;
  }
  rt_region_free(&m->weights);
  mf_free(&m->file);
  pthread_mutex_destroy(&m->worker_lock);
  rt_free(m);
}
