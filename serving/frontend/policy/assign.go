// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math"
	"strconv"
	"strings"

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

// Split takes a share of all units, the same ones whenever it is asked. Of two splits with
// the same salt the one with the larger share takes what the other takes, and more; with
// other salts they are independent of one another and of experiments.
type Split struct{ below, salt uint64 }

// NewSplit returns a split of a share, from 0 to 1, rounded to a multiple of 1/10000.
func NewSplit(salt string, share float64) Split {
	return Split{below: uint64(math.Round(share * buckets)), salt: window.KeyOf(salt)}
}

// Share is the probability that a unit is taken.
func (s Split) Share() float64 { return float64(s.below) / buckets }

// Takes reports whether a unit is among those taken.
func (s Split) Takes(unit string) bool { return bucket(window.KeyOf(unit), s.salt) < s.below }

// TakesInt is Takes for a unit that is a whole number; it counts as its decimal text.
func (s Split) TakesInt(unit int64) bool {
	var digits [20]byte
	return s.Takes(string(strconv.AppendInt(digits[:0], unit, 10)))
}

// NewShadow returns a shadow that no policy file asks for.
func NewShadow(m Model, share float64) Shadow {
	s := Shadow{Model: m, Share: math.Round(share*buckets) / buckets}
	s.seal()
	return s
}

// seal makes the share and the salt ready to use.
func (s *Shadow) seal() {
	s.below = uint64(math.Round(s.Share * buckets))
	s.salt = window.KeyOf(strings.Join([]string{"shadow", s.Model.Name, s.Model.Version}, "\x00"))
}
