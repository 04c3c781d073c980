// Package asm holds the generated assembly kernels and their Go stubs.
//
// It has no policy and checks no arguments: a wrong length or pointer is
// memory corruption. Package kernels is its only importer (besides the
// generator) and owns the checks. Every kernel works on lane vectors: eight
// consecutive float32, one per image of a lane group.
package asm

import "unsafe"

//go:generate go run -tags purego ../internal/asmgen -dir .

// Epilogues of the ConvRxP, SmallPxV and BothPxV kernels.
const (
	EpilogueNone = 0 // out = acc
	EpilogueReLU = 1 // out = 0 > acc ? 0 : acc (NaN and -0 pass through)
	EpilogueGate = 2 // out = gate > 0 ? acc : +0, gate at out + GateOff
)

// MaxPixels is the largest number of output pixels one ConvRxP call computes.
const MaxPixels = 8

// ConvArgs describes one call of a ConvRxP kernel: Tiles × R output channels
// of P output pixels, Batches times. Lengths and distances are in bytes.
//
// For each tile t, channel r < R, pixel p < P and lane l the kernel computes
//
//	acc := Bias[t*R+r]
//	in, w := In[p], W (continued from tile to tile)
//	for s := 0; s < Segs; s++ {
//		for k := 0; k < SegLen/32; k++ {
//			acc = fma(w[k*R+r], in[k*8+l], acc)
//		}
//		in += SegLen + SegSkip; w += SegLen/32*R*4 + WSegSkip
//	}
//	w += WTileSkip
//	Out[p][(t*R+r)*8+l] = epilogue(acc)
//
// one rounding per step, in that order. Pixels may repeat. After each batch but
// the last, In[p] and Out[p] become InBase and OutBase plus the next pair of
// int32, counting lane vectors, of Table from its byte Next on. The kernel changes
// In, Out, Next and Batches.
//
// Conv8x1 takes tiles of four channels in pairs, WTile bytes apart: Tiles counts
// pairs, WTileSkip leads from the end of the first to the next pair.
//
// Conv8xPJoined is for two lane groups, with In[p], InBase and the lengths of segments in
// pairs of lane vectors, 64 bytes, one of each group; Tiles, WTile and WTileSkip are those
// of Conv8x1. The second group's outputs, and gates, lie Pair bytes from the first's.
// Inputs of Table count from InStart bytes behind InBase.
// If Resume is not 0, sums start from the outputs instead of the biases.
type ConvArgs struct {
	Tiles     int
	Segs      int
	SegLen    int
	SegSkip   int
	WSegSkip  int
	WTileSkip int
	WTile     int // SmallPx4, BothPx4, Conv8x1 and Conv8xPJoined alone
	W         unsafe.Pointer
	Bias      unsafe.Pointer
	Epilogue  int
	GateOff   int
	Batches   int
	Table     unsafe.Pointer
	Next      int
	InBase    unsafe.Pointer
	OutBase   unsafe.Pointer
	In        [MaxPixels]unsafe.Pointer
	Out       [MaxPixels]unsafe.Pointer
	Mask      unsafe.Pointer // SmallPxV and BothPxV alone
	AbsBias   unsafe.Pointer // BothPxV alone
	Pair      int            // Conv8xPJoined alone
	InStart   int            // Conv8xPJoined alone
	Resume    int            // Conv8xPJoined alone
}

// The SmallPxV kernels take ConvArgs for single images, [height][width]
// [channel]: lengths count 4 bytes a value instead of a lane vector of 32, and
// the vector runs over output channels. Weights and biases are packed in tiles
// of 16 channels, zeros behind the last. For each pixel p < P and channel c < 16
// of each tile:
//
//	acc := Bias[t*16+c]
//	acc = fma(w[k*16+c], in[k], acc)  // over Segs and SegLen/4 as above
//	Out[p][t*16+c] = epilogue(acc)
//
// If Mask is not nil, only those channels of the last tile are stored, and their
// gates read, whose word of Mask is negative; Mask then has V·8 words. With V = 4
// the kernel takes tiles in pairs, WTile bytes apart: Tiles counts pairs,
// WTileSkip leads to the next pair. With V = 1 it takes one tile of 8 channels.
//
// SmallPxVBF16 and SmallPxVF16 are SmallPxV for packed weights of 16 bits, bfloat16 or
// binary16, which they expand to the float32 that they are: the FMAs, and so the bits,
// are those of SmallPxV with the expanded weights. The distances between weights,
// WSegSkip, WTileSkip and WTile, count bytes here too.
//
// BothPxV is SmallPxV where the second half of the pixels takes |w| for w and
// AbsBias for Bias: the same weights serve W·c and |W|·r.

