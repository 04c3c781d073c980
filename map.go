package epsball

import (
	"github.com/epsball/epsball/internal/formats"
	"github.com/epsball/epsball/model"
)

// Map is Load for devices with little memory. It maps the model file, read-only and
// shared with other processes, instead of reading it. With FewImages, Classify uses the
// weights in place if `epsball convert --layout tiles` has put them in the order for
// that. What Attack and Certify need in addition is packed when they are first called.
// Close unmaps the file; no call may be running then. The file must not be changed in
// place meanwhile (see model.Mapped). ONNX networks are loaded as by Load.
func Map(path string, opts ...Option) (*Model, error) {
	if formats.IsONNX(path) {
		return Load(path, opts...)
	}
	f, err := model.Map(path)
	if err != nil {
		return nil, err
	}
	m, err := New(f.Model, opts...)
	if err != nil {
		_ = f.Close() // the error is about the model
		return nil, err
	}
	m.mapped = f
	return m, nil
}

// MappedBytes returns the length of the mapped file, or 0 without one. All processes
// that map it share its memory, which holds only what was touched lately.
func (m *Model) MappedBytes() int {
	if m.mapped == nil {
		return 0
	}
	return m.mapped.Bytes()
}
