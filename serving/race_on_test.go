// SPDX-License-Identifier: Apache-2.0

//go:build race

package serving

// raceDetector: it allocates and drops pooled objects, so allocations cannot be
// counted under it.
const raceDetector = true
