/* Parts of the runtime that write commands, on files.
 *
 *   convert CHIP todma|tostream IN OUT    the conversions of src/model/stream.c
 *   convert CHIP matmul M,K,N,SIGNED OUT  the commands of a matrix product (src/soc/matmul.c) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/stream.h"
#include "soc/matmul.h"

static CVI_RC matmul(const char *chip, const char *text, uint8_t **out, size_t *size) {
  unsigned m, k, n, is_signed;
  if (sscanf(text, "%u,%u,%u,%u", &m, &k, &n, &is_signed) != 4) {
    return CVI_RC_FAILURE;
  }
  return matmul_commands(chip, is_signed != 0, m, k, n, out, size);
}

static CVI_RC convert(const char *chip, bool to_dma, const char *path, uint8_t **out,
                      size_t *out_size) {
  FILE *in = fopen(path, "rb");
  if (!in) {
    return CVI_RC_FAILURE;
  }
  fseek(in, 0, SEEK_END);
  size_t size = (size_t)ftell(in);
  rewind(in);
  uint8_t *data = malloc(size + 1);
  bool good = fread(data, 1, size, in) == size;
  fclose(in);
  CVI_RC rc = !good    ? CVI_RC_FAILURE
              : to_dma ? stream_to_dmabuf(chip, data, size, out, out_size)
                       : dmabuf_to_stream(chip, data, size, out, out_size);
  free(data);
  return rc;
}

int main(int argc, char **argv) {
  if (argc != 5) {
    return 2;
  }
  uint8_t *out = NULL;
  size_t size = 0;
  CVI_RC rc = strcmp(argv[2], "matmul") == 0
                  ? matmul(argv[1], argv[3], &out, &size)
                  : convert(argv[1], strcmp(argv[2], "todma") == 0, argv[3], &out, &size);
  if (rc) {
    printf("%d %s\n", rc, CVI_NN_GetLastError());
    return 1;
  }
  FILE *file = fopen(argv[4], "wb");
  bool written = file && fwrite(out, 1, size, file) == size;
  rt_free(out);
  return !(file && fclose(file) == 0 && written);
}
