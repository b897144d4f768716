// SPDX-License-Identifier: Apache-2.0

//go:build unix

package report

import "golang.org/x/sys/unix"

// kernel is the name and release of the operating system's kernel.
func kernel() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
}