// GradArgs describes one call of a GradRxK kernel: R output channels times
// Tiles × K consecutive weights. Distances are in bytes.
//
// For each tile t, channel r < R and weight k < K:
//
//	var acc [8]float32
//	for g < Groups, y < Rows, x < Cols {
//		acc[l] = fma(DY[r*8+l], X[(t*K+k)*8+l], acc[l])  // at (g, y, x)
//	}
//	Out[r*OutStride + (t*K+k)*4] = LaneSum(acc)
//
// where DY and X move by *Col after each column, by *Row more after each row
// and by *Group more after each group. If Sums is not nil, acc begins with a lane
// vector there: that of (t, r, k) lies at Sums + 32*((t*R+r)*K+k). If Out is nil,
// acc goes back to it instead.
type GradArgs struct {
	Tiles, Groups, Rows, Cols int
	DYCol, DYRow, DYGroup     int
	XCol, XRow, XGroup        int
	DY, X, Out                unsafe.Pointer
	OutStride                 int
	Sums                      unsafe.Pointer
}

// WinogradArgs describes one tile of Winograd's F(4×4, 3×3) in the batch-lane
// layout, for N channels. Distances are in bytes. Frequency f = c*6+r belongs to
// row r and column c of the 6×6 transformed tile.
//
// WinogradIn reads the 6×6 input pixels P[y*6+x] and writes BᵀdB: frequency f of
// channel k at Base + f*Stride + 32*k.
//
// WinogradOut reads the products there and writes AᵀmA + bias of channel k, after
// the epilogue, to the 4×4 output pixels P[y*4+x], the last first: pixels beyond
// the image may repeat the first.
//
// Tmp has room for 36 lane vectors.
type WinogradArgs struct {
	P        [36]unsafe.Pointer
	Base     unsafe.Pointer
	Stride   int
	N        int
	Tmp      unsafe.Pointer
	Bias     unsafe.Pointer
	Epilogue int
	GateOff  int
}

// IntervalArgs are the constants of the Interval kernels (see package verify
// for the proof that they make the pass sound).
type IntervalArgs struct {
	Rel  float32 // relative widening of C ± R
	Abs  float32 // absolute widening of C ± R
	MulR float32 // factor of the radius in the inflated radius
	MulC float32 // factor of |centre| in the inflated radius
	Add  float32 // absolute term of the inflated radius
	ReLU uint32  // all ones: clamp bounds at zero first; 0: do not
}

// AdamArgs are the constants of the AdamStep kernel.
type AdamArgs struct {
	Beta1, Rest1 float32 // decay of the first moment and the gradient's share
	Beta2, Rest2 float32 // the same of the second moment
	Alpha        float32 // step size
	Tiny         float32 // added to the root of the second moment
}

// RelaxParams is the number of parameters of a neuron: lower slope, upper slope,
// upper intercept, bias, error.
const RelaxParams = 5

// RelaxArgs describes one call of a Relax kernel: Rows runs of N neurons, one
// lane vector each. Params, of RelaxEach lane vectors, skip ParamSkip bytes after each
// run; Dst, which may be Src, Src and, for RelaxLanes, Lower are contiguous. For each
// neuron, with the parameters low, up, t, b, e:
//
//	p = 0 > v ? 0 : v; n = 0 < v ? 0 : v
//	out = fma(n, up, p*low)
//	Sums[0] = fma(n, t, Sums[0])
//	Sums[1] = fma(out, b, Sums[1])
//	Sums[2] = fma(|out|, e, Sums[2])
//
// The sums start at zero.
type RelaxArgs struct {
	Dst, Src, Params, Lower unsafe.Pointer
	N, Rows, ParamSkip      int
	Sums                    [3][8]float32
}

