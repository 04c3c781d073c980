/* errors DIR: bad input gives the code and a message that names what is wrong. */
#include <math.h>

#include "check.h"

static char err[EPSBALL_ERR_SIZE];

static void expect(int32_t want, const char *text, int32_t code) {
  if (code != want || strstr(err, text) == NULL) {
    fprintf(stderr, "%s \"%s\", want %s \"%s\"\n", epsball_code_name(code), err, epsball_code_name(want), text);
    exit(1);
  }
}

static void loading(const expected *e) {
  epsball_options o = EPSBALL_OPTIONS_INIT;
  epsball_model *m = (epsball_model *)&o;
  unsigned char *bad = malloc(e->model_size);
#define LOAD(path, options) epsball_load(path, options, &m, err, sizeof err)
#define MEMORY(data, size, name) epsball_load_memory(data, size, name, NULL, &m, err, sizeof err)
  expect(EPSBALL_ERR_FILE, "no/such/file", LOAD("no/such/file", NULL));
  CHECK(m == NULL, "a model");
  expect(EPSBALL_ERR_FILE, "", LOAD("", NULL));
  expect(EPSBALL_ERR_FILE, "/", LOAD("/", NULL));
  expect(EPSBALL_ERR_ARGUMENT, "path", LOAD(NULL, NULL));
  expect(EPSBALL_ERR_ARGUMENT, "model: NULL", epsball_load(e->path, NULL, NULL, err, sizeof err));
  expect(EPSBALL_ERR_MODEL, "memory", MEMORY(NULL, 0, NULL));
  expect(EPSBALL_ERR_ARGUMENT, "data: NULL", MEMORY(NULL, 9, NULL));
  expect(EPSBALL_ERR_MODEL, "cut.safetensors", MEMORY(e->model, e->model_size / 2, "cut.safetensors"));
  expect(EPSBALL_ERR_MODEL, "my.onnx", MEMORY(e->model, e->model_size, "my.onnx"));
  expect(EPSBALL_ERR_MODEL, "my.onnx.gz: gzip", MEMORY(e->model, e->model_size, "my.onnx.gz"));
  memcpy(bad, e->model, e->model_size);
  bad[e->model_size - 1] = 0x7f; /* the last weight becomes NaN */
  bad[e->model_size - 2] = 0xff;
  expect(EPSBALL_ERR_MODEL, "NaN", MEMORY(bad, e->model_size, NULL));
  free(bad);
  o.isa = "avx1024";
  expect(EPSBALL_ERR_UNSUPPORTED, "avx1024", LOAD(e->path, &o));
  o.isa = NULL;
  o.threads = 4000000000u;
  expect(EPSBALL_ERR_ARGUMENT, "threads", LOAD(e->path, &o));
  o.threads = 1;
  o.few_images = 2;
  expect(EPSBALL_ERR_ARGUMENT, "few_images", LOAD(e->path, &o));
  o.few_images = 0;
  o.in_place = 2;
  expect(EPSBALL_ERR_ARGUMENT, "in_place", LOAD(e->path, &o));
  o.in_place = 0;
  o.struct_size = 0;
  expect(EPSBALL_ERR_ARGUMENT, "struct_size", LOAD(e->path, &o));
  {
    struct {
      epsball_options o;
      uint32_t later;
    } newer;
    memset(&newer, 0, sizeof newer);
    newer.o.struct_size = sizeof newer;
    newer.o.threads = 1;
    expect(EPSBALL_OK, "", LOAD(e->path, &newer.o));
    CHECK(epsball_close(m) == EPSBALL_OK, "close");
    newer.later = 1;
    expect(EPSBALL_ERR_UNSUPPORTED, "does not know", LOAD(e->path, &newer.o));
  }
  o.struct_size = 8; /* an older program: no more than the threads */
  o.few_images = 77;
  expect(EPSBALL_OK, "", LOAD(e->path, &o));
  CHECK(epsball_close(m) == EPSBALL_OK, "close");
}

static void classifying(epsball_model *m, expected *e) {
  int32_t labels[4] = {5, 5, 5, 5};
  float keep = e->images[IMAGE + 5];
#define CLASSIFY(images, n) epsball_classify(m, images, n, labels, NULL, err, sizeof err)
  expect(EPSBALL_ERR_ARGUMENT, "images: NULL", CLASSIFY(NULL, 2));
  CHECK(labels[0] == -1 && labels[1] == -1 && labels[2] == 5, "labels of a failure");
  expect(EPSBALL_ERR_ARGUMENT, "n is -1", CLASSIFY(e->images, -1));
  expect(EPSBALL_ERR_ARGUMENT, "n is 9223372036854775807", CLASSIFY(e->images, INT64_MAX));
  expect(EPSBALL_ERR_ARGUMENT, "n is 2147483648", CLASSIFY(e->images, (int64_t)INT32_MAX + 1));
  e->images[IMAGE + 5] = NAN;
  expect(EPSBALL_ERR_ARGUMENT, "pixel 5 of image 1 is NaN", CLASSIFY(e->images, 2));
  e->images[IMAGE + 5] = 1.5f;
  expect(EPSBALL_ERR_ARGUMENT, "1.5", CLASSIFY(e->images, 2));
  e->images[IMAGE + 5] = keep;
  expect(EPSBALL_OK, "", CLASSIFY(e->images, 2));
}

