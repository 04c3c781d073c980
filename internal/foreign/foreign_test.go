package foreign

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestForeign(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, c := range map[string]struct{ content, want string }{
		"a.pt":          {"", `torch.onnx.export(net.eval(), torch.zeros(1, C, H, W), "a.onnx")`},
		"A.PTH":         {"", `"A.onnx"`},
		"b.keras":       {"", "python -m tf2onnx.convert --keras " + at("b.keras") + " --output b.onnx"},
		"c.tflite":      {"", "--tflite " + at("c.tflite") + " --output c.onnx"},
		"d.pb":          {"", "--saved-model FOLDER --output d.onnx"},
		"e.mlmodel":     {"", "another framework"},
		"f.npz":         {"", "data, not a network"},
		"zip":           {"PK\x03\x04", "ZIP archive"},
		"hdf":           {"\x89HDF\r\n\x1a\n", "a Keras file"},
		"pickle":        {"\x80\x02", "a PyTorch file"},
		"g.safetensors": {"PK\x03\x04", ""}, // its reader knows better
		"h.onnx":        {"PK\x03\x04", ""},
		"i.onnx.gz":     {"\x80\x02", ""},
		"onnx":          {"\x08\x0a\x12\x07pytorch", "call it .onnx"},
		"short":         {"P", ""},
		"none":          {"\x00", ""},
	} {
		require.NoError(t, os.WriteFile(at(name), []byte(c.content), 0o666))
		err := Check(at(name))
		if c.want == "" {
			assert.NoError(t, err, name)
			continue
		}
		assert.ErrorContains(t, err, c.want, name)
		assert.ErrorContains(t, err, "model: "+at(name)+": ")
	}
	assert.NoError(t, Check(at("absent.pt")), "whoever opens it says that it is not there")
}

func TestForeignFolder(t *testing.T) {
	dir := t.TempDir()
	assert.ErrorContains(t, Check(dir), "is a folder, want a .safetensors or .onnx file")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "n.onnx"), nil, 0o666))
	assert.ErrorContains(t, Check(dir), "is a folder, want a file, such as n.onnx in it")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "saved_model.pb"), nil, 0o666))
	assert.ErrorContains(t, Check(dir), "tf2onnx.convert --saved-model "+dir+" --output "+filepath.Base(dir)+".onnx")
}
