// Package onnx lets epsball.Load and LoadFS read ONNX networks (docs/onnx.md), which
// programs that only run model files need not carry:
//
//	import _ "github.com/epsball/epsball/onnx"
package onnx

import (
	"github.com/epsball/epsball/internal/foreign"
	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/internal/onnx"
)

// Options choose what a network becomes: Options{KeepBatchNorm: true}.Load(path) reads
// one with its batch norms as layers.
type Options = onnx.Options

func init() {
	formats.ONNX.Load, formats.ONNX.LoadFS, formats.ONNX.Foreign = onnx.Load, onnx.LoadFS, foreign.Check
}
