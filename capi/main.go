// Command capi is the C interface: epsball as a shared or a static library for
// programs in C, C++, Python and whatever calls C. See README.md and epsball.h.
//
//	go build -buildmode=c-shared -o libepsball.so ./capi
//	go build -buildmode=c-archive -o libepsball.a ./capi
//
// It is the one package that uses cgo. Without cgo it is empty.
package main

func main() {} // which no library runs
