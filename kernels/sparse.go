package kernels

import (
	"math"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// Sparse is an adjoint without bias for sources that are zero, in all lanes, at all
// elements but those chosen. It takes the weights of a Linear and gives its bits. It
// must be used by one goroutine at a time.
type Sparse struct {
	l      *Linear
	list   []asm.SparseEntry
	pixels []sparsePixel
	at     []int32 // of each pixel of the source, its first entry of chosen; one more at the end
	chosen []int32 // channels
}

type sparsePixel struct {
	out, phase int32
	from, to   int32 // of list
}

// NewSparse returns the sparse form of an adjoint, nil where it has none: it takes
// output channels by fours, and offsets of 32 bits.
func (l *Linear) NewSparse() *Sparse {
	if !l.adjoint || l.outC%tileChannels != 0 || l.in > math.MaxInt32/vecBytes || l.size > math.MaxInt32/4 {
		return nil
	}
	return &Sparse{l: l}
}

// Choose sets the elements of the source that may be other than zero.
func (s *Sparse) Choose(use []bool) {
	l := s.l
	mustLen("elements", len(use), l.in)
	s.at, s.chosen, s.list, s.pixels = s.at[:0], s.chosen[:0], s.list[:0], s.pixels[:0]
	for k, u := range use {
		if k%l.inC == 0 {
			s.at = append(s.at, int32(len(s.chosen)))
		}
		if u {
			s.chosen = append(s.chosen, int32(k%l.inC))
		}
	}
	s.at = append(s.at, int32(len(s.chosen)))
	for i := range l.classes {
		c := &l.classes[i]
		tapsX := len(l.phases[c.phase].tapsX)
		for _, px := range c.pixels {
			from := len(s.list)
			for y := range c.y.n {
				in := int(px.in) + y*l.srcRow
				w := ((c.y.first+y)*tapsX + c.x.first) * l.inC
				for range c.x.n {
					p := in / l.inC
					for _, ch := range s.chosen[s.at[p]:s.at[p+1]] {
						s.list = append(s.list, asm.SparseEntry{
							In: int32(in*vecBytes) + ch*vecBytes, W: int32(w*tileChannels*4) + ch*tileChannels*4,
						})
					}
					in += l.inC
					w += l.inC
				}
			}
			s.pixels = append(s.pixels, sparsePixel{px.out, int32(c.phase), int32(from), int32(len(s.list))})
		}
	}
}

// Apply is Linear.Apply without epilogue.
func (s *Sparse) Apply(sc *Scratch, dst, src []float32, groups int) {
	if groups == 0 {
		return
	}
	l := s.l
	dst = dst[:mustFit("destination", len(dst), groups*l.out*Lanes)]
	src = src[:mustFit("source", len(src), groups*l.in*Lanes)]
	raceRead(src)
	raceWrite(dst)
	a := &sc.sparse
	a.Tiles = l.outC / tileChannels
	calls := ceilDiv(groups, l.isa.sparseGroups())
	for i := range s.pixels {
		px := &s.pixels[i]
		if px.from == px.to {
			for g := range groups {
				clear(dst[(g*l.out+int(px.out))*Lanes:][:l.outC*Lanes])
			}
			continue
		}
		p := &l.phases[px.phase]
		a.N, a.List = int(px.to-px.from), unsafe.Pointer(&s.list[px.from])
		a.W, a.WTile = unsafe.Pointer(&l.packed[p.offset]), len(p.tapsY)*len(p.tapsX)*l.inC*tileChannels*4
		for c := range calls {
			first, end := groups*c/calls, groups*(c+1)/calls
			for g := first; g < end; g++ {
				a.In[g-first] = unsafe.Add(base(src), g*l.in*vecBytes)
				a.Out[g-first] = unsafe.Add(base(dst), (g*l.out+int(px.out))*vecBytes)
			}
			l.isa.sparse[end-first](a)
		}
	}
}

// sparseGroups is the largest number of lane groups that a kernel takes.
func (i *ISA) sparseGroups() int {
	n := asm.SparseGroups
	for i.sparse[n] == nil {
		n--
	}
	return n
}

//go:noinline
func genericSparse(groups int) func(*asm.SparseArgs) {
	return func(a *asm.SparseArgs) {
		list := unsafe.Slice((*asm.SparseEntry)(a.List), a.N)
		for t := range a.Tiles {
			for p := range groups {
				for i := range tileChannels {
					var acc lane
					for _, e := range list {
						x, w := vector(a.In[p], int(e.In)), *(*float32)(unsafe.Add(a.W, t*a.WTile+int(e.W)+4*i))
						for l := range acc {
							acc[l] = FMA32(x[l], w, acc[l])
						}
					}
					*vector(a.Out[p], (t*tileChannels+i)*vecBytes) = acc
				}
			}
		}
	}
}
