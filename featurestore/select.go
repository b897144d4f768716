// SPDX-License-Identifier: Apache-2.0

package featurestore

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
)

const (
	// SelectionsMax bounds the lists of features that are kept ready; others are made ready
	// at each request.
	SelectionsMax = 256
	// FeaturesMax is the largest number of features of one list.
	FeaturesMax = 4096
)

// selections keeps what computes lists of single features.
type selections struct {
	mu    sync.RWMutex
	ready map[string]*plan.Assembler
}

// Features returns what computes single features, named VIEW:FEATURE or
// LOOKUP:FIELD, as a service that is not defined anywhere. Its features have the
// names asked for.
func (s *Store) Features(names []string) (*plan.Assembler, error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: name a feature service or features as view:feature", ErrInvalid)
	}
	if len(names) > FeaturesMax {
		return nil, fmt.Errorf("%w: %d features, at most %d at once", ErrInvalid, len(names), FeaturesMax)
	}
	id := strings.Join(names, "\x00")
	s.selections.mu.RLock()
	ready := s.selections.ready[id]
	s.selections.mu.RUnlock()
	if ready != nil {
		return ready, nil
	}
	service := &definition.Service{Index: -1, Time: -1}
	for _, name := range names {
		if err := s.selectFeature(service, name); err != nil {
			return nil, err
		}
	}
	ready = plan.NewAssembler(s.catalog, service)
	s.selections.mu.Lock()
	defer s.selections.mu.Unlock()
	if s.selections.ready == nil {
		s.selections.ready = map[string]*plan.Assembler{}
	}
	if len(s.selections.ready) < SelectionsMax {
		s.selections.ready[id] = ready
	}
	return ready, nil
}

func (s *Store) selectFeature(service *definition.Service, name string) error {
	origin, feature, ok := strings.Cut(name, ":")
	if !ok {
		return fmt.Errorf("feature %q: %w: write it as view:feature", name, ErrInvalid)
	}
	if v := s.catalog.View(origin); v != nil {
		offset, ok := viewValue(v, feature)
		if !ok {
			return fmt.Errorf("feature %q: view %s has no feature %q: %w", name, origin, feature, ErrUnknown)
		}
		service.Features = append(service.Features, definition.Feature{Name: name, Type: column.Float64, Kind: definition.FromView, View: v.Index, Offset: offset})
		addEntities(service, v.Entities)
		return nil
	}
	l := s.catalog.Lookup(origin)
	if l == nil {
		return fmt.Errorf("feature %q: no view or lookup is called %q: %w", name, origin, ErrUnknown)
	}
	at := slices.IndexFunc(l.Fields, func(f int) bool { return l.Source.Fields[f].Name == feature })
	if at < 0 {
		return fmt.Errorf("feature %q: lookup %s has no field %q: %w", name, origin, feature, ErrUnknown)
	}
	service.Features = append(service.Features, definition.Feature{Name: name, Type: l.Source.Fields[l.Fields[at]].Type, Kind: definition.FromLookup, Lookup: l.Index, Offset: at})
	addEntities(service, l.Entities)
	return nil
}

// viewValue is the place of a feature's value in a view's row. A feature of several
// values has them under NAME_0, NAME_1 and so on.
func viewValue(v *definition.View, feature string) (int, bool) {
	for _, f := range v.Features {
		if f.Width == 1 && f.Name == feature {
			return f.Offset, true
		}
		if f.Width > 1 && strings.HasPrefix(feature, f.Name+"_") {
			for k := range f.Width {
				if feature == fmt.Sprintf("%s_%d", f.Name, k) {
					return f.Offset + k, true
				}
			}
		}
	}
	return 0, false
}

func addEntities(service *definition.Service, entities []*definition.Entity) {
	for _, e := range entities {
		if !slices.Contains(service.Entities, e) {
			service.Entities = append(service.Entities, e)
		}
	}
}
