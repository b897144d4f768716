// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package report

func kernel() string { return "" }
