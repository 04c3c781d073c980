package model

import (
	"math/bits"
	"slices"
	"strings"
)

// keySet is a set of a layer's keys in JSON.
type keySet uint16

// The keys, in their order in canonical JSON but for the last two.
const (
	keyMean keySet = 1 << iota
	keyStd
	keyOut
	keyKernel
	keyStride
	keyPadding
	keyDilation
	keyGroups
	keyCountPadding
	keySlope
	keyMin
	keyMax
	keyEps
	keyInputs
	keyType
)

var keyNames = [...]string{
	"mean", "std", "out", "kernel", "stride", "padding", "dilation", "groups", "count_padding",
	"slope", "min", "max", "eps", "inputs", "type",
}

// String returns the first key.
func (k keySet) String() string { return keyNames[bits.TrailingZeros16(uint16(k))] }

// kindKeys are the keys of a kind besides its type.
type kindKeys struct {
	kind               Kind
	required, optional keySet
}

var kinds = [...]kindKeys{
	{Normalize, keyMean | keyStd, 0},
	{Conv, keyOut | keyKernel, keyInputs | keyStride | keyPadding | keyDilation | keyGroups},
	{FC, keyOut, keyInputs},
	{BatchNorm, keyEps, keyInputs},
	{ReLU, 0, keyInputs},
	{LeakyReLU, keySlope, keyInputs},
	{Sigmoid, 0, keyInputs},
	{Tanh, 0, keyInputs},
	{Clip, keyMin | keyMax, keyInputs},
	{MaxPool, keyKernel, keyInputs | keyStride | keyPadding},
	{AvgPool, keyKernel, keyInputs | keyStride | keyPadding | keyCountPadding},
	{Add, keyInputs, 0},
	{Concat, keyInputs, 0},
}

// Kinds lists the kinds of layers.
func Kinds() []Kind {
	all := make([]Kind, len(kinds))
	for i := range kinds {
		all[i] = kinds[i].kind
	}
	return all
}

// keys returns the keys of a kind, nil if there is none of that name. It is smaller
// to call than to inline.
//
//go:noinline
func (k Kind) keys() *kindKeys {
	i := slices.IndexFunc(kinds[:], func(e kindKeys) bool { return e.kind == k })
	if i < 0 {
		return nil
	}
	return &kinds[i]
}

func unknownKind(i int, k Kind) error {
	names := ""
	for _, known := range Kinds() {
		names += ", " + string(known)
	}
	return layerErr(i, "type", "got %s, expected one of %s", quote(string(k)), strings.TrimPrefix(names, ", "))
}
