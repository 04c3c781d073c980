package onnx

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuick(t *testing.T) {
	list, _ := filepath.Glob("../../../shared/data/vnncomp/*/onnx/*")
	for _, p := range list {
		m, err := Load(p)
		require.NoError(t, err)
		fmt.Println(filepath.Base(p), string(m.Arch.CanonicalJSON())[:min(300, len(m.Arch.CanonicalJSON()))], m.Card)
	}
}
