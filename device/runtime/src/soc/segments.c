/* Checked pieces of command streams. */
#include "segments.h"

#include "model/stream.h"
#include "sim/internal.h"

enum { TEXT_BYTES = 256 };

/* At load time everything wrong is wrong content of the file. */
CVI_RC rt_segments_error(int code, const char *text) {
  static const CVI_RC codes[] = {
      [TPU_SIM_NOMEM] = CVI_RC_NOMEM,       [TPU_SIM_BAD_STREAM] = CVI_RC_DATA_ERR,
      [TPU_SIM_RANGE] = CVI_RC_DATA_ERR,    [TPU_SIM_UNSUPPORTED] = CVI_RC_UNSUPPORT,
      [TPU_SIM_DEADLOCK] = CVI_RC_DATA_ERR,
  };
  CVI_RC rc = code > 0 && code <= TPU_SIM_DEADLOCK ? codes[code] : CVI_RC_FAILURE;
  return rt_fail(rc, "commands: %s", *text ? text : "out of memory");
}

static uint32_t count_segments(const char *chip, const uint8_t *stream, size_t size) {
  uint32_t count = 0;
  do {
    size_t length = stream_segment(chip, stream, size);
    stream += length;
    size -= length;
    count++;
  } while (size);
  return count;
}

CVI_RC rt_segments_load(const char *chip, const uint8_t *stream, size_t size, rt_segments **out) {
  uint32_t count = count_segments(chip, stream, size);
  rt_segments *s = rt_zalloc(1, sizeof(*s) + count * sizeof(s->program[0]), "commands");
  if (!s) {
    return CVI_RC_NOMEM;
  }
  s->count = count;
  CVI_RC rc = CVI_RC_SUCCESS;
  for (uint32_t i = 0; i < count && !rc; i++) {
    char text[TEXT_BYTES] = "";
    size_t length = stream_segment(chip, stream, size);
    int code = tpu_program_create(chip, stream, length, &s->program[i], text, sizeof(text));
    rc = code == TPU_SIM_OK ? CVI_RC_SUCCESS : rt_segments_error(code, text);
    stream += length;
    size -= length;
  }
  if (rc) {
    rt_segments_free(s);
    s = NULL;
  }
  *out = s;
  return rc;
}

void rt_segments_free(rt_segments *s) {
  for (uint32_t i = 0; i < s->count; i++) {
    tpu_program_destroy(s->program[i]);
  }
  rt_free(s);
}

CVI_RC rt_segments_check(const rt_segments *s, const uint64_t size[8]) {
  for (uint32_t i = 0; i < s->count; i++) {
    char text[TEXT_BYTES] = "";
    int code = tpu_program_check(s->program[i], size, text, sizeof(text));
    if (code != TPU_SIM_OK) {
      return rt_segments_error(code, text);
    }
  }
  return CVI_RC_SUCCESS;
}

uint64_t rt_segments_extent(const rt_segments *s, uint32_t k, bool write) {
  uint64_t end = 0;
  for (uint32_t i = 0; i < s->count; i++) {
    uint64_t here = write ? s->program[i]->region[k].write_end : s->program[i]->region[k].read_end;
    end = here > end ? here : end;
  }
  return end;
}

#ifndef TPU_HAVE_SIMULATOR
/* The decoder asks for the scratch memory of the simulator's kernels: boards have none. */
size_t conv_scratch(const tiu_cmd *t, size_t area) { return (void)t, (void)area, 0; }
size_t window_scratch(const tiu_cmd *t, int sums, size_t area) {
  return (void)t, (void)sums, (void)area, 0;
}
size_t matrix_scratch(const tiu_cmd *t, size_t area) { return (void)t, (void)area, 0; }
#endif
