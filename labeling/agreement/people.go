// SPDX-License-Identifier: Apache-2.0

package agreement

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Answer is what somebody said of an item.
type Answer struct {
	Item, Annotator string
	// Value is the label; equal ones agree.
	Value string
	// Lead is how long it took, 0 if that is not known.
	Lead time.Duration
	// Gold is the known answer, empty if there is none.
	Gold string
}

// Person sums an annotator up.
type Person struct {
	Name    string
	Answers int
	// Lead is the median time for an answer, of those where it is known, and PerHour what
	// that makes in an hour; 0 if none is known.
	Lead    time.Duration
	PerHour float64
	// Others is the share of pairs with others' answers to the same item that agree, over
	// Pairs of them; NaN without any.
	Others float64
	Pairs  int
	// Gold is the share of gold items answered right, with the Wilson interval at 95 %; NaN
	// without any.
	Gold, GoldLow, GoldHigh float64
	GoldItems               int
}

// People sums annotators up, by name. The newest, that is last, answer of somebody to an
// item counts.
func People(answers []Answer) ([]Person, error) {
	if len(answers) > ItemsMax {
		return nil, fmt.Errorf("%w: %d answers, at most %d are taken", ErrInvalid, len(answers), ItemsMax)
	}
	newest := map[[2]string]int{}
	for i, a := range answers {
		if a.Item == "" || a.Annotator == "" {
			return nil, fmt.Errorf("%w: answers[%d]: item and annotator must be given", ErrInvalid, i)
		}
		newest[[2]string{a.Item, a.Annotator}] = i
	}
	items := map[string]map[string]int{} // how often each value was given
	for _, i := range newest {
		a := &answers[i]
		if items[a.Item] == nil {
			items[a.Item] = map[string]int{}
		}
		items[a.Item][a.Value]++
	}
	people := map[string][]*Answer{}
	for _, i := range newest {
		people[answers[i].Annotator] = append(people[answers[i].Annotator], &answers[i])
	}
	out := make([]Person, 0, len(people))
	for name, own := range people {
		out = append(out, sumUp(name, own, items))
	}
	slices.SortFunc(out, func(a, b Person) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func sumUp(name string, own []*Answer, items map[string]map[string]int) Person {
	p := Person{Name: name, Answers: len(own), Others: math.NaN()}
	var leads []time.Duration
	agreeing, right := 0, 0
	for _, a := range own {
		if a.Lead > 0 {
			leads = append(leads, a.Lead)
		}
		for value, n := range items[a.Item] {
			if value == a.Value {
				n-- // their own
				agreeing += n
			}
			p.Pairs += n
		}
		if a.Gold != "" {
			p.GoldItems++
			if a.Gold == a.Value {
				right++
			}
		}
	}
	if len(leads) > 0 {
		slices.SortFunc(leads, func(a, b time.Duration) int { return cmp.Compare(a, b) })
		p.Lead = (leads[(len(leads)-1)/2] + leads[len(leads)/2]) / 2
		p.PerHour = float64(time.Hour) / float64(p.Lead)
	}
	if p.Pairs > 0 {
		p.Others = float64(agreeing) / float64(p.Pairs)
	}
	p.Gold, p.GoldLow, p.GoldHigh = wilson(right, p.GoldItems)
	return p
}

// wilson is a share with its 95 % interval (Wilson 1927).
func wilson(right, n int) (share, low, high float64) {
	if n == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	const z = 1.959963984540054
	m := float64(n)
	share = float64(right) / m
	center := (share + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(share*(1-share)/m+z*z/(4*m*m))
	return share, max(0, center-half), min(1, center+half)
}
