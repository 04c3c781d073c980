//go:build !purego

package asm

// CPUID executes the instruction of that name. It is written by hand.
//
//go:noescape
func CPUID(leaf, sub uint32) (a, b, c, d uint32)
