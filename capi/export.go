//go:build cgo

package main

/*
#cgo CFLAGS: -Wall -DEPSBALL_BUILD -fvisibility=hidden
#cgo linux LDFLAGS: -Wl,--wrap=pthread_create

#include "epsball.h"
#include "fpmode.h"

// An exported function's parameters cannot be const otherwise.
typedef const char cchar;
typedef const void cvoid;
typedef const float cfloat;
typedef const int32_t cint32;

static inline void default_mode(void) { fp_set(fp_default()); }
*/
import "C"

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"unsafe"
)

const (
	codeOK          = C.EPSBALL_OK
	codeArgument    = C.EPSBALL_ERR_ARGUMENT
	codeHandle      = C.EPSBALL_ERR_HANDLE
	codeFile        = C.EPSBALL_ERR_FILE
	codeModel       = C.EPSBALL_ERR_MODEL
	codeUnsupported = C.EPSBALL_ERR_UNSUPPORTED
	codeCancelled   = C.EPSBALL_ERR_CANCELLED
	codeTimeout     = C.EPSBALL_ERR_TIMEOUT
	codeInternal    = C.EPSBALL_ERR_INTERNAL

	resisted = C.EPSBALL_RESISTED
	fooled   = C.EPSBALL_FOOLED
	wrong    = C.EPSBALL_WRONG
	notDone  = C.EPSBALL_NOT_DONE
)

// call is one call from C: its model, if any, and its error, which end turns into a
// code and a message.
type call struct {
	h    *handle
	err  error
	text *C.char
	size C.size_t
}

// end is deferred by every function that C calls: no panic may leave it.
func (c *call) end(code *C.int32_t) {
	if r := recover(); r != nil {
		c.err = &internalError{r, debug.Stack()}
		if c.h != nil {
			c.h.broken.Store(true)
		}
	}
	c.h.release()
	*code = C.int32_t(codeOf(c.err))
	if c.text != nil {
		put(unsafe.Slice((*byte)(unsafe.Pointer(c.text)), min(c.size, 1<<20)), c.err)
	}
}

// model finds the model and checks the number of images; false: c.err says why not.
func (c *call) model(id C.uintptr_t, n C.int64_t) (count int, ok bool) {
	if c.h, c.err = acquire(uintptr(id)); c.err == nil {
		count, c.err = c.h.count(int64(n))
	}
	return count, c.err == nil
}

// array returns n values of C memory. NULL for some is an error unless it is optional,
// then nil.
func array[T, P any](c *call, p *P, name string, n int, optional bool) []T {
	if p == nil && n > 0 && !optional && c.err == nil {
		c.err = fmt.Errorf("%s: NULL, want %d values", name, n)
	}
	if p == nil {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(p)), n)
}

func text(p *C.cchar) string { return C.GoString((*C.char)(unsafe.Pointer(p))) }

// defaultMode gives the calling thread the floating-point mode of the proofs.
func defaultMode() { C.default_mode() }

// stamp is the version of code that is not in Git, set when it is linked.
var stamp string

var version = sync.OnceValue(func() *C.cchar {
	v := "(devel)"
	if stamp != "" {
		v = stamp
	} else if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	return (*C.cchar)(unsafe.Pointer(C.CString(v)))
})

//export epsball_go_version
func epsball_go_version() *C.cchar { return version() }

//export epsball_go_load
func epsball_go_load(memory C.int, name *C.cchar, data *C.cvoid, size C.size_t, o *C.epsball_options, id *C.uintptr_t, err *C.char, errSize C.size_t) (code C.int32_t) {
	c := call{text: err, size: errSize}
	defer c.end(&code)
	var file []byte
	switch {
	case memory == 0 && name == nil:
		c.err = errors.New("path: NULL, want the name of a model file")
	case memory != 0 && data == nil && size > 0:
		c.err = fmt.Errorf("data: NULL, want %d bytes", size)
	case uint64(size) > math.MaxInt:
		c.err = fmt.Errorf("size: %d bytes, want at most %d", size, math.MaxInt)
	case o.few_images > 1 || o.in_place > 1:
		c.err = errors.New("options: few_images and in_place want 0 or 1")
	case memory != 0 && o.in_place == 1 && size > 0:
		file = unsafe.Slice((*byte)(unsafe.Pointer(data)), int(size)) // until epsball_close
	case memory != 0:
		// The model keeps no part of the caller's memory.
		file = append([]byte{}, unsafe.Slice((*byte)(unsafe.Pointer(data)), int(size))...)
	}
	if c.err != nil {
		return
	}
	from := "memory"
	if name != nil {
		from = text(name)
	}
	var h uintptr
	h, c.err = load(from, file, options{uint32(o.threads), C.GoString(o.isa), o.few_images == 1, o.in_place == 1}, defaultMode)
	*id = C.uintptr_t(h)
	return
}

