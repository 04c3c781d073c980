// Package edge embeds the Python programs through which `epsball bench --edge`
// measures other runtimes.
package edge

import "embed"

// Files are serve.py, a contestant in a process of its own, and convert.py,
// which writes ONNX networks in the formats of the others.
//
//go:embed serve.py convert.py
var Files embed.FS
