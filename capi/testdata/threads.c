/* threads DIR: calls from many threads on one model, cancelled, out of time, closed
 * while they run; models that come and go leave nothing behind. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <pthread.h>
#include <time.h>

#include "check.h"

enum { THREADS = 6, ROUNDS = 8 };

static expected e;
static epsball_model *m;

static void nap(long ms) {
  struct timespec t = {0, ms * 1000000};
  nanosleep(&t, NULL);
}

static epsball_model *load(uint32_t threads) {
  char err[EPSBALL_ERR_SIZE];
  epsball_options o = EPSBALL_OPTIONS_INIT;
  epsball_model *model;
  o.threads = threads;
  CHECK(epsball_load_memory(e.model, e.model_size, NULL, &o, &model, err, sizeof err) == EPSBALL_OK, err);
  return model;
}

/* Each thread in a mode of its own, on a part of the images of its own. */
static void *work(void *number) {
  size_t t = (size_t)number, i, first;
  unsigned long long mode = modes[t % (sizeof modes / sizeof *modes)];
  char err[EPSBALL_ERR_SIZE];
  int32_t code[3];
  float *logits = malloc(4 * N * CLASSES), margins[3];
  unsigned char robust[3], outcomes[3];
  epsball_attack_options o = the_attack();
  for (i = 0; i < ROUNDS; i++) {
    int64_t n = (int64_t)(1 + (i * 37 + t * 11) % (N / 2));
    first = (t * 31 + i) % (N / 2);
    set_mode(mode);
    code[0] = epsball_classify(m, e.images + first * IMAGE, n, NULL, logits, err, sizeof err);
    code[1] = epsball_attack(m, e.images, 3, e.labels, "linf", "0.1", &o, NULL, outcomes, err, sizeof err);
    code[2] = epsball_certify(m, e.images + first * IMAGE, 3, e.labels + first, "linf", "0.1", NULL, robust, margins,
                              err, sizeof err);
    CHECK(get_mode() == mode, "mode");
    set_mode(modes[0]);
    CHECK(code[0] == EPSBALL_OK && code[1] == EPSBALL_OK && code[2] == EPSBALL_OK, err);
    CHECK(memcmp(logits, e.logits + first * CLASSES, 4 * CLASSES * (size_t)n) == 0, "logits");
    CHECK(memcmp(outcomes, e.outcomes, 3) == 0, "outcomes");
    CHECK(memcmp(robust, e.robust + first, 3) == 0, "certificates");
    CHECK(memcmp(margins, e.margins + first, 4 * 3) == 0, "margins");
  }
  free(logits);
  return NULL;
}

static void together(void) {
  pthread_t threads[THREADS];
  size_t t;
  m = load(2);
  for (t = 0; t < THREADS; t++) {
    CHECK(pthread_create(&threads[t], NULL, work, (void *)t) == 0, "thread");
  }
  for (t = 0; t < THREADS; t++) {
    pthread_join(threads[t], NULL);
  }
  CHECK(epsball_close(m) == EPSBALL_OK, "close");
}

/* An attack that does not end by itself, on images it cannot fool. */
static int32_t endless_code;
static unsigned char endless_outcomes[N];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int ended;

static void *endless(void *limit) {
  epsball_attack_options o = the_attack();
  float *adversarial = malloc(4 * N * IMAGE);
  char err[EPSBALL_ERR_SIZE];
  o.steps = o.restarts = 1 << 20;
  o.timeout_ms = *(uint32_t *)limit;
  endless_code =
      epsball_attack(m, e.images, N, e.labels, "linf", "0.0001", &o, adversarial, endless_outcomes, err, sizeof err);
  CHECK(err[0] != 0, "no message");
  CHECK(endless_outcomes[0] == EPSBALL_NOT_DONE, "outcome");
  CHECK(endless_code == EPSBALL_ERR_HANDLE || memcmp(adversarial, e.images, 4 * IMAGE) == 0, "want a copy of the image");
  free(adversarial);
  pthread_mutex_lock(&mutex);
  ended = 1;
  pthread_mutex_unlock(&mutex);
  return NULL;
}

