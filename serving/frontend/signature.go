// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"encoding/json"
	"fmt"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// signatureKey is the entry of a model's metadata that says which features it learnt, in
// which order; what trains models writes it.
const signatureKey = "millrace.signature"

// learntSignature is what the front-end needs of it.
type learntSignature struct {
	Service  string `json:"service"`
	Features []struct {
		Name string `json:"name"`
	} `json:"features"`
}

// checkSignature holds the features that a model learnt to those of the service: a vector
// has no names, so another order would be answered with confident nonsense. Models without
// a signature, or without a file, are taken as they are.
func checkSignature(s *definition.Service, call Call) error {
	file, err := call.ModelFile()
	if err != nil {
		return nil // built in, or sent with the load
	}
	properties, err := onnx.ReadProperties(file)
	if err != nil {
		return nil // the model was loaded from it and serves; it is just not said what it learnt
	}
	for _, p := range properties {
		if p.Key != signatureKey {
			continue
		}
		var learnt learntSignature
		if err := json.Unmarshal([]byte(p.Value), &learnt); err != nil {
			return fmt.Errorf("its %s cannot be read: %w", signatureKey, err)
		}
		return learnt.compare(s)
	}
	return nil
}

func (l *learntSignature) compare(s *definition.Service) error {
	for i, f := range s.Features {
		if i >= len(l.Features) {
			return fmt.Errorf("it learnt %d features, the service has %d: %s is new to it", len(l.Features), len(s.Features), f.Name)
		}
		if l.Features[i].Name != f.Name {
			return fmt.Errorf("it learnt %s as feature %d, where the service has %s: train it on this service, or put the features in its order", l.Features[i].Name, i+1, f.Name)
		}
	}
	if len(l.Features) > len(s.Features) {
		return fmt.Errorf("it learnt %d features, the service has %d: %s is missing", len(l.Features), len(s.Features), l.Features[len(s.Features)].Name)
	}
	return nil
}
