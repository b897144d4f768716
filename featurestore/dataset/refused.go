// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"cmp"
	"slices"
	"sync"
)

// Refused is a kind of event that no table takes, as a push of it would be refused.
type Refused struct {
	Source string `json:"source"`
	Field  string `json:"field"`
	Reason string `json:"reason"`
	Events int64  `json:"events"`
}

// refusedMax bounds the kinds of refused events that are told apart.
const refusedMax = 100

// refusals counts refused events by kind.
type refusals struct {
	mu struct {
		sync.Mutex
		kinds map[Refused]int64
		total int64
	}
}

func (r *refusals) add(source, field, reason string) {
	kind := Refused{Source: source, Field: field, Reason: reason}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.total++
	if r.mu.kinds == nil {
		r.mu.kinds = map[Refused]int64{}
	}
	if _, known := r.mu.kinds[kind]; !known && len(r.mu.kinds) >= refusedMax {
		kind = Refused{Source: source, Reason: "other reasons"}
	}
	r.mu.kinds[kind]++
}

// list is what was refused, most first.
func (r *refusals) list() []Refused {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Refused, 0, len(r.mu.kinds))
	for kind, n := range r.mu.kinds {
		kind.Events = n
		all = append(all, kind)
	}
	slices.SortFunc(all, func(a, b Refused) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}
