//go:build cgo

// The public functions. Each puts the thread into our floating-point mode, calls into
// Go and gives the caller's mode back. What they call is exported by export.go under
// the names epsball_go_..., which are private.

#include "epsball.h"

#include <math.h>
#include <string.h>

#include "_cgo_export.h"
#include "fpmode.h"

#if defined(__GNUC__)
#pragma GCC diagnostic error "-Wincompatible-pointer-types"
#endif

#define CALL(code, call)        \
  do {                          \
    fp_mode caller = fp_get();  \
    fp_set(fp_default());       \
    (code) = (call);            \
    fp_set(caller);             \
  } while (0)

#define HANDLE(model) ((uintptr_t)(model))

// Arrays are filled before anything is checked, so that no failure looks like a result.
static size_t filled(int64_t n) { return n > 0 && n <= INT32_MAX ? (size_t)n : 0; }

static int32_t fail(int32_t code, const char *text, char *err, size_t err_size) {
  if (err != NULL && err_size > 0) {
    size_t n = strlen(text) < err_size ? strlen(text) : err_size - 1;
    memcpy(err, text, n);
    err[n] = 0;
  }
  return code;
}

// import copies a caller's struct, of the size it says, over a zeroed one of ours.
// What we do not know must be 0.
static int32_t import(void *to, size_t size, const void *from, char *err, size_t err_size) {
  uint32_t theirs;
  size_t i;
  if (from == NULL) {
    return EPSBALL_OK;
  }
  memcpy(&theirs, from, sizeof theirs);
  if (theirs < sizeof theirs) {
    return fail(EPSBALL_ERR_ARGUMENT, "options: struct_size is not set, want sizeof of the struct", err, err_size);
  }
  for (i = size; i < theirs; i++) {
    if (((const unsigned char *)from)[i] != 0) {
      return fail(EPSBALL_ERR_UNSUPPORTED, "options: a field is set that this library does not know", err, err_size);
    }
  }
  memcpy(to, from, theirs < size ? theirs : size);
  return EPSBALL_OK;
}

#if defined(__linux__)
// The library is linked with --wrap=pthread_create (export.go), and threads inherit
// their maker's mode: those of the Go runtime begin in ours, whatever the mode of the
// thread that loads the library. Trapped exceptions would end them otherwise. No part
// of a c-archive, whose program is linked without; results do not depend on this.
#include <pthread.h>

extern int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) __attribute__((weak));

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg) {
  int code;
  CALL(code, __real_pthread_create(thread, attr, run, arg));
  return code;
}
#endif

uint32_t epsball_abi_version(void) { return EPSBALL_ABI_VERSION; }

const char *epsball_version(void) {
  const char *version;
  CALL(version, epsball_go_version());
  return version;
}

const char *epsball_code_name(int32_t code) {
  static const char *const names[] = {
      "EPSBALL_OK",        "EPSBALL_ERR_ARGUMENT",    "EPSBALL_ERR_HANDLE",    "EPSBALL_ERR_FILE",
      "EPSBALL_ERR_MODEL", "EPSBALL_ERR_UNSUPPORTED", "EPSBALL_ERR_CANCELLED", "EPSBALL_ERR_TIMEOUT",
      "EPSBALL_ERR_INTERNAL"};
  return code >= 0 && code < (int32_t)(sizeof names / sizeof *names) ? names[code] : "unknown code";
}

static int32_t load(int memory, const char *name, const void *data, size_t size, const epsball_options *options,
                    epsball_model **model, char *err, size_t err_size) {
  epsball_options ours = {0};
  uintptr_t handle = 0;
  int32_t code;
  if (model == NULL) {
    return fail(EPSBALL_ERR_ARGUMENT, "model: NULL, want where to put it", err, err_size);
  }
  *model = NULL;
  code = import(&ours, sizeof ours, options, err, err_size);
  if (code == EPSBALL_OK) {
    CALL(code, epsball_go_load(memory, name, data, size, &ours, &handle, err, err_size));
  }
  *model = (epsball_model *)handle;
  return code;
}

int32_t epsball_load(const char *path, const epsball_options *options, epsball_model **model, char *err,
                     size_t err_size) {
  return load(0, path, NULL, 0, options, model, err, err_size);
}

int32_t epsball_load_memory(const void *data, size_t size, const char *name, const epsball_options *options,
                            epsball_model **model, char *err, size_t err_size) {
  return load(1, name, data, size, options, model, err, err_size);
}

int32_t epsball_close(epsball_model *model) {
  int32_t code;
  CALL(code, epsball_go_close(HANDLE(model)));
  return code;
}

int32_t epsball_cancel(epsball_model *model) {
  int32_t code;
  CALL(code, epsball_go_cancel(HANDLE(model)));
  return code;
}

int32_t epsball_get_info(epsball_model *model, epsball_info *info, char *err, size_t err_size) {
  epsball_info ours = {0};
  int32_t code;
  if (info == NULL || info->struct_size < sizeof info->struct_size) {
    return fail(EPSBALL_ERR_ARGUMENT, "info: NULL, or struct_size is not set", err, err_size);
  }
  CALL(code, epsball_go_info(HANDLE(model), &ours, err, err_size));
  ours.struct_size = info->struct_size;
  if (info->struct_size > sizeof ours) {
    memset((char *)info + sizeof ours, 0, info->struct_size - sizeof ours);
  }
  memcpy(info, &ours, info->struct_size < sizeof ours ? info->struct_size : sizeof ours);
  return code;
}

int32_t epsball_classify(epsball_model *model, const float *images, int64_t n, int32_t *labels, float *logits,
                         char *err, size_t err_size) {
  int32_t code;
  CALL(code, epsball_go_classify(HANDLE(model), images, n, labels, logits, err, err_size));
  if (code != EPSBALL_OK && labels != NULL) {
    memset(labels, 0xff, filled(n) * sizeof *labels); // -1
  }
  return code;
}

int32_t epsball_attack(epsball_model *model, const float *images, int64_t n, const int32_t *labels, const char *norm,
                       const char *eps, const epsball_attack_options *options, float *adversarial, uint8_t *outcomes,
                       char *err, size_t err_size) {
  epsball_attack_options ours = {0};
  int32_t code;
  if (outcomes != NULL) {
    memset(outcomes, EPSBALL_NOT_DONE, filled(n));
  }
  code = import(&ours, sizeof ours, options, err, err_size);
  if (code == EPSBALL_OK) {
    CALL(code, epsball_go_attack(HANDLE(model), images, n, labels, norm, eps, &ours, adversarial, outcomes, err,
                                 err_size));
  }
  return code;
}

int32_t epsball_certify(epsball_model *model, const float *images, int64_t n, const int32_t *labels, const char *norm,
                        const char *eps, const epsball_certify_options *options, uint8_t *robust, float *margins,
                        char *err, size_t err_size) {
  epsball_certify_options ours = {0};
  int32_t code;
  size_t i;
  if (robust != NULL) {
    memset(robust, 0, filled(n));
  }
  for (i = 0; margins != NULL && i < filled(n); i++) {
    margins[i] = -INFINITY;
  }
  code = import(&ours, sizeof ours, options, err, err_size);
  if (code == EPSBALL_OK) {
    CALL(code, epsball_go_certify(HANDLE(model), images, n, labels, norm, eps, &ours, robust, margins, err, err_size));
  }
  return code;
}
