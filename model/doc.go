// Package model holds a network as data: an architecture (a validated graph of
// layers), its float32 weights, the model file (safetensors) and a hash that
// names the network. It runs nothing and imports only the standard library.
//
// All types are plain data. Reading one from several goroutines at once is
// safe; changing one while others read it is not.
//
// The file format is specified in docs/model-format.md.
package model
