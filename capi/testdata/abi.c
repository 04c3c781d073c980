/* What version 1 of the interface promises to programs that are already built. Fields
 * are only ever added at the end; these lines stay. Valid C89 and C++. */
#include "epsball.h"

#define PROMISE(name, condition) typedef char name[(condition) ? 1 : -1]
#define AT(type, field, offset) PROMISE(type##_##field, sizeof(void *) != 8 || offsetof(type, field) == (offset))

PROMISE(abi_version, EPSBALL_ABI_VERSION == 1);
PROMISE(codes, EPSBALL_OK == 0 && EPSBALL_ERR_ARGUMENT == 1 && EPSBALL_ERR_HANDLE == 2 && EPSBALL_ERR_FILE == 3 &&
                   EPSBALL_ERR_MODEL == 4 && EPSBALL_ERR_UNSUPPORTED == 5 && EPSBALL_ERR_CANCELLED == 6 &&
                   EPSBALL_ERR_TIMEOUT == 7 && EPSBALL_ERR_INTERNAL == 8);
PROMISE(outcomes, EPSBALL_RESISTED == 0 && EPSBALL_FOOLED == 1 && EPSBALL_WRONG == 2 && EPSBALL_NOT_DONE == 255);
PROMISE(err_size, EPSBALL_ERR_SIZE == 512);

AT(epsball_options, struct_size, 0);
AT(epsball_options, threads, 4);
AT(epsball_options, isa, 8);
AT(epsball_options, few_images, 16);
AT(epsball_options, in_place, 20);
AT(epsball_info, struct_size, 0);
AT(epsball_info, classes, 4);
AT(epsball_info, channels, 8);
AT(epsball_info, rows, 12);
AT(epsball_info, columns, 16);
AT(epsball_info, bytes, 24);
AT(epsball_info, hash, 32);
AT(epsball_attack_options, struct_size, 0);
AT(epsball_attack_options, timeout_ms, 4);
AT(epsball_attack_options, method, 8);
AT(epsball_attack_options, steps, 16);
AT(epsball_attack_options, restarts, 20);
AT(epsball_attack_options, step_size, 24);
AT(epsball_attack_options, seed, 32);
AT(epsball_attack_options, random_start, 40);
AT(epsball_attack_options, lattice, 44);
AT(epsball_certify_options, struct_size, 0);
AT(epsball_certify_options, timeout_ms, 4);
AT(epsball_certify_options, method, 8);

/* The functions have these types. */
uint32_t (*const f1)(void) = epsball_abi_version;
const char *(*const f2)(void) = epsball_version;
const char *(*const f3)(int32_t) = epsball_code_name;
int32_t (*const f4)(const char *, const epsball_options *, epsball_model **, char *, size_t) = epsball_load;
int32_t (*const f5)(const void *, size_t, const char *, const epsball_options *, epsball_model **, char *,
                    size_t) = epsball_load_memory;
int32_t (*const f6)(epsball_model *) = epsball_close;
int32_t (*const f7)(epsball_model *, epsball_info *, char *, size_t) = epsball_get_info;
int32_t (*const f8)(epsball_model *, const float *, int64_t, int32_t *, float *, char *, size_t) = epsball_classify;
int32_t (*const f9)(epsball_model *, const float *, int64_t, const int32_t *, const char *, const char *,
                    const epsball_attack_options *, float *, uint8_t *, char *, size_t) = epsball_attack;
int32_t (*const f10)(epsball_model *, const float *, int64_t, const int32_t *, const char *, const char *,
                     const epsball_certify_options *, uint8_t *, float *, char *, size_t) = epsball_certify;
int32_t (*const f11)(epsball_model *) = epsball_cancel;
