/* epsball: attack, bound and certify convolutional image classifiers on a CPU.
 *
 * C interface, C89 (with stdint.h) and C++. capi/README.md shows it in use.
 *
 * Every function but the three that only name things returns an EPSBALL_ code, 0
 * for success. err is memory of the caller for a message, of err_size bytes
 * (EPSBALL_ERR_SIZE is enough): NUL-terminated, UTF-8, shortened if need be, empty on
 * success; NULL and 0 do without.
 *
 * All functions may be called from any thread at any time, but from signal handlers
 * and between fork and exec. Calls on one model take turns on its threads.
 *
 * The floating-point mode of the caller (rounding, flush-to-zero,
 * denormals-are-zero, trapped exceptions, sticky flags) has no influence on a
 * result and is what it was when a call returns.
 *
 * Images are n x channels x rows x columns float32 in [0, 1]. A NaN or a value
 * outside is refused. A pointer to no elements may be NULL. Nothing is kept of the
 * memory that a call is given. Structs begin with their size, which tells a library
 * what the caller knows of them: begin with their _INIT, which is all defaults.
 */
#ifndef EPSBALL_H
#define EPSBALL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The interface in this file. A library works with programs built for the same
 * number; what is added under one number is new functions, new codes and new
 * fields at the end of structs. */
#define EPSBALL_ABI_VERSION 1

#ifndef EPSBALL_API
#if !defined(EPSBALL_BUILD)
#define EPSBALL_API
#elif defined(_WIN32)
#define EPSBALL_API __declspec(dllexport)
#else
#define EPSBALL_API __attribute__((visibility("default")))
#endif
#endif

#define EPSBALL_OK 0
#define EPSBALL_ERR_ARGUMENT 1    /* an argument is wrong; the message says which */
#define EPSBALL_ERR_HANDLE 2      /* the model is NULL or closed */
#define EPSBALL_ERR_FILE 3        /* a file cannot be read */
#define EPSBALL_ERR_MODEL 4       /* not a valid model; the message names the field */
#define EPSBALL_ERR_UNSUPPORTED 5 /* not to be had here: kernel set, newer struct */
#define EPSBALL_ERR_CANCELLED 6   /* epsball_cancel was called */
#define EPSBALL_ERR_TIMEOUT 7     /* timeout_ms is over */
#define EPSBALL_ERR_INTERNAL 8    /* a bug of ours; the model refuses more work */

#define EPSBALL_ERR_SIZE 512

/* A loaded model. Not a pointer to anything: a number that is never used twice, so
 * that a closed one is told from all others. */
typedef struct epsball_model epsball_model;

/* How to load. */
typedef struct epsball_options {
  uint32_t struct_size;
  uint32_t threads;    /* that compute, the caller's among them; 0: one per CPU */
  const char *isa;     /* "generic", "avx2", "avx512", ...; NULL: the best one here */
  uint32_t few_images; /* 1: packed for at most six images a call, half the memory */
  uint32_t in_place;   /* 1: weights stay where they are, see below */
} epsball_options;

/* With in_place, epsball_load maps the file, read only and shared with other processes:
   it must not be changed in place or cut until the model is closed. epsball_load_memory
   uses the caller's memory: it must neither change nor go away until epsball_close has
   returned and no call is under way. With few_images, weights in tiles (`epsball convert
   --layout tiles`) are then used where they lie. ONNX networks are read as ever. */

#define EPSBALL_OPTIONS_INIT {sizeof(epsball_options), 0, NULL, 0, 0}

/* What a model is. */
typedef struct epsball_info {
  uint32_t struct_size;
  uint32_t classes;
  uint32_t channels, rows, columns;
  uint32_t reserved;
  uint64_t bytes; /* of memory its weights take so far */
  char hash[72];  /* of architecture and weights: hex SHA-256 */
} epsball_info;

#define EPSBALL_INFO_INIT {sizeof(epsball_info), 0, 0, 0, 0, 0, 0, {0}}

/* How to attack. */
typedef struct epsball_attack_options {
  uint32_t struct_size;
  uint32_t timeout_ms;   /* 0: none */
  const char *method;    /* NULL: "pgd"; any name of docs/attacks.md, such as "auto" or "fast", or with options: "apgd:steps=100,loss=dlr" */
  uint32_t steps;        /* a restart; 0: as method says, or 40 (apgd: 100); fgsm has one step, so 0 */
  uint32_t restarts;     /* 0: as method says, or 1 */
  double step_size;      /* 0: as method says, or a quarter of eps (fgsm: eps); apgd has none, so 0 */
  uint64_t seed;         /* picks the random numbers; 0: as method says */
  uint32_t random_start; /* fgsm: 1 for a random start and a step of 1.25 eps */
  uint32_t lattice;      /* 8: only pictures whose values have 8 bits, as files hold them; 0: any */
} epsball_attack_options;

