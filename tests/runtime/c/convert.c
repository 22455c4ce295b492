/* convert CHIP todma|tostream IN OUT: the conversions of src/model/stream.c on files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/stream.h"

int main(int argc, char **argv) {
  if (argc != 5) {
    return 2;
  }
  FILE *in = fopen(argv[3], "rb");
  if (!in) {
    return 2;
  }
  fseek(in, 0, SEEK_END);
  size_t size = (size_t)ftell(in), out_size = 0;
  rewind(in);
  uint8_t *data = malloc(size + 1), *out = NULL;
  if (fread(data, 1, size, in) != size) {
    return 2;
  }
  fclose(in);
  CVI_RC rc = strcmp(argv[2], "todma") == 0
                  ? stream_to_dmabuf(argv[1], data, size, &out, &out_size)
                  : dmabuf_to_stream(argv[1], data, size, &out, &out_size);
  free(data);
  if (rc) {
    printf("%d %s\n", rc, CVI_NN_GetLastError());
    return 1;
  }
  FILE *file = fopen(argv[4], "wb");
  fwrite(out, 1, out_size, file);
  fclose(file);
  rt_free(out);
  return 0;
}
