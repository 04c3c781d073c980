// The floating-point mode that the proofs assume: round to nearest, subnormal numbers
// neither flushed nor taken for zero, no exception trapped. It belongs to a thread.
#ifndef EPSBALL_FPMODE_H
#define EPSBALL_FPMODE_H

#include <stdint.h>

#if defined(__x86_64__) || defined(__i386__)

typedef struct { uint32_t mxcsr; } fp_mode; // Go computes in SSE alone: not the x87 word

static inline fp_mode fp_get(void) {
  fp_mode m;
  __asm__ volatile("stmxcsr %0" : "=m"(m.mxcsr));
  return m;
}

// The clobber keeps the compiler from moving loads and stores, and the calls that make
// them, across a change.
static inline void fp_set(fp_mode m) {
  __asm__ volatile("ldmxcsr %0" : : "m"(m.mxcsr) : "memory");
}

static inline fp_mode fp_default(void) {
  fp_mode m = {0x1f80};
  return m;
}

#elif defined(__aarch64__)

typedef struct { uint64_t fpcr, fpsr; } fp_mode;

static inline fp_mode fp_get(void) {
  fp_mode m;
  __asm__ volatile("mrs %0, fpcr" : "=r"(m.fpcr));
  __asm__ volatile("mrs %0, fpsr" : "=r"(m.fpsr));
  return m;
}

static inline void fp_set(fp_mode m) {
  __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1\n\tisb" : : "r"(m.fpcr), "r"(m.fpsr) : "memory");
}

static inline fp_mode fp_default(void) { // FZ, FZ16, DN, RMode, AH, FIZ, NEP and traps off
  fp_mode m = {0, 0};
  return m;
}

#else // The environment of C99, which on these has what there is.

#include <fenv.h>

typedef fenv_t fp_mode;

static inline fp_mode fp_get(void) {
  fp_mode m;
  fegetenv(&m);
  return m;
}

static inline void fp_set(fp_mode m) { fesetenv(&m); }

static inline fp_mode fp_default(void) {
  fp_mode saved = fp_get(), m;
  fesetenv(FE_DFL_ENV);
  m = fp_get();
  fp_set(saved);
  return m;
}

#endif

#endif
