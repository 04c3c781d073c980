/* What the test programs share: data that Go wrote, checks, floating-point modes. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "epsball.h"

#define CHECK(want, what)                                                               \
  do {                                                                                  \
    if (!(want)) {                                                                      \
      fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #want, (const char *)what); \
      exit(1);                                                                          \
    }                                                                                   \
  } while (0)

/* What the Go API says of n images: image values each, 10 classes. */
enum { N = 100, IMAGE = 784, CLASSES = 10, SLOW = 2 };

typedef struct {
  char path[4096];
  unsigned char *model;
  size_t model_size;
  float *images, *logits, *adversarial, *margins, *crown;
  int32_t *labels, *predicted;
  unsigned char *outcomes, *robust, *hash;
} expected;

/* Reads a file of the folder; of any size if size is 0. */
static unsigned char *read_file(const char *dir, const char *name, size_t size, size_t *got) {
  static char path[4096];
  unsigned char *data;
  long n;
  FILE *f;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  f = fopen(path, "rb");
  CHECK(f != NULL, path);
  fseek(f, 0, SEEK_END);
  n = ftell(f);
  rewind(f);
  CHECK(n > 0 && (size == 0 || (size_t)n == size), path);
  data = (unsigned char *)malloc((size_t)n + 1);
  CHECK(data != NULL && fread(data, 1, (size_t)n, f) == (size_t)n, path);
  data[n] = 0;
  fclose(f);
  if (got != NULL) {
    *got = (size_t)n;
  }
  return data;
}

static expected read_expected(const char *dir) {
  expected e;
  snprintf(e.path, sizeof e.path, "%s/model.safetensors", dir);
  e.model = read_file(dir, "model.safetensors", 0, &e.model_size);
  e.images = (float *)read_file(dir, "images.f32", 4 * N * IMAGE, NULL);
  e.labels = (int32_t *)read_file(dir, "labels.i32", 4 * N, NULL);
  e.logits = (float *)read_file(dir, "logits.f32", 4 * N * CLASSES, NULL);
  e.predicted = (int32_t *)read_file(dir, "predicted.i32", 4 * N, NULL);
  e.adversarial = (float *)read_file(dir, "adversarial.f32", 4 * N * IMAGE, NULL);
  e.outcomes = read_file(dir, "outcomes.u8", N, NULL);
  e.robust = read_file(dir, "robust.u8", N, NULL);
  e.margins = (float *)read_file(dir, "margins.f32", 4 * N, NULL);
  e.crown = (float *)read_file(dir, "crown.f32", 4 * SLOW, NULL);
  e.hash = read_file(dir, "hash", 64, NULL);
  return e;
}

/* The attack that expected.adversarial is of. */
static epsball_attack_options the_attack(void) {
  epsball_attack_options o = EPSBALL_ATTACK_OPTIONS_INIT;
  o.method = "pgd";
  o.steps = 8;
  o.restarts = 2;
  o.seed = 7;
  return o;
}

/* The floating-point modes of hosts: rounding to zero with denormals flushed and taken
 * for zero (as -ffast-math and audio hosts have it), rounding up, rounding down with
 * sticky flags set, and exceptions that trap. */
#if defined(__x86_64__)
static const unsigned long long modes[] = {0x1f80, 0xffc0, 0x5f80, 0x3fbf, 0x0000, 0x6040};
static unsigned long long get_mode(void) {
  unsigned m;
  __asm__ volatile("stmxcsr %0" : "=m"(m));
  return m;
}
static void set_mode(unsigned long long mode) {
  unsigned m = (unsigned)mode;
  __asm__ volatile("ldmxcsr %0" : : "m"(m) : "memory");
}
#elif defined(__aarch64__)
static const unsigned long long modes[] = {0, 0x1c00000, 0x400000, 0x800000, 0x1000000};
static unsigned long long get_mode(void) {
  unsigned long long m;
  __asm__ volatile("mrs %0, fpcr" : "=r"(m));
  return m;
}
static void set_mode(unsigned long long mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory"); }
#else
static const unsigned long long modes[] = {0};
static unsigned long long get_mode(void) { return 0; }
static void set_mode(unsigned long long mode) { (void)mode; }
#endif

#endif
