// SPDX-License-Identifier: Apache-2.0

//go:build !race

package offline

// raceEnabled: the detector allocates.
const raceEnabled = false
