//go:build !(aix || darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package model

import "os"

// mapFile reads the file instead.
func mapFile(path string) (data []byte, free func() error, err error) {
	data, err = os.ReadFile(path)
	return data, nil, err
}
