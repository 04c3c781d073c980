package mutate

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
)

// Numbers that readers go wrong on.
var interesting = []uint64{
	0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 1023, 1 << 10, 4095, 4096, 4097,
	1<<15 - 1, 1 << 15, 1<<16 - 1, 1 << 16, 1 << 20, 1 << 22, 1 << 24, 1<<29 - 1, 1 << 29, 1<<31 - 1, 1 << 31,
	1<<32 - 1, 1 << 32, 1 << 33, 1 << 40, 1<<53 + 1, 1<<62 - 1, 1 << 62, 1<<63 - 1, 1 << 63, 1<<64 - 1,
}

func number(r *rand.Rand) uint64 {
	v := interesting[r.IntN(len(interesting))]
	if r.IntN(4) == 0 {
		v += uint64(r.IntN(5)) - 2
	}
	return v
}

// damage changes b in one to four places.
func damage(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + r.IntN(2)*r.IntN(4) {
		b = operators[r.IntN(len(operators))](r, b)
	}
	return b
}

// operators each make one change.
var operators = []func(*rand.Rand, []byte) []byte{flip, flip, set, truncate, cut, repeat, splice, field, field, text, text, grow}

// span returns a random part [i, j) of n bytes, mostly short.
func span(r *rand.Rand, n int) (i, j int) {
	i = r.IntN(n + 1)
	most := n - i
	if r.IntN(4) > 0 {
		most = min(most, 16)
	}
	return i, i + r.IntN(most+1)
}

func flip(r *rand.Rand, b []byte) []byte {
	if len(b) > 0 {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	}
	return b
}

func set(r *rand.Rand, b []byte) []byte {
	if len(b) > 0 {
		b[r.IntN(len(b))] = byte(number(r))
	}
	return b
}

func truncate(r *rand.Rand, b []byte) []byte { return b[:r.IntN(len(b)+1)] }

func cut(r *rand.Rand, b []byte) []byte {
	i, j := span(r, len(b))
	return append(b[:i], b[j:]...)
}

func repeat(r *rand.Rand, b []byte) []byte {
	i, j := span(r, len(b))
	part := bytes.Repeat(b[i:j], 1+r.IntN(3))
	return append(b[:j:j], append(part, b[j:]...)...)
}

func splice(r *rand.Rand, b []byte) []byte {
	i, j := span(r, len(b))
	at := r.IntN(len(b) + 1)
	copy(b[at:], bytes.Clone(b[i:j]))
	return b
}

// field overwrites what may be a length.
func field(r *rand.Rand, b []byte) []byte {
	size := 1 << r.IntN(4)
	if len(b) < size {
		return b
	}
	var v [8]byte
	at := r.IntN(len(b) - size + 1)
	if r.IntN(2) == 0 {
		binary.LittleEndian.PutUint64(v[:], number(r))
		copy(b[at:at+size], v[:size])
	} else {
		binary.BigEndian.PutUint64(v[:], number(r))
		copy(b[at:at+size], v[8-size:])
	}
	return b
}

// text replaces a number written in digits.
func text(r *rand.Rand, b []byte) []byte {
	var runs [][2]int
	for i := 0; i < len(b); i++ {
		j := i
		for j < len(b) && b[j] >= '0' && b[j] <= '9' {
			j++
		}
		if j > i {
			runs = append(runs, [2]int{i, j})
			i = j
		}
	}
	if len(runs) == 0 {
		return flip(r, b)
	}
	at := runs[r.IntN(len(runs))]
	n := strconv.FormatUint(number(r), 10)
	switch r.IntN(8) {
	case 0:
		n = "-" + n
	case 1:
		n += ".5"
	case 2:
		n += "e9"
	}
	return append(b[:at[0]:at[0]], append([]byte(n), b[at[1]:]...)...)
}

func grow(r *rand.Rand, b []byte) []byte {
	more := make([]byte, 1+r.IntN(64))
	if r.IntN(2) == 0 {
		for i := range more {
			more[i] = byte(r.Uint32())
		}
	}
	return append(b, more...)
}