//export epsball_go_close
func epsball_go_close(id C.uintptr_t) (code C.int32_t) {
	var c call
	defer c.end(&code)
	c.err = closeHandle(uintptr(id))
	return
}

//export epsball_go_cancel
func epsball_go_cancel(id C.uintptr_t) (code C.int32_t) {
	var c call
	defer c.end(&code)
	if _, ok := c.model(id, 0); ok {
		c.h.interrupt()
	}
	return
}

//export epsball_go_info
func epsball_go_info(id C.uintptr_t, info *C.epsball_info, err *C.char, errSize C.size_t) (code C.int32_t) {
	c := call{text: err, size: errSize}
	defer c.end(&code)
	if _, ok := c.model(id, 0); !ok {
		return
	}
	m := c.h.model
	ch, h, w := m.Input()
	info.classes = C.uint32_t(m.Classes())
	info.channels, info.rows, info.columns = C.uint32_t(ch), C.uint32_t(h), C.uint32_t(w)
	info.bytes = C.uint64_t(m.Bytes())
	put(unsafe.Slice((*byte)(unsafe.Pointer(&info.hash)), len(info.hash)), errors.New(m.Hash()))
	return
}

//export epsball_go_classify
func epsball_go_classify(id C.uintptr_t, images *C.cfloat, n C.int64_t, labels *C.int32_t, logits *C.float, err *C.char, errSize C.size_t) (code C.int32_t) {
	c := call{text: err, size: errSize}
	defer c.end(&code)
	count, ok := c.model(id, n)
	if !ok {
		return
	}
	x := array[float32](&c, images, "images", count*c.h.size, false)
	y := array[int32](&c, labels, "labels", count, true)
	z := array[float32](&c, logits, "logits", count*c.h.model.Classes(), true)
	if c.err == nil {
		c.err = c.h.classify(x, count, y, z)
	}
	return
}

//export epsball_go_attack
func epsball_go_attack(id C.uintptr_t, images *C.cfloat, n C.int64_t, labels *C.cint32, norm, eps *C.cchar, o *C.epsball_attack_options, adversarial *C.float, outcomes *C.uint8_t, err *C.char, errSize C.size_t) (code C.int32_t) {
	c := call{text: err, size: errSize}
	defer c.end(&code)
	count, ok := c.model(id, n)
	if !ok {
		return
	}
	x := array[float32](&c, images, "images", count*c.h.size, false)
	y := array[int32](&c, labels, "labels", count, false)
	adv := array[float32](&c, adversarial, "adversarial", count*c.h.size, true)
	out := array[uint8](&c, outcomes, "outcomes", count, false)
	if c.err == nil && o.random_start > 1 {
		c.err = errors.New("options: random_start wants 0 or 1")
	}
	if c.err == nil {
		c.err = c.h.attack(x, y, text(norm), text(eps), attackOptions{
			method: C.GoString(o.method), steps: uint32(o.steps), restarts: uint32(o.restarts), stepSize: float64(o.step_size),
			seed: uint64(o.seed), randomStart: o.random_start == 1, lattice: uint32(o.lattice), limitMS: uint32(o.timeout_ms),
		}, adv, out)
	}
	return
}

//export epsball_go_certify
func epsball_go_certify(id C.uintptr_t, images *C.cfloat, n C.int64_t, labels *C.cint32, norm, eps *C.cchar, o *C.epsball_certify_options, robust *C.uint8_t, margins *C.float, err *C.char, errSize C.size_t) (code C.int32_t) {
	c := call{text: err, size: errSize}
	defer c.end(&code)
	count, ok := c.model(id, n)
	if !ok {
		return
	}
	x := array[float32](&c, images, "images", count*c.h.size, false)
	y := array[int32](&c, labels, "labels", count, false)
	proved := array[uint8](&c, robust, "robust", count, false)
	m := array[float32](&c, margins, "margins", count, true)
	if c.err == nil {
		c.err = c.h.certify(x, y, text(norm), text(eps), C.GoString(o.method), uint32(o.timeout_ms), proved, m)
	}
	return
}
