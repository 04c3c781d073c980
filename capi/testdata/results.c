/* results DIR: every result is, bit for bit, that of the Go API, whatever the
 * floating-point mode of the caller, which it keeps. Valid C99 and C++. */
#include "check.h"

static char err[EPSBALL_ERR_SIZE];
static expected want;

/* Calls in a mode, which must be the same afterwards. */
static unsigned long long mode;
static int32_t code;
#define IN_MODE(call)                          \
  do {                                         \
    unsigned long long own = get_mode(), left; \
    set_mode(mode);                            \
    code = (call);                             \
    left = get_mode();                         \
    set_mode(own);                             \
    CHECK(left == mode, "mode changed");       \
    CHECK(code == EPSBALL_OK, err);            \
    CHECK(err[0] == 0, err);                   \
  } while (0)

static void *room(size_t size) {
  void *p = malloc(size);
  CHECK(p != NULL, "out of memory");
  memset(p, 0x5a, size);
  return p;
}

static void same(const void *got, const void *expect, size_t size, const char *what) {
  const unsigned char *g = (const unsigned char *)got, *e = (const unsigned char *)expect;
  size_t i;
  for (i = 0; i < size; i++) {
    if (g[i] != e[i]) {
      fprintf(stderr, "mode %llx: %s differ at byte %lu\n", mode, what, (unsigned long)i);
      exit(1);
    }
  }
}

static void classify(epsball_model *m) {
  int32_t *labels = (int32_t *)room(4 * N);
  float *logits = (float *)room(4 * N * CLASSES);
  int64_t n, sizes[] = {N, 1, 17, 0};
  size_t i;
  for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    n = sizes[i];
    IN_MODE(epsball_classify(m, want.images, n, labels, logits, err, sizeof err));
    same(logits, want.logits, 4 * CLASSES * (size_t)n, "logits");
    same(labels, want.predicted, 4 * (size_t)n, "predictions");
  }
  free(labels);
  free(logits);
}

static void few(epsball_model *m) {
  int32_t labels[3] = {-7, -7, -7};
  float logits[3 * CLASSES];
  IN_MODE(epsball_classify(m, want.images, 3, labels, NULL, err, sizeof err));
  same(labels, want.predicted, sizeof labels, "predictions without logits");
  IN_MODE(epsball_classify(m, want.images, 3, NULL, logits, err, sizeof err));
  same(logits, want.logits, sizeof logits, "logits without predictions");
  IN_MODE(epsball_classify(m, NULL, 0, NULL, NULL, err, sizeof err));
}

static void attack(epsball_model *m) {
  epsball_attack_options o = the_attack();
  float *adversarial = (float *)room(4 * N * IMAGE);
  unsigned char *outcomes = (unsigned char *)room(N);
  IN_MODE(epsball_attack(m, want.images, N, want.labels, "linf", "0.1", &o, adversarial, outcomes, err, sizeof err));
  same(adversarial, want.adversarial, 4 * N * IMAGE, "adversarial images");
  same(outcomes, want.outcomes, N, "outcomes");
  /* A few, in place. */
  memcpy(adversarial, want.images, 4 * 3 * IMAGE);
  IN_MODE(epsball_attack(m, adversarial, 3, want.labels, "linf", "1/10", &o, adversarial, outcomes, err, sizeof err));
  same(adversarial, want.adversarial, 4 * 3 * IMAGE, "adversarial images in place");
  /* Defaults and no images wanted. */
  IN_MODE(epsball_attack(m, want.images, 2, want.labels, "l2", "0.5", NULL, NULL, outcomes, err, sizeof err));
  free(adversarial);
  free(outcomes);
}

