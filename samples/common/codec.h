/* JPEG and PNG through the stb single-file libraries; without them (SAMPLES_NO_STB) both functions
 * say so. */
#ifndef SAMPLES_CODEC_H
#define SAMPLES_CODEC_H

#include "image.h"

bool codec_load(Image *image, const char *path);
bool codec_save(const Image *image, const char *path);

#endif