static void attacking(epsball_model *m, expected *e) {
  epsball_attack_options o = the_attack();
  unsigned char outcomes[2] = {0, 0};
  int32_t far[2] = {3, 10};
#define ATTACK(labels, norm, eps) \
  epsball_attack(m, e->images, 2, labels, norm, eps, &o, NULL, outcomes, err, sizeof err)
  expect(EPSBALL_ERR_ARGUMENT, "l3", ATTACK(e->labels, "l3", "0.1"));
  CHECK(outcomes[0] == EPSBALL_NOT_DONE && outcomes[1] == EPSBALL_NOT_DONE, "outcomes of a failure");
  expect(EPSBALL_ERR_ARGUMENT, "l0", ATTACK(e->labels, "l0", "3"));
  expect(EPSBALL_ERR_ARGUMENT, "norm \"\"", ATTACK(e->labels, NULL, "0.1"));
  expect(EPSBALL_ERR_ARGUMENT, "-0.1", ATTACK(e->labels, "linf", "-0.1"));
  expect(EPSBALL_ERR_ARGUMENT, "epsilon", ATTACK(e->labels, "linf", "nan"));
  expect(EPSBALL_ERR_ARGUMENT, "epsilon", ATTACK(e->labels, "linf", NULL));
  expect(EPSBALL_ERR_ARGUMENT, "8/255", ATTACK(e->labels, "linf", "8"));
  expect(EPSBALL_ERR_ARGUMENT, "label of image 1 is 10", ATTACK(far, "linf", "0.1"));
  expect(EPSBALL_ERR_ARGUMENT, "labels: NULL", ATTACK(NULL, "linf", "0.1"));
  o.steps = 4000000000u;
  expect(EPSBALL_ERR_ARGUMENT, "steps", ATTACK(e->labels, "linf", "0.1"));
  o.steps = 8;
  o.step_size = NAN;
  expect(EPSBALL_ERR_ARGUMENT, "step-size", ATTACK(e->labels, "linf", "0.1"));
  o.step_size = 0;
  o.method = "fgsm";
  expect(EPSBALL_ERR_ARGUMENT, "fgsm", ATTACK(e->labels, "linf", "0.1"));
  o.method = "cw";
  expect(EPSBALL_ERR_ARGUMENT, "cw", ATTACK(e->labels, "linf", "0.1"));
  o.method = "pgd";
  o.random_start = 1;
  expect(EPSBALL_ERR_ARGUMENT, "random_start", ATTACK(e->labels, "linf", "0.1"));
  o.random_start = 0;
  o.lattice = 9;
  expect(EPSBALL_ERR_ARGUMENT, "lattice: 9 bits", ATTACK(e->labels, "linf", "0.1"));
  o.lattice = 8;
  expect(EPSBALL_OK, "", ATTACK(e->labels, "linf", "0.1"));
  o.lattice = 0;
  o.method = "pgd:steps=3";
  expect(EPSBALL_ERR_ARGUMENT, "steps: 8, want 0 with method pgd:steps=3", ATTACK(e->labels, "linf", "0.1"));
  o.method = "apgd:momentum=1";
  expect(EPSBALL_ERR_ARGUMENT, "momentum: unknown option", ATTACK(e->labels, "linf", "0.1"));
  o.method = "apgd:rho=0.5,loss=dlr";
  expect(EPSBALL_OK, "", ATTACK(e->labels, "linf", "0.1"));
  o.method = "pgd";
  expect(EPSBALL_ERR_ARGUMENT, "outcomes: NULL",
         epsball_attack(m, e->images, 2, e->labels, "linf", "0.1", &o, NULL, NULL, err, sizeof err));
  o = (epsball_attack_options)EPSBALL_ATTACK_OPTIONS_INIT;
  o.method = "fgsm";
  o.random_start = 1;
  expect(EPSBALL_OK, "", ATTACK(e->labels, "linf", "0.1"));
}

