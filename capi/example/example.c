/* example MODEL IMAGE.pgm: classifies an image, a binary PGM file, and says whether
 * every image within 0.1 of it is proved to be classified so. capi/README.md says how to
 * build and run it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "epsball.h"

static char err[EPSBALL_ERR_SIZE];

static void must(int32_t code) {
  if (code != EPSBALL_OK) {
    fprintf(stderr, "%s: %s\n", epsball_code_name(code), err);
    exit(2);
  }
}

/* read_pgm reads a grey image of the given size as float32 in [0, 1]. */
static float *read_pgm(const char *name, unsigned rows, unsigned columns) {
  unsigned width, height, most;
  size_t i, size = (size_t)rows * columns;
  float *image = (float *)malloc(size * sizeof *image);
  FILE *f = fopen(name, "rb");
  if (image == NULL || f == NULL || fscanf(f, "P5 %u %u %u", &width, &height, &most) != 3 || fgetc(f) == EOF ||
      width != columns || height != rows || most != 255) {
    fprintf(stderr, "%s: want a binary PGM file of %ux%u pixels, up to 255\n", name, columns, rows);
    exit(2);
  }
  for (i = 0; i < size; i++) {
    int pixel = fgetc(f);
    if (pixel == EOF) {
      fprintf(stderr, "%s: cut short\n", name);
      exit(2);
    }
    image[i] = (float)pixel / 255;
  }
  fclose(f);
  return image;
}

int main(int argc, char **argv) {
  epsball_options options = EPSBALL_OPTIONS_INIT;
  epsball_certify_options how = EPSBALL_CERTIFY_OPTIONS_INIT;
  epsball_info info = EPSBALL_INFO_INIT;
  epsball_model *model;
  int32_t label, code;
  uint8_t robust;
  float margin, *image;

  if (argc != 3) {
    fputs("usage: example MODEL IMAGE.pgm\n", stderr);
    return 2;
  }
  options.threads = 1;
  options.few_images = 1;
  must(epsball_load(argv[1], &options, &model, err, sizeof err));
  must(epsball_get_info(model, &info, err, sizeof err));
  if (info.channels != 1) {
    fprintf(stderr, "%s: takes images of %u channels, want 1\n", argv[1], (unsigned)info.channels);
    return 2;
  }
  image = read_pgm(argv[2], info.rows, info.columns);
  must(epsball_classify(model, image, 1, &label, NULL, err, sizeof err));
  how.method = "crown";
  how.timeout_ms = 1000;
  code = epsball_certify(model, image, 1, &label, "linf", "0.1", &how, &robust, &margin, err, sizeof err);
  if (code != EPSBALL_ERR_TIMEOUT) {
    must(code);
  }
  printf("class %d, %s for linf 0.1, margin %g\n", (int)label, robust ? "proved" : "not proved", margin);
  free(image);
  epsball_close(model);
  return 0;
}
