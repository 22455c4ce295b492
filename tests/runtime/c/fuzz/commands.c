/* libFuzzer: a command stream or a dma buffer through conversion, decoder and, if it is little
 * work, the simulator. First byte: bits 0, 1 the chip, bit 2 a dma buffer. */
#include <stdlib.h>
#include <string.h>

#include "model/stream.h"
#include "sim/internal.h"
#include "soc/segments.h"

enum { MOST_WORK = 1 << 22, REGION = 1 << 16 };

static const char *const chips[4] = {"cv183x", "cv182x", "cv181x", "cv180x"};

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  CVI_NN_Global_SetLogLevel(-1);
  return 0;
}

static void run(const char *chip, const rt_segments *code) {
  tpu_sim *sim;
  uint64_t work = 0;
  for (uint32_t i = 0; i < code->count; i++) {
    work += code->program[i]->work;
  }
  if (work > MOST_WORK || tpu_sim_create(chip, &sim)) {
    return;
  }
  tpu_region regions[8];
  for (int k = 0; k < 8; k++) { /* exact blocks, so that every byte behind them is noticed */
    regions[k] = (tpu_region){calloc(REGION, 1), REGION, 1};
  }
  char text[256];
  int rc = TPU_SIM_OK;
  for (uint32_t i = 0; i < code->count && rc == TPU_SIM_OK; i++) {
    rc = tpu_sim_run(sim, code->program[i], regions, text, sizeof(text));
  }
  for (int k = 0; k < 8; k++) {
    free(regions[k].data);
  }
  tpu_sim_destroy(sim);
}

/* Framing that the decoder takes converts, and back to the same number of bytes. */
static void convert(const char *chip, const uint8_t *stream, size_t size) {
  uint8_t *dmabuf = NULL, *back = NULL;
  size_t dmabuf_size = 0, back_size = 0;
  if (stream_to_dmabuf(chip, stream, size, &dmabuf, &dmabuf_size)) {
    return;
  }
  if (dmabuf_to_stream(chip, dmabuf, dmabuf_size, &back, &back_size) || back_size != size) {
    abort();
  }
  dmabuf_relocate(dmabuf, 0x80000000, 0);
  rt_free(dmabuf);
  rt_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1) {
    return 0;
  }
  const char *chip = chips[data[0] & 3];
  const uint8_t *stream = data + 1;
  uint8_t *converted = NULL;
  size--;
  if (data[0] & 4) {
    if (dmabuf_to_stream(chip, stream, size, &converted, &size)) {
      return 0;
    }
    stream = converted;
  }
  rt_segments *code;
  if (rt_segments_load(chip, stream, size, &code) == CVI_RC_SUCCESS) {
    convert(chip, stream, size);
    run(chip, code);
    rt_segments_free(code);
  }
  rt_free(converted);
  return 0;
}
