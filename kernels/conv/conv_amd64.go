// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package conv

import (
	"unsafe"

	"github.com/millrace-ml/millrace/kernels/cpu"
)

// A layout that is not what the kernels know makes one of these overflow.
const (
	_ = -(unsafe.Offsetof(job{}.cols) ^ 64)
	_ = -(unsafe.Offsetof(job{}.high) ^ 92)
	_ = -(unsafe.Offsetof(job{}.table) ^ 96)
	_ = -(unsafe.Offsetof(job{}.gap) ^ 112)
)

// hasKernels reports whether there are the kernels below.
func hasKernels() bool { return cpu.Active() >= cpu.AVX2 }

// even is the lanes of two vectors that make one of every other element.
var even = [16]int32{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30}

// lanes has masks for AVX2: those that begin n words before the middle have their first
// n lanes set.
var lanes = func() (table [32]int32) {
	for i := range 16 {
		table[i] = -1
	}
	return table
}()

// narrowRows is the most rows that a kernel of AVX2 has registers for.
const narrowRows = 4

func (j *job) runRows(rows int) {
	if cpu.Active() >= cpu.AVX512 {
		rowsAVX512(rows, (*byte)(unsafe.Pointer(j)))
		return
	}
	j.table = &lanes[16]
	for rows > 0 {
		n := min(rows, narrowRows)
		if rows > n && rows < 2*n {
			n = (rows + 1) / 2
		}
		rowsAVX2(n, (*byte)(unsafe.Pointer(j)))
		rows -= n
		if rows > 0 {
			j.weights = (*float32)(unsafe.Add(unsafe.Pointer(j.weights), 4*n))
			j.bias = (*float32)(unsafe.Add(unsafe.Pointer(j.bias), 4*n))
			j.dst = (*float32)(unsafe.Add(unsafe.Pointer(j.dst), n*j.ldd))
		}
	}
}

func rowsAVX2(rows int, p *byte) {
	switch rows {
	case 1:
		rows1AVX2(p)
	case 2:
		rows2AVX2(p)
	case 3:
		rows3AVX2(p)
	case 4:
		rows4AVX2(p)
	default:
		noKernel()
	}
}

func rowsAVX512(rows int, p *byte) {
	switch rows {
	case 1:
		rows1AVX512(p)
	case 2:
		rows2AVX512(p)
	case 3:
		rows3AVX512(p)
	case 4:
		rows4AVX512(p)
	case 5:
		rows5AVX512(p)
	case 6:
		rows6AVX512(p)
	case 7:
		rows7AVX512(p)
	case 8:
		rows8AVX512(p)
	default:
		noKernel()
	}
}

func noKernel() { panic("conv: no kernel of so many rows") }

// pointer is the job with what the level's pools look up.
func (j *job) pointer(wide bool) *byte {
	j.table = &lanes[16]
	if wide {
		j.table = &even[0]
	}
	return (*byte)(unsafe.Pointer(j))
}

func (j *job) runMax(step int) {
	wide := cpu.Active() >= cpu.AVX512
	p := j.pointer(wide)
	switch {
	case wide && step == 1:
		max1AVX512(p)
	case wide:
		max2AVX512(p)
	case step == 1:
		max1AVX2(p)
	default:
		max2AVX2(p)
	}
}

func (j *job) runSum(step int) {
	wide := cpu.Active() >= cpu.AVX512
	p := j.pointer(wide)
	switch {
	case wide && step == 1:
		sum1AVX512(p)
	case wide:
		sum2AVX512(p)
	case step == 1:
		sum1AVX2(p)
	default:
		sum2AVX2(p)
	}
}

func (j *job) runFilter(step int) {
	wide := cpu.Active() >= cpu.AVX512
	p := j.pointer(wide)
	switch {
	case wide && step == 1:
		filter1AVX512(p)
	case wide:
		filter2AVX512(p)
	case step == 1:
		filter1AVX2(p)
	default:
		filter2AVX2(p)
	}
}

func (j *job) runCopy() {
	wide := cpu.Active() >= cpu.AVX512
	p := j.pointer(wide)
	if wide {
		copyAVX512(p)
	} else {
		copyAVX2(p)
	}
}

// Vectors of wrapped columns lie in up to 2 rows of the picture, or 3 where these are
// shorter than a vector. With fewer rows of sums the loads would take longer than the
// sums.
const (
	wrapRowsMin  = 3
	wrapWidthMin = 8
	wideVector   = 16
)

func wraps(rows, width int) bool {
	return cpu.Active() >= cpu.AVX512 && rows >= wrapRowsMin && width >= wrapWidthMin
}

func (j *job) runWrap(rows int) {
	p := (*byte)(unsafe.Pointer(j))
	if j.width >= wideVector {
		wrapIn2(rows, p)
	} else {
		wrapIn3(rows, p)
	}
}

func wrapIn2(rows int, p *byte) {
	switch rows {
	case 3:
		wrap3x2AVX512(p)
	case 4:
		wrap4x2AVX512(p)
	case 5:
		wrap5x2AVX512(p)
	case 6:
		wrap6x2AVX512(p)
	case 7:
		wrap7x2AVX512(p)
	case 8:
		wrap8x2AVX512(p)
	default:
		noKernel()
	}
}

func wrapIn3(rows int, p *byte) {
	switch rows {
	case 3:
		wrap3x3AVX512(p)
	case 4:
		wrap4x3AVX512(p)
	case 5:
		wrap5x3AVX512(p)
	case 6:
		wrap6x3AVX512(p)
	case 7:
		wrap7x3AVX512(p)
	case 8:
		wrap8x3AVX512(p)
	default:
		noKernel()
	}
}
