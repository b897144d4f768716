// SPDX-License-Identifier: Apache-2.0

//go:build purego

package cpu

// assembly says that this build has kernels in assembly.
const assembly = false
