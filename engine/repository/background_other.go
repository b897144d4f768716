// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package repository

// lowerPriority does nothing where the system has no priority of single threads.
func lowerPriority() {}
