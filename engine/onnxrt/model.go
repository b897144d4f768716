// SPDX-License-Identifier: Apache-2.0

//go:build cgo && unix

package onnxrt

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// device is what instances must agree on to share a session.
type device struct {
	kind modelconfig.InstanceKind
	gpu  int
}

// model is an opened model: a checked file, and the sessions its instances share.
type model struct {
	file     string
	graph    *graph
	settings settings

	// distrust is set for good once an output had another shape than the graph
	// declares.
	distrust atomic.Bool

	mu struct {
		sync.Mutex
		// shared holds one session per device, made by the first instance there.
		shared map[device]*ort.DynamicAdvancedSession
	}
}

var _ engine.Model = (*model)(nil)

func newModel(file string, g *graph, s settings) engine.Model {
	m := &model{file: file, graph: g, settings: s}
	m.mu.shared = make(map[device]*ort.DynamicAdvancedSession)
	return m
}

func (m *model) Signature() engine.Signature { return m.graph.signature }

// NewInstance opens the placement's session unless there is one to share, which is
// where the library reads the file.
func (m *model) NewInstance(placement engine.Placement) (engine.Instance, error) {
	session, private, err := m.session(placement)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", m.file, err)
	}
	in := &instance{
		model:   m,
		session: session,
		private: private,
		direct:  placement.Kind == modelconfig.KindGPU,
	}
	if err := in.prepare(placement.MaxBatchSize); err != nil {
		return nil, errors.Join(fmt.Errorf("load %s: %w", m.file, err), in.Close())
	}
	return in, nil
}

// session gives the session for a placement and whether it is the caller's alone.
func (m *model) session(placement engine.Placement) (_ *ort.DynamicAdvancedSession, private bool, err error) {
	if placement.Kind != modelconfig.KindGPU && m.settings.threads(placement) > 1 {
		session, err := openSession(m.file, m.graph, m.settings, placement)
		return session, true, err
	}
	at := device{kind: placement.Kind, gpu: placement.GPU}
	m.mu.Lock()
	defer m.mu.Unlock()
	session := m.mu.shared[at]
	if session == nil {
		if session, err = openSession(m.file, m.graph, m.settings, placement); err != nil {
			return nil, false, err
		}
		m.mu.shared[at] = session
	}
	return session, false, nil
}

// Close releases the shared sessions and hands their memory back to the system.
func (m *model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var problems []error
	for at, session := range m.mu.shared {
		problems = append(problems, session.Destroy())
		delete(m.mu.shared, at)
	}
	trimHeap()
	return errors.Join(problems...)
}
