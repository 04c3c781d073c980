// Package onnx reads and writes networks as ONNX models.
//
// Reading converts a graph of the operators that docs/onnx.md lists into the
// layers of package model, or fails with a *model.FormatError that names the
// node, its operator and the attribute or input that does not fit: no part of a
// graph that decides the output is ever ignored. The conversion is exact in real
// arithmetic but for constants that are multiplied into weights and for tensors of
// doubles; those are rounded to float32 once and noted in the model's card. What
// is certified afterwards is the network that was read.
//
// Files are not trusted: conversion takes time and memory within a small
// multiple of the file's size plus a constant (see budget), and external data is read
// from files in the same folder alone (see external).
package onnx