static int has_ended(void) {
  int yes;
  pthread_mutex_lock(&mutex);
  yes = ended;
  pthread_mutex_unlock(&mutex);
  return yes;
}

static void cut_short(void) {
  pthread_t thread;
  uint32_t none = 0, limit = 200;
  epsball_certify_options o = {sizeof o, 1, "alpha-crown"};
  static unsigned char robust[N];
  static float margins[N];
  char err[EPSBALL_ERR_SIZE];
  size_t i;
  m = load(2);
  CHECK(pthread_create(&thread, NULL, endless, &none) == 0, "thread");
  nap(50);
  CHECK(!has_ended(), "it ended by itself");
  while (!has_ended()) { /* the call may not have begun when we cancel first */
    CHECK(epsball_cancel(m) == EPSBALL_OK, "cancel");
    nap(1);
  }
  pthread_join(thread, NULL);
  CHECK(endless_code == EPSBALL_ERR_CANCELLED, epsball_code_name(endless_code));
  CHECK(epsball_classify(m, e.images, 1, NULL, NULL, err, sizeof err) == EPSBALL_OK, "a later call");

  CHECK(epsball_certify(m, e.images, N, e.labels, "linf", "0.05", &o, robust, margins, err, sizeof err) ==
            EPSBALL_ERR_TIMEOUT,
        err);
  for (i = 0; i < N; i++) {
    CHECK(!robust[i] && margins[i] == -INFINITY, "proved without time");
  }

  /* Closed under way: the call goes on to its end, the model is gone for others. */
  ended = 0;
  CHECK(pthread_create(&thread, NULL, endless, &limit) == 0, "thread");
  nap(50);
  CHECK(epsball_close(m) == EPSBALL_OK, "close");
  CHECK(epsball_close(m) == EPSBALL_ERR_HANDLE, "closed");
  pthread_join(thread, NULL);
  CHECK(endless_code == EPSBALL_ERR_TIMEOUT || endless_code == EPSBALL_ERR_HANDLE, epsball_code_name(endless_code));
}

/* A number of /proc/self/status; -1 where there is none. */
static long status(const char *field) {
  char line[256];
  long n = -1;
  FILE *f = fopen("/proc/self/status", "r");
  while (f != NULL && fgets(line, sizeof line, f) != NULL) {
    if (strncmp(line, field, strlen(field)) == 0) {
      n = atol(line + strlen(field));
    }
  }
  if (f != NULL) {
    fclose(f);
  }
  return n;
}

static void come_and_go(int times) {
  float logits[CLASSES];
  char err[EPSBALL_ERR_SIZE];
  for (; times > 0; times--) {
    epsball_model *model = load(2);
    CHECK(epsball_classify(model, e.images, 1, NULL, logits, err, sizeof err) == EPSBALL_OK, err);
    CHECK(memcmp(logits, e.logits, sizeof logits) == 0, "logits");
    CHECK(epsball_close(model) == EPSBALL_OK, "close");
  }
}

static void leaks(void) {
  long memory, threads, tries;
  come_and_go(100);
  memory = status("VmRSS:");
  threads = status("Threads:");
  come_and_go(1000);
  /* A model is about 2 MB: a thousand that stay cannot be missed. */
  CHECK(status("VmRSS:") < memory + 100 * 1024, "memory");
  for (tries = 0; status("Threads:") > threads + 8; tries++) { /* they end on their own time */
    CHECK(tries < 1000, "threads");
    nap(10);
  }
}

int main(int argc, char **argv) {
  CHECK(argc == 2, "usage: threads DIR");
  e = read_expected(argv[1]);
  together();
  cut_short();
  leaks();
  puts("ok");
  return 0;
}
