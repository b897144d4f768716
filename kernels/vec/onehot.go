// SPDX-License-Identifier: Apache-2.0

package vec

// OneHot fills rows x classes elements with off and sets element codes[r] of row r to
// on. A negative code counts from the end, as in ONNX; the row of a code that names no
// class is all off.
func OneHot[C int32 | int64](dst []float32, codes []C, rows, classes int, on, off float32) {
	n := area("OneHot", rows, classes, len(dst))
	need("OneHot", rows, len(codes))
	if n == 0 {
		return
	}
	Fill(dst[:n], off)
	for r, code := range codes[:rows] {
		c := int64(code)
		if c < 0 {
			c += int64(classes)
		}
		if uint64(c) < uint64(classes) {
			dst[r*classes+int(c)] = on
		}
	}
}

// Fill sets all of dst to v.
func Fill(dst []float32, v float32) {
	if len(dst) == 0 {
		return
	}
	// Copies of what is there already run as fast as memory does.
	const first = 1024
	head := dst[:min(first, len(dst))]
	for i := range head {
		head[i] = v
	}
	for done := len(head); done < len(dst); done += first {
		copy(dst[done:], head)
	}
}
