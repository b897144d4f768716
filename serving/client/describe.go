// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// Field describes a fact, a key, a feature or a field of a source.
type Field struct {
	Name string
	// Type is bool, int64, float64, string or timestamp.
	Type     string
	Required bool
	// Origin is where a feature comes from.
	Origin string
}

// DecisionInfo describes a decision that can be asked for.
type DecisionInfo struct {
	Name, Description, Service, Model, PolicyVersion string
	// Decisions are what it may answer.
	Decisions, Arms []string
	// Facts are the fields of a request, keys of entities first.
	Facts []Field
}

// ServiceInfo describes a feature service.
type ServiceInfo struct {
	Name, Description, Model    string
	Entities, Request, Features []Field
}

// SourceInfo describes a source. IDField is empty where events bring ids of their own.
type SourceInfo struct {
	Name string
	// Push says that it takes pushes.
	Push                    bool
	Fields                  []Field
	IDField, TimestampField string
}

// ListDecisions describes the decisions that can be asked for.
func (c *Client) ListDecisions(ctx context.Context) ([]DecisionInfo, error) {
	plan := callPlan{name: "list decisions", timeout: c.options.GetTimeout, repeat: true}
	m, _, err := call(ctx, c, plan, func(ctx context.Context, l *lane) (*millracev1.ListDecisionsResponse, error) {
		return l.decisions.ListDecisions(ctx, &millracev1.ListDecisionsRequest{})
	})
	if err != nil {
		return nil, err
	}
	var all []DecisionInfo
	for _, d := range m.Decisions {
		all = append(all, DecisionInfo{
			Name: d.GetName(), Description: d.GetDescription(), Service: d.GetService(), Model: d.GetModel(),
			PolicyVersion: d.GetPolicyVersion(), Decisions: d.GetDecisions(), Arms: d.GetArms(), Facts: newFields(d.GetFacts()),
		})
	}
	return all, nil
}

// ListFeatures describes the feature services and the sources.
func (c *Client) ListFeatures(ctx context.Context) ([]ServiceInfo, []SourceInfo, error) {
	plan := callPlan{name: "list features", timeout: c.options.GetTimeout, repeat: true}
	m, _, err := call(ctx, c, plan, func(ctx context.Context, l *lane) (*millracev1.ListFeaturesResponse, error) {
		return l.features.ListFeatures(ctx, &millracev1.ListFeaturesRequest{})
	})
	if err != nil {
		return nil, nil, err
	}
	var services []ServiceInfo
	for _, s := range m.Services {
		services = append(services, ServiceInfo{
			Name: s.GetName(), Description: s.GetDescription(), Model: s.GetModel(),
			Entities: newFields(s.GetEntities()), Request: newFields(s.GetRequest()), Features: newFields(s.GetFeatures()),
		})
	}
	var sources []SourceInfo
	for _, s := range m.Sources {
		sources = append(sources, SourceInfo{
			Name: s.GetName(), Push: s.GetPush(), Fields: newFields(s.GetFields()),
			IDField: s.GetIdField(), TimestampField: s.GetTimestampField(),
		})
	}
	return services, sources, nil
}

func newFields(all []*millracev1.FieldDescription) []Field {
	var fields []Field
	for _, f := range all {
		fields = append(fields, Field{Name: f.GetName(), Type: f.GetType(), Required: f.GetRequired(), Origin: f.GetOrigin()})
	}
	return fields
}
