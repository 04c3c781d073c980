package onnx

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// sameWire checks what is read of b, or refused, against the library.
func sameWire(t *testing.T, b []byte) {
	t.Helper()
	if wantN, wantT, n := protowire.ConsumeTag(b); n < 0 {
		_, _, got := consumeTag(b)
		require.Negative(t, got, "%x", b)
	} else {
		num, typ, got := consumeTag(b)
		require.Equal(t, []any{int32(wantN), int8(wantT), n}, []any{int32(num), int8(typ), got}, "%x", b)
	}
	same := func(want any, wantN int, got any, n int) {
		t.Helper()
		if wantN < 0 {
			require.Negative(t, n, "%x", b)
			return
		}
		require.Equal(t, wantN, n, "%x", b)
		require.Equal(t, want, got, "%x", b)
	}
	want, wantN := protowire.ConsumeVarint(b)
	got, n := consumeVarint(b)
	same(want, wantN, got, n)
	w32, wantN := protowire.ConsumeFixed32(b)
	g32, n := consumeFixed32(b)
	same(w32, wantN, g32, n)
	want, wantN = protowire.ConsumeFixed64(b)
	got, n = consumeFixed64(b)
	same(want, wantN, got, n)
	wb, wantN := protowire.ConsumeBytes(b)
	gb, n := consumeBytes(b)
	same(wb, wantN, gb, n)
	wantN = protowire.ConsumeFieldValue(5, protowire.StartGroupType, b)
	same(nil, wantN, nil, skipGroup(5, b, 0))
}

func wireSeeds() [][]byte {
	group := func(num protowire.Number, in []byte) []byte {
		b := append(protowire.AppendTag(nil, num, protowire.StartGroupType), in...)
		return protowire.AppendTag(b, num, protowire.EndGroupType)
	}
	end := protowire.AppendTag(nil, 5, protowire.EndGroupType)
	all := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 300)
	all = protowire.AppendFixed32(protowire.AppendTag(all, 2, protowire.Fixed32Type), 7)
	all = protowire.AppendFixed64(protowire.AppendTag(all, 3, protowire.Fixed64Type), 8)
	all = protowire.AppendString(protowire.AppendTag(all, 4, protowire.BytesType), "text")
	seeds := [][]byte{{}, {0}, {0x80}, end, all, append(all, end...), append(group(9, group(8, all)), end...)}
	for _, v := range []uint64{0, 1, 127, 128, 1 << 34, math.MaxInt32 << 3, math.MaxInt32<<3 + 8, math.MaxUint64 - 1, math.MaxUint64} {
		seeds = append(seeds, protowire.AppendVarint(nil, v))
	}
	long := protowire.AppendVarint(nil, math.MaxUint64)
	long[9] = 2
	return append(seeds, long, append(append([]byte{}, long[:9]...), 0x81, 0))
}

func TestWire(t *testing.T) {
	seeds := wireSeeds()
	rnd := rand.New(rand.NewPCG(5, 6))
	for _, s := range seeds {
		sameWire(t, s)
		for range 2000 {
			b := append([]byte{}, s[:rnd.IntN(len(s)+1)]...)
			for range rnd.IntN(4) {
				b = append(b, byte(rnd.Uint32()))
			}
			if len(b) > 0 {
				b[rnd.IntN(len(b))] = byte(rnd.Uint32())
			}
			sameWire(t, b)
		}
	}
	var deep []byte
	for range 200 {
		deep = protowire.AppendTag(deep, 5, protowire.StartGroupType)
	}
	for range 201 {
		deep = protowire.AppendTag(deep, 5, protowire.EndGroupType)
	}
	require.Negative(t, skipGroup(5, deep, 0), "a file decides how deep the stack grows")
	for _, v := range []uint64{0, 1, 127, 128, 1 << 40, math.MaxUint64} {
		require.Equal(t, protowire.AppendVarint(nil, v), appendVarint(nil, v))
	}
	require.Equal(t, protowire.AppendTag(nil, 14, protowire.BytesType), appendTag(nil, 14, bytesType))
	require.Equal(t, protowire.AppendString(nil, "text"), appendBytes(nil, "text"))
	require.Equal(t, protowire.AppendBytes(nil, []byte{1, 2}), appendBytes(nil, []byte{1, 2}))
}

func FuzzWire(f *testing.F) {
	for _, s := range wireSeeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < maxGroups {
			sameWire(t, b)
		}
	})
}
