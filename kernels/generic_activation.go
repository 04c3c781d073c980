package kernels

import "unsafe"

// floats are the n lane vectors at p.
func floats(p unsafe.Pointer, n int) []float32 { return unsafe.Slice((*float32)(p), n*Lanes) }

func genericClip(dst, src unsafe.Pointer, n int, lo, hi float32) {
	d := floats(dst, n)
	for i, v := range floats(src, n) {
		d[i] = clip(v, lo, hi)
	}
}

func clip(v, lo, hi float32) float32 {
	if lo > v {
		v = lo
	}
	if hi < v {
		v = hi
	}
	return v
}

func genericClipGrad(dst, dy, x unsafe.Pointer, n int, lo, hi float32) {
	d, g := floats(dst, n), floats(dy, n)
	for i, v := range floats(x, n) {
		d[i] = clipGrad(g[i], v, lo, hi)
	}
}

func clipGrad(dy, x, lo, hi float32) float32 {
	if lo < x && x < hi {
		return dy
	}
	return 0
}

func genericLeaky(dst, src, x, slope unsafe.Pointer, n int) {
	d, v, s := floats(dst, n), floats(src, n), floats(slope, n)
	for i, xi := range floats(x, n) {
		d[i] = leaky(v[i], xi, s[i])
	}
}

// leaky is v where x is positive and v·slope elsewhere.
func leaky(v, x, slope float32) float32 {
	if x > 0 {
		return v
	}
	return v * slope
}

func genericGate(dst, src, gate unsafe.Pointer, n int) {
	d, s := floats(dst, n), floats(src, n)
	for i, v := range floats(gate, n) {
		d[i] = epilogue(s[i], Gate, v)
	}
}

func genericSigmoid(dst, src unsafe.Pointer, n int, _ unsafe.Pointer) {
	d := floats(dst, n)
	for i, v := range floats(src, n) {
		d[i] = Sigmoid(v)
	}
}

func genericTanh(dst, src unsafe.Pointer, n int, _ unsafe.Pointer) {
	d := floats(dst, n)
	for i, v := range floats(src, n) {
		d[i] = Tanh(v)
	}
}

func genericSigmoidGrad(dst, dy, y unsafe.Pointer, n int) {
	d, g := floats(dst, n), floats(dy, n)
	for i, v := range floats(y, n) {
		d[i] = sigmoidGrad(g[i], v)
	}
}

func sigmoidGrad(dy, y float32) float32 { return float32(dy * float32(y*float32(1-y))) }

func genericTanhGrad(dst, dy, y unsafe.Pointer, n int) {
	d, g := floats(dst, n), floats(dy, n)
	for i, v := range floats(y, n) {
		d[i] = tanhGrad(g[i], v)
	}
}

func tanhGrad(dy, y float32) float32 { return float32(dy * float32(1-float32(y*y))) }
