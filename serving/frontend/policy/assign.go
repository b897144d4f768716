// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strconv"

	"github.com/millrace-ml/millrace/featurestore/window"
)

// buckets is how finely shares divide units.
const buckets = 10000

// Assign draws the arm of a unit, a place in Arms, and tells with which probability units
// are in it. Without an experiment it is arm 0 with probability 1.
func (p *Policy) Assign(unit string) (arm int, propensity float64) {
	if len(p.Arms) == 1 {
		return 0, 1
	}
	b := bucket(window.KeyOf(unit), p.salt)
	for arm < len(p.Arms)-1 && b >= p.Arms[arm].upTo {
		arm++
	}
	return arm, p.Arms[arm].Share
}

// AssignInt is Assign for a unit that is a whole number; it counts as its decimal text.
func (p *Policy) AssignInt(unit int64) (arm int, propensity float64) {
	var digits [20]byte
	return p.Assign(string(strconv.AppendInt(digits[:0], unit, 10)))
}

// Sampled reports whether the shadow sees a request, named by its prediction id or its unit.
// Shadows sample independently of one another and of the experiment.
func (s *Shadow) Sampled(id string) bool {
	return bucket(window.KeyOf(id), s.salt) < s.below
}

// bucket places a hashed unit, for a hashed salt, among 10000.
func bucket(unit, salt uint64) uint64 { return mix(unit^salt) % buckets }

// mix spreads the bits of x one to one (the finaliser of SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
