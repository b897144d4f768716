// SPDX-License-Identifier: Apache-2.0

//go:build !race

package frontend

// raceEnabled says that the race detector makes everything several times slower.
const raceEnabled = false
