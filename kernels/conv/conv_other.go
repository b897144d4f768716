// SPDX-License-Identifier: Apache-2.0

//go:build purego || !amd64

package conv

// hasKernels says that there are none.
func hasKernels() bool { return false }

func (j *job) runRows(rows int) { noKernels() }

func (j *job) runMax(step int) { noKernels() }

func (j *job) runSum(step int) { noKernels() }

func (j *job) runFilter(step int) { noKernels() }

func (j *job) runCopy() { noKernels() }

func wraps(rows, width int) bool { return false }

func (j *job) runWrap(rows int) { noKernels() }

func noKernels() { panic("conv: no kernels in this build") }
