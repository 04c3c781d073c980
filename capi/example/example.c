/* example MODEL IMAGE: classifies an image, a file of float32 in [0, 1], channels first,
 * and says whether every image within 0.1 of it is proved to be classified so.
 *
 *   cc example.c -I.. -L.. -lepsball -Wl,-rpath,.. -o example
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

int main(int argc, char **argv) {
  epsball_options options = EPSBALL_OPTIONS_INIT;
  epsball_certify_options how = EPSBALL_CERTIFY_OPTIONS_INIT;
  epsball_info info = EPSBALL_INFO_INIT;
  epsball_model *model;
  int32_t label, code;
  uint8_t robust;
  float margin, *image;
  size_t size;
  FILE *f;

  if (argc != 3) {
    fputs("usage: example MODEL IMAGE\n", stderr);
    return 2;
  }
  options.threads = 1;
  options.few_images = 1;
  must(epsball_load(argv[1], &options, &model, err, sizeof err));
  must(epsball_get_info(model, &info, err, sizeof err));
  size = (size_t)info.channels * info.rows * info.columns;
  image = malloc(size * sizeof *image);
  f = fopen(argv[2], "rb");
  if (image == NULL || f == NULL || fread(image, sizeof *image, size, f) != size) {
    fprintf(stderr, "%s: want %lu float32\n", argv[2], (unsigned long)size);
    return 2;
  }
  must(epsball_classify(model, image, 1, &label, NULL, err, sizeof err));
  how.method = "crown";
  how.timeout_ms = 1000;
  code = epsball_certify(model, image, 1, &label, "linf", "0.1", &how, &robust, &margin, err, sizeof err);
  if (code != EPSBALL_ERR_TIMEOUT) {
    must(code);
  }
  printf("class %d, %s for linf 0.1, margin %g\n", (int)label, robust ? "proved" : "not proved", margin);
  fclose(f);
  free(image);
  epsball_close(model);
  return 0;
}