// ClimbArgs describes one call of ClimbSlopes: Rows runs of N neurons, one lane vector each.
// Params, those of RelaxArgs, skip ParamSkip bytes after each run; Row, Value, Slope, First and
// Second are contiguous. For each neuron, with the parameters up and t, where v > 0 and t > 0, v
// being the coefficients at Row and z the values at Value:
//
//	z' = Slope*z; g = v*z
//	First = First*Beta1 + g*Rest1
//	Second = Second*Beta2 + (g*g)*Rest2
//	Slope = Slope + (First*Rate)/(sqrt(Second*Scale) + Tiny), within 0 and 1; 0 for NaN
//
// elsewhere z' = up*z + t, and nothing else changes. z' goes to Value. Every operation rounds once,
// none is fused.
type ClimbArgs struct {
	Row, Value, Slope, First, Second, Params unsafe.Pointer
	N, Rows, ParamSkip                       int

	Beta1, Rest1, Beta2, Rest2, Rate, Scale, Tiny float32
}

// PlaneNeuron is a neuron of PlanesArgs, with Rows runs of N inputs, at least one. At W and Q is a
// float32 for each input, w and w·ρ; its first lane vector lies Window bytes from Y and X on, its
// own Lane bytes from Row and Value on. After each run W skips WSkip bytes, and Y and X both Skip; Q
// has no gaps. Start is not for the kernels.
type PlaneNeuron struct {
	W, Q                   unsafe.Pointer
	Window, Lane, N, Rows  int
	WSkip, Skip            int
	Up, Half, Error, Start float32
}

// PlanesArgs describes one call of PlanesBack or PlanesAhead for Count neurons, at least one. Own
// has three lane vectors for each of them: Theta, Height and Coef. For each input
//
//	m = Theta - (the sign bit of q is set ? -y : y), within 0 and 1; 0 for NaN
//
// PlanesBack, of neurons of whose Coef the sum is not zero, first moves θ in lanes whose Coef is
// below zero:
//
//	S += |q|*m; D += |q| where m is not cut
//	Theta = Theta + (Half-S)/D, or without D + 0.25 if S < Half, - 0.25 if S > Half; within -1 and 2
//
// and then
//
//	S += |q|*m; x += (Coef*w)*m
//	d = Up - S; d = S > d ? S : d; Height = d*Factor + Tiny
//	Sums[0] += Coef*Height; Sums[1] += |Coef|*Error
//
// PlanesAhead, of these, in lanes whose Coef is below zero:
//
//	S += q*m, its sign turned round if the sign bit of x is not set
//	Value = S + Height
//
// With Lift, PlanesBack takes Coef = 0 < v ? 0 : v before, and leaves v = 0 > v ? 0 : v, v being that
// at Row. Every operation rounds once, none is fused. The sums start at zero.
type PlanesArgs struct {
	Neurons, Own, Row, Value, Y, X unsafe.Pointer
	Count, Lift                    int
	Factor, Tiny                   float32
	Sums                           [2][8]float32
	Sum                            [8]float32 // scratch
}

// LinesArgs describes one call of LinesBack or LinesAhead: N lane vectors at each pointer,
// but one float32 a vector at Bias, for functions of which each, in each lane, lies between
// the lines Lower·z and Upper·z + Intercept. With slope = the sign bit of v is set ? Upper :
// Lower, v being the coefficients at Src and n = 0 < v ? 0 : v, LinesBack is
//
//	Dst = v*slope
//	Sums[0] += n*Intercept
//	Sums[1] += Dst*Bias
//
// the sums starting at zero, and LinesAhead, z being the values at Dst,
//
//	Dst = z*slope + (the sign bit of v is set ? Intercept : 0)
//	Src = (v*slope)*Scale
//	OfIntercept += n*Scale
//	OfUpper += (n*Scale)*z
//
// Every operation rounds once, none is fused.
type LinesArgs struct {
	Dst, Src, Lower, Upper, Intercept, Bias, OfUpper, OfIntercept unsafe.Pointer
	N                                                             int
	Sums                                                          [2][8]float32
	Scale                                                         [8]float32
}

// SparseGroups is the largest number of lane groups that a SparseP kernel takes.
const SparseGroups = 5

// SparseEntry is a term of a sum: the offsets in bytes of its input and of its
// weights.
type SparseEntry struct{ In, W int32 }

