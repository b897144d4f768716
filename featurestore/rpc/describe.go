// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"

	"github.com/millrace-ml/millrace/featurestore/definition"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// ListFeatures implements the call.
func (s *Service) ListFeatures(context.Context, *millracev1.ListFeaturesRequest) (*millracev1.ListFeaturesResponse, error) {
	c := s.store.Catalog()
	answer := &millracev1.ListFeaturesResponse{DefinitionsHash: c.Hash[:]}
	for _, service := range c.Services {
		answer.Services = append(answer.Services, describeService(c, service))
	}
	for _, source := range c.Sources {
		d := &millracev1.FeatureSource{Name: source.Name, Push: source.Push, Fields: describeFields(source.Fields)}
		if source.ID >= 0 {
			d.IdField = source.Fields[source.ID].Name
		}
		if source.Timestamp >= 0 {
			d.TimestampField = source.Fields[source.Timestamp].Name
		}
		answer.Sources = append(answer.Sources, d)
	}
	return answer, nil
}

func describeService(c *definition.Catalog, s *definition.Service) *millracev1.FeatureService {
	d := &millracev1.FeatureService{Name: s.Name, Model: s.Model, Description: s.Description, Request: describeFields(s.Request)}
	for _, e := range s.Entities {
		d.Entities = append(d.Entities, &millracev1.FieldDescription{Name: e.Key, Type: e.Type.String(), Required: true, Origin: "entity " + e.Name})
	}
	for i := range s.Features {
		f := &s.Features[i]
		d.Features = append(d.Features, &millracev1.FieldDescription{Name: f.Name, Type: f.Type.String(), Origin: c.Origin(s, f)})
	}
	return d
}

func describeFields(fields []definition.Field) []*millracev1.FieldDescription {
	var all []*millracev1.FieldDescription
	for _, f := range fields {
		all = append(all, &millracev1.FieldDescription{Name: f.Name, Type: f.Type.String(), Required: f.Required})
	}
	return all
}
