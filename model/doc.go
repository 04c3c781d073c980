// Package model holds a network as data: an architecture (a validated graph of
// layers), its weights, float32 or stored in 16 bits, the model file (safetensors)
// and a hash that names the network. It runs nothing and imports, beside the standard
// library, only the arithmetic of 16-bit floats.
//
// All types are plain data. Reading one from several goroutines at once is
// safe; changing one while others read it is not.
//
// The file format is specified in docs/model-format.md.
package model
