// Package foreign recognises files of other frameworks, to say how to get an ONNX
// network from them. Only programs that read ONNX link it.
package foreign

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/model"
)

// maker is a kind of file that other programs write, and how an ONNX network is
// got from it.
type maker struct {
	what string
	cure string   // IN stands for the file, OUT for the ONNX network
	ends []string // of file names
	head string   // of the file's bytes; empty: none to go by
}

const (
	savedModelCure = "export it: python -m tf2onnx.convert --saved-model IN --output OUT (pip install tf2onnx)"
	torchCure      = `export the network in Python, C, H, W being channels, height and width of its images: torch.onnx.export(net.eval(), torch.zeros(1, C, H, W), "OUT")`
)

var makers = []maker{
	{"a PyTorch file", torchCure, []string{".pt", ".pth", ".ckpt", ".pt2", ".pkl", ".pickle"}, "\x80\x02"},
	{"a ZIP archive, as PyTorch and Keras write them", torchCure, nil, "PK\x03\x04"},
	{
		"a Keras file", "export it: python -m tf2onnx.convert --keras IN --output OUT (pip install tf2onnx)",
		[]string{".h5", ".hdf5", ".keras"},
		"\x89HDF\r\n",
	},
	{
		"a TensorFlow Lite file", "export it: python -m tf2onnx.convert --tflite IN --output OUT (pip install tf2onnx)",
		[]string{".tflite"},
		"",
	},
	{
		"a TensorFlow graph", "export its SavedModel folder: python -m tf2onnx.convert --saved-model FOLDER --output OUT (pip install tf2onnx)",
		[]string{".pb"},
		"",
	},
	{
		"a network of another framework", "export it to ONNX there",
		[]string{".mlmodel", ".mlpackage", ".caffemodel", ".params", ".pdmodel", ".gguf", ".msgpack", ".mat"},
		"",
	},
	{
		"data, not a network", "",
		[]string{".npz", ".npy", ".png", ".jpg", ".jpeg", ".csv", ".jsonl"},
		"",
	},
}

// Check returns an error that says how to get an ONNX network out of path if
// path is a folder, or a file that another framework wrote; else nil.
func Check(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return folder(path)
	} else if err != nil {
		return nil // whoever opens it says why that fails
	}
	end := strings.ToLower(filepath.Ext(path))
	i := slices.IndexFunc(makers, func(m maker) bool { return slices.Contains(m.ends, end) })
	if i < 0 && end != ".safetensors" && !formats.IsONNX(path) {
		head := head(path)
		i = slices.IndexFunc(makers, func(m maker) bool { return m.head != "" && bytes.HasPrefix(head, []byte(m.head)) })
		// An ONNX network starts with fields 1, its version, and 2, what wrote it.
		if len(head) > 2 && head[0] == 0x08 && head[1] < 0x40 && head[2] == 0x12 {
			return notModel(path, "an ONNX network by its content: call it .onnx")
		}
	}
	if i < 0 {
		return nil
	}
	return makers[i].error(path)
}

func (m *maker) error(path string) error {
	out := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) + ".onnx"
	cure := strings.NewReplacer("IN", path, "OUT", out).Replace(m.cure)
	if cure != "" {
		cure = ": " + cure
	}
	return notModel(path, m.what+", want a .safetensors or .onnx file"+cure)
}

// foreign is an error with a text of its own that errors.As takes for what it is.
type foreign struct {
	text string
	as   error
}

func (f *foreign) Error() string { return f.text }
func (f *foreign) Unwrap() error { return f.as }

func notModel(path, text string) error {
	return &foreign{"model: " + path + ": " + text, &model.FormatError{File: path, Msg: text}}
}

func notFile(path, text string) error {
	return &foreign{"model: " + path + ": " + text, &fs.PathError{Op: "open", Path: path, Err: errors.New(text)}}
}

// head returns the first bytes of a file, as far as they can be had.
func head(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 16))
	return b
}

// folder says which network lies in a folder.
func folder(path string) error {
	if _, err := os.Stat(filepath.Join(path, "saved_model.pb")); err == nil {
		m := maker{what: "a TensorFlow SavedModel", cure: savedModelCure}
		return m.error(filepath.Clean(path))
	}
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && (formats.IsONNX(name) || strings.HasSuffix(name, ".safetensors")) {
			return notFile(path, "is a folder, want a file, such as "+name+" in it")
		}
	}
	return notFile(path, "is a folder, want a .safetensors or .onnx file")
}