// SparseArgs describes one call of a SparseP kernel: Tiles × 4 channels of an output
// pixel of P lane groups. For each tile t, group p, channel i < 4 and lane l:
//
//	acc := +0
//	for e in List[:N] { acc = fma(W[t*WTile + e.W + 4*i], In[p][e.In + 4*l], acc) }
//	Out[p][(t*4+i)*32 + 4*l] = acc
type SparseArgs struct {
	Tiles, N int
	List     unsafe.Pointer // to SparseEntry
	W        unsafe.Pointer
	WTile    int
	In, Out  [SparseGroups]unsafe.Pointer
}

// Tap is an element of a window: the offsets in bytes of its pixel and of its weights.
// The weights of a channel are one float32.
type Tap struct{ At, W int }

// TapsArgs describes one call of a kernel that takes each channel by itself: Pixels
// pixels of Bytes bytes, C lane vectors or C values, and for each a window of N taps. Dst
// and Src move by their steps from pixel to pixel. The last lane vector of C values ends
// with the pixel: unless C is a multiple of 8 it overlaps the one before, or begins before
// the pixel, of which PoolSumGrad and PoolMaxGrad add +0 to what is there. For element i
// of a pixel, with w(t, i) the float32 of tap t and the channel of i:
//
//	Depth:       acc := Bias[channel of i]
//	             for t { acc = fma(Src[t.At + i], w(t, i), acc) }
//	             acc = Least > acc ? Least : acc  // −Inf or, for a ReLU, 0
//	             Dst[i] = Gated = 0 or gate > 0 ? acc : +0, gate at Dst + GateOff
//	PoolMax:     v = Src[first.At + i]; for t after the first { x = Src[t.At + i]; v = x > v ? x : v }
//	             Dst[i] = v, NaN if any x was
//	PoolSum:     v likewise, v = v + x; Dst[i] = v / Divisor
//	PoolSumGrad: q = Src[i] / Divisor; for t { Dst[t.At + i] += q }
//	PoolMaxGrad: for t { Dst[t.At + i] += t is the first with X[t.At + i] = Y[i] ? Src[i] : +0 }
//
// where X moves with Dst and Y with Src. DepthLanes is Depth for pixels of C lane vectors,
// DepthValues for C values, and so forth.
//
// DepthRow is Depth where Src and Dst move by one pixel, Pixels is a multiple of 4 and the
// taps come in rows of three neighbours: At of the second and the third lies one and two
// pixels behind that of the first. It changes Dst and Src.
//
// DepthGradTxV adds to T × V lane vectors of sums, for the first T taps and V channels:
//
//	for pixel { W[8*t.W + v] = fma(Src[t.At + v], Y[v], W[8*t.W + v]) }  // by lane
//
// where Y moves by DstStep.
type TapsArgs struct {
	N, Pixels, Bytes int
	Taps             unsafe.Pointer // to Tap
	Dst, Src         unsafe.Pointer
	DstStep, SrcStep int
	W, Bias          unsafe.Pointer
	Gated, GateOff   int
	X, Y             unsafe.Pointer
	Least, Divisor   float32
	Mask             unsafe.Pointer // PoolSumGrad and PoolMaxGrad: 8 words of zeros, 8 of ones
}

// NoiseArgs describes one call of Noise: Blocks blocks, at least one, of eight values each in eight
// lanes. Block b of lane l has the random numbers Philox4x32-10 of the counter First + b, Sample + l,
// Third, Fourth and the keys of its rounds, four words of 32 bits; value j the half j of these, low
// ones first: its top. Quick has an entry e for each top >> 4, and with less = e & 0xffff − top, of 32 bits,
//
//	X[b][j][l] = float32(Levels[b][j] + e>>16 + less>>31 + Base) / 255,
//
// shifts being logical. Words[b] are the words of all lanes, Misses[b][l] has bit 31 − j where e is below
// 0, of 32 bits, or less is 0.
type NoiseArgs struct {
	X, Levels, Quick, Words, Misses, Keys unsafe.Pointer
	Blocks                                int
	First, Sample, Third, Fourth          uint32
	Base                                  int32
	Lanes                                 [8]uint32 // 0 … 7
}