#define EPSBALL_ATTACK_OPTIONS_INIT {sizeof(epsball_attack_options), 0, NULL, 0, 0, 0, 0, 0, 0}

/* How to certify. */
typedef struct epsball_certify_options {
  uint32_t struct_size;
  uint32_t timeout_ms; /* 0: none */
  const char *method;  /* "ibp" or NULL; "crown-ibp", "crown", "alpha-crown" */
} epsball_certify_options;

#define EPSBALL_CERTIFY_OPTIONS_INIT {sizeof(epsball_certify_options), 0, NULL}

/* What came of an attack on an image. */
#define EPSBALL_RESISTED 0   /* nothing found */
#define EPSBALL_FOOLED 1     /* found: not classified as its label says */
#define EPSBALL_WRONG 2      /* the image itself is not classified so */
#define EPSBALL_NOT_DONE 255 /* the call ended before */

/* EPSBALL_ABI_VERSION of the library that is linked or loaded. */
EPSBALL_API uint32_t epsball_abi_version(void);

/* The version of the library, a text that stays. */
EPSBALL_API const char *epsball_version(void);

/* The name of a code, such as "EPSBALL_ERR_MODEL"; "unknown code" for others. */
EPSBALL_API const char *epsball_code_name(int32_t code);

/* Reads a model file (.safetensors; .onnx, .onnx.gz) whose path is in UTF-8.
 * options may be NULL. *model is NULL on failure; pass it to epsball_close. */
EPSBALL_API int32_t epsball_load(const char *path, const epsball_options *options,
                                 epsball_model **model, char *err, size_t err_size);

/* The same from memory, which may be freed afterwards. The ending of name tells the
 * format, and messages mention it; NULL: safetensors. ONNX networks whose weights are in
 * another file (external data) need epsball_load. */
EPSBALL_API int32_t epsball_load_memory(const void *data, size_t size, const char *name,
                                        const epsball_options *options, epsball_model **model,
                                        char *err, size_t err_size);

/* Ends a model. Calls on it that run in other threads complete. */
EPSBALL_API int32_t epsball_close(epsball_model *model);

/* Fills in as much of info as its struct_size says. */
EPSBALL_API int32_t epsball_get_info(epsball_model *model, epsball_info *info, char *err,
                                     size_t err_size);

/* Predicts the class of n images: labels[n], the first of equals, -1 if a logit is
 * NaN, and logits[n * classes]; either may be NULL. On failure all labels are -1. */
EPSBALL_API int32_t epsball_classify(epsball_model *model, const float *images, int64_t n,
                                     int32_t *labels, float *logits, char *err, size_t err_size);

/* Searches the ball around each image for one that is not classified as its label
 * says. norm is "linf", "l2", "l1" or "l0", as far as the method has it; eps an exact
 * decimal or fraction such as "0.1" or "8/255" (l0: the number of values that may
 * differ), or "inf" for methods that look for the smallest distance, such as "ddn".
 * adversarial[n * image] (NULL, or memory of the images themselves) gets the worst
 * points found, outcomes[n] what came of it (EPSBALL_FOOLED, ...). After
 * EPSBALL_ERR_CANCELLED and EPSBALL_ERR_TIMEOUT they hold what was done until then,
 * the rest being copies that are EPSBALL_NOT_DONE. options may be NULL. */
EPSBALL_API int32_t epsball_attack(epsball_model *model, const float *images, int64_t n,
                                   const int32_t *labels, const char *norm, const char *eps,
                                   const epsball_attack_options *options, float *adversarial,
                                   uint8_t *outcomes, char *err, size_t err_size);

/* Tries to prove that every image of the ball around each image, with pixels in
 * [0, 1], is classified as its label says, in exact arithmetic and as executed in
 * float32. norm is "linf", "l2" or "l1". robust[n] gets 1 where proved, else 0;
 * margins[n] (or NULL) a proved lower bound of the label's lead in logits, or
 * -infinity. On any failure nothing counts as proved. options may be NULL. */
EPSBALL_API int32_t epsball_certify(epsball_model *model, const float *images, int64_t n,
                                    const int32_t *labels, const char *norm, const char *eps,
                                    const epsball_certify_options *options, uint8_t *robust,
                                    float *margins, char *err, size_t err_size);

/* Makes the calls on a model that run in other threads return
 * EPSBALL_ERR_CANCELLED soon. Later calls are not concerned. */
EPSBALL_API int32_t epsball_cancel(epsball_model *model);

#ifdef __cplusplus
}
#endif

#endif
