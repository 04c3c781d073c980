package reals

import "github.com/epsball/epsball/model"

// terms calls f(weight index, input index) for every term of output o of a conv or an fc,
// channels first.
func terms(l *model.Layer, in, out model.Shape, o int, f func(w, k int)) {
	if l.Kind == model.FC {
		for k := range in.Size() {
			f(o*in.Size()+k, k)
		}
		return
	}
	taps := l.Kernel[0] * l.Kernel[1]
	oc, each := o/(out.H*out.W), in.C/l.GroupCount()
	first := oc / (l.Out / l.GroupCount()) * each
	for c := range each {
		window(l, in, out, o, func(tap, pixel int) {
			f((oc*each+c)*taps+tap, (first+c)*in.H*in.W+pixel)
		})
	}
}

// pixels calls f(input index) for what output o of a pool sees.
func pixels(l *model.Layer, in, out model.Shape, o int, f func(k int)) {
	plane := o / (out.H * out.W) * in.H * in.W
	window(l, in, out, o, func(_, pixel int) { f(plane + pixel) })
}

// window calls f(tap, pixel) for the taps of output o that are not on padding.
func window(l *model.Layer, in, out model.Shape, o int, f func(tap, pixel int)) {
	y, x, d := o/out.W%out.H, o%out.W, l.Dilations()
	for ky := range l.Kernel[0] {
		for kx := range l.Kernel[1] {
			iy, ix := y*l.Stride[0]+ky*d[0]-l.Padding[0], x*l.Stride[1]+kx*d[1]-l.Padding[1]
			if iy >= 0 && iy < in.H && ix >= 0 && ix < in.W {
				f(ky*l.Kernel[1]+kx, iy*in.W+ix)
			}
		}
	}
}

// divisor is what an avgpool divides a window of n real pixels by.
func divisor(l *model.Layer, n int) int {
	if l.CountPadding {
		return l.Kernel[0] * l.Kernel[1]
	}
	return n
}