static void certify(epsball_model *m) {
  epsball_certify_options o = EPSBALL_CERTIFY_OPTIONS_INIT;
  unsigned char *robust = (unsigned char *)room(N);
  float *margins = (float *)room(4 * N);
  IN_MODE(epsball_certify(m, want.images, N, want.labels, "linf", "0.1", NULL, robust, margins, err, sizeof err));
  same(robust, want.robust, N, "certificates");
  same(margins, want.margins, 4 * N, "margins");
  o.method = "crown";
  IN_MODE(epsball_certify(m, want.images, SLOW, want.labels, "linf", "8/255", &o, robust, margins, err, sizeof err));
  same(margins, want.crown, 4 * SLOW, "margins of linear bounds");
  free(robust);
  free(margins);
}

static void info(epsball_model *m) {
  epsball_info i = EPSBALL_INFO_INIT;
  struct {
    epsball_info i;
    uint64_t later;
  } newer;
  IN_MODE(epsball_get_info(m, &i, err, sizeof err));
  CHECK(i.channels == 1 && i.rows == 28 && i.columns == 28 && i.classes == CLASSES, "shape");
  CHECK(memcmp(i.hash, want.hash, 64) == 0 && i.hash[64] == 0, i.hash);
  CHECK(i.bytes > 1000 && i.struct_size == sizeof i, "info");
  /* Structs of programs that are older and newer than the library. */
  memset(&i, 0x7f, sizeof i);
  i.struct_size = 8;
  IN_MODE(epsball_get_info(m, &i, err, sizeof err));
  CHECK(i.classes == CLASSES && i.channels == 0x7f7f7f7f, "older struct");
  memset(&newer, 0x7f, sizeof newer);
  newer.i.struct_size = sizeof newer;
  IN_MODE(epsball_get_info(m, &newer.i, err, sizeof err));
  CHECK(newer.i.classes == CLASSES && newer.later == 0, "newer struct");
}

#ifdef CONTROL
/* Past the public function the caller's mode reaches the numbers: else the checks above
 * would show nothing. */
int32_t epsball_go_classify(uintptr_t, const float *, int64_t, int32_t *, float *, char *, size_t);
static void control(epsball_model *m) {
  float *logits = (float *)room(4 * N * CLASSES);
  unsigned long long own = get_mode();
  set_mode(modes[1]);
  code = epsball_go_classify((uintptr_t)m, want.images, N, NULL, logits, err, sizeof err);
  set_mode(own);
  CHECK(code == EPSBALL_OK, err);
  CHECK(memcmp(logits, want.logits, 4 * N * CLASSES) != 0, "the mode makes no difference");
}
#endif

#ifdef __cplusplus
extern "C"
#endif
int run(int argc, char **argv);
int run(int argc, char **argv) {
  epsball_options o = EPSBALL_OPTIONS_INIT;
  epsball_model *m, *second;
  size_t i;
  CHECK(argc == 2, "usage: results DIR");
  CHECK(epsball_abi_version() == EPSBALL_ABI_VERSION, "version of the interface");
  CHECK(strlen(epsball_version()) > 0, "version");
  want = read_expected(argv[1]);
  for (i = 0; i < sizeof modes / sizeof *modes; i++) {
    mode = modes[i];
    o.threads = i % 2 == 0 ? 2 : 1;
    o.few_images = i % 2;
    o.in_place = i / 2 % 2; /* rows of float32 are packed all the same */
    IN_MODE(epsball_load(want.path, &o, &m, err, sizeof err));
    IN_MODE(epsball_load_memory(want.model, want.model_size, NULL, &o, &second, err, sizeof err));
    info(m);
    classify(m);
    few(m);
    attack(second);
    certify(m);
#ifdef CONTROL
    if (o.threads == 1) { /* with two, the other may do all of it */
      control(m);
    }
#endif
    IN_MODE(epsball_close(m));
    IN_MODE(epsball_close(second));
  }
  o.isa = "generic"; /* takes its time */
  IN_MODE(epsball_load(want.path, &o, &m, err, sizeof err));
  few(m);
  IN_MODE(epsball_close(m));
  puts("ok");
  return 0;
}

#ifndef PLUGIN
int main(int argc, char **argv) { return run(argc, argv); }
#endif
