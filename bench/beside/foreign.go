// SPDX-License-Identifier: Apache-2.0

//go:build beside && cgo

package main

// #cgo LDFLAGS: -lopenblas -ldnnl
// #include <stdlib.h>
// #include <cblas.h>
// #include "onednn.h"
import "C"

import (
	"errors"
	"unsafe"
)

// foreignMissing is empty: nothing is left out.
const foreignMissing = ""

// pinned is memory that C may keep a pointer to.
type pinned[T float32 | uint8 | int8 | int32] []T

// newPinned copies values out of the Go heap. n is how many there are.
func newPinned[T float32 | uint8 | int8 | int32](n int, values []T) pinned[T] {
	var one T
	p := unsafe.Slice((*T)(C.aligned_alloc(64, C.size_t((n*int(unsafe.Sizeof(one))+63)/64*64))), n)
	clear(p)
	copy(p, values)
	return p
}

func (p pinned[T]) pointer() unsafe.Pointer { return unsafe.Pointer(&p[0]) }

func (p pinned[T]) free() { C.free(p.pointer()) }

// foreignFloats are OpenBLAS, and oneDNN with weights that it has laid out beforehand.
func foreignFloats(p *product) ([]rival, error) {
	C.openblas_set_num_threads(1)
	a, b := newPinned(p.m*p.k, p.a), newPinned(p.k*p.n, p.b)
	c := newPinned[float32](p.m*p.n, nil)
	m, n, k := C.int(p.m), C.int(p.n), C.int(p.k)
	blas := rival{name: "OpenBLAS", output: func() []float64 { return wide(c) }, run: func() error {
		C.cblas_sgemm(C.CblasRowMajor, C.CblasNoTrans, C.CblasNoTrans, m, n, k, 1,
			(*C.float)(a.pointer()), k, (*C.float)(b.pointer()), n, 0, (*C.float)(c.pointer()), n)
		return nil
	}, release: func() {
		a.free()
		b.free()
		c.free()
	}}
	d := newPinned[float32](p.m*p.n, nil)
	dnnl, err := oneDNN(p, C.beside_f32, a.pointer(), b.pointer(), d.pointer())
	dnnl.output, dnnl.release = func() []float64 { return wide(d) }, releaseBoth(dnnl.release, d.free)
	return []rival{blas, dnnl}, err
}

// foreignBytes is oneDNN with weights that it has laid out beforehand.
func foreignBytes(p *product) ([]rival, error) {
	a, b := newPinned(p.m*p.k, p.bytesA), newPinned(p.k*p.n, p.bytesB)
	c := newPinned[int32](p.m*p.n, nil)
	dnnl, err := oneDNN(p, C.beside_u8, a.pointer(), b.pointer(), c.pointer())
	dnnl.output = func() []float64 { return wide(c) }
	dnnl.release = releaseBoth(dnnl.release, func() {
		a.free()
		b.free()
		c.free()
	})
	return []rival{dnnl}, err
}

func releaseBoth(first, second func()) func() {
	return func() {
		if first != nil {
			first()
		}
		second()
	}
}

func oneDNN(p *product, kind C.int, a, b, c unsafe.Pointer) (rival, error) {
	r := rival{name: "oneDNN"}
	handle := C.beside_open(kind, C.int(p.m), C.int(p.n), C.int(p.k), a, b, c)
	if handle == nil {
		return r, errors.New("oneDNN has no such product")
	}
	r.release = func() { C.beside_close(handle) }
	r.run = func() error {
		if C.beside_run(handle) != 0 {
			return errors.New("oneDNN's product was not computed")
		}
		return nil
	}
	return r, nil
}