static void certifying(epsball_model *m, expected *e) {
  epsball_certify_options o = {sizeof o, 0, "guess"};
  unsigned char robust[2] = {1, 1};
  float margins[2] = {1, 1};
  expect(EPSBALL_ERR_ARGUMENT, "guess",
         epsball_certify(m, e->images, 2, e->labels, "linf", "0.1", &o, robust, margins, err, sizeof err));
  CHECK(!robust[0] && !robust[1] && margins[0] == -INFINITY && margins[1] == -INFINITY, "proofs of a failure");
  expect(EPSBALL_ERR_ARGUMENT, "epsilon",
         epsball_certify(m, e->images, 2, e->labels, "linf", "1e", NULL, robust, margins, err, sizeof err));
  expect(EPSBALL_ERR_ARGUMENT, "robust: NULL",
         epsball_certify(m, e->images, 2, e->labels, "linf", "0.1", NULL, NULL, margins, err, sizeof err));
  robust[0] = 1;
  expect(EPSBALL_ERR_HANDLE, "NULL or closed",
         epsball_certify(NULL, e->images, 2, e->labels, "linf", "0.1", NULL, robust, margins, err, sizeof err));
  CHECK(!robust[0], "proof without a model");
  expect(EPSBALL_OK, "",
         epsball_certify(m, e->images, 2, e->labels, "l1", "0", NULL, robust, margins, err, sizeof err));
}

static void handles(epsball_model *m, expected *e) {
  epsball_info i;
  int32_t label;
  epsball_model *closed = m, *wild = (epsball_model *)(uintptr_t)0xdeadbeef;
  memset(&i, 0, sizeof i);
  expect(EPSBALL_ERR_ARGUMENT, "struct_size", epsball_get_info(m, &i, err, sizeof err));
  expect(EPSBALL_ERR_ARGUMENT, "info: NULL", epsball_get_info(m, NULL, err, sizeof err));
  CHECK(epsball_close(m) == EPSBALL_OK, "close");
  expect(EPSBALL_OK, "", LOAD(e->path, NULL));
  CHECK(m != closed, "a handle used twice");
  i.struct_size = sizeof i;
  expect(EPSBALL_ERR_HANDLE, "NULL or closed", epsball_get_info(closed, &i, err, sizeof err));
  CHECK(i.classes == 0, "info of a failure");
  expect(EPSBALL_ERR_HANDLE, "NULL or closed", epsball_classify(closed, e->images, 1, &label, NULL, err, sizeof err));
  expect(EPSBALL_ERR_HANDLE, "NULL or closed", epsball_classify(wild, e->images, 1, &label, NULL, err, sizeof err));
  expect(EPSBALL_ERR_HANDLE, "NULL or closed", epsball_classify(NULL, e->images, 1, &label, NULL, err, sizeof err));
  CHECK(epsball_close(closed) == EPSBALL_ERR_HANDLE, "closed twice");
  CHECK(epsball_close(NULL) == EPSBALL_ERR_HANDLE, "closed NULL");
  CHECK(epsball_cancel(closed) == EPSBALL_ERR_HANDLE, "cancelled a closed one");
  expect(EPSBALL_OK, "", epsball_classify(m, e->images, 1, &label, NULL, err, sizeof err));
  CHECK(epsball_close(m) == EPSBALL_OK, "close");
}

/* Messages fit, whole characters and a NUL, and nobody has to want one. */
static void messages(expected *e) {
  epsball_model *m;
  char small[8];
  size_t size;
  memset(small, 'x', sizeof small);
  for (size = 0; size <= sizeof small; size++) {
    CHECK(epsball_load("\xc3\xa4/\xc3\xa4\xc3\xa4", NULL, &m, small, size) == EPSBALL_ERR_FILE, "code");
    CHECK(size == 0 || strlen(small) < size, small);
    CHECK(size == sizeof small || small[size] == 'x', small);
  }
  CHECK(epsball_load(e->path, NULL, &m, NULL, 99) == EPSBALL_OK, "load");
  CHECK(epsball_classify(m, e->images, -1, NULL, NULL, NULL, 99) == EPSBALL_ERR_ARGUMENT, "code");
  CHECK(epsball_close(m) == EPSBALL_OK, "close");
  CHECK(strcmp(epsball_code_name(EPSBALL_ERR_INTERNAL), "EPSBALL_ERR_INTERNAL") == 0, "name");
  CHECK(strcmp(epsball_code_name(-1), "unknown code") == 0, "name");
  CHECK(strcmp(epsball_code_name(9), "unknown code") == 0, "name");
}

int main(int argc, char **argv) {
  expected e;
  epsball_model *m;
  (void)get_mode;
  (void)set_mode;
  (void)modes;
  CHECK(argc == 2, "usage: errors DIR");
  e = read_expected(argv[1]);
  loading(&e);
  expect(EPSBALL_OK, "", LOAD(e.path, NULL));
  classifying(m, &e);
  attacking(m, &e);
  certifying(m, &e);
  handles(m, &e);
  messages(&e);
  puts("ok");
  return 0;
}
