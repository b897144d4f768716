// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package repository

// atLowPriority just runs f where the system has no priority of single threads.
func atLowPriority(f func()) { f() }
