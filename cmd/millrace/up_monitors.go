// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/console"
)

// upMonitors watch the project's decisions; nil watches nothing.
type upMonitors struct{}

// openMonitors opens the project's monitors. Alarms trigger pipelines, which may be nil. The
// server and the front-end in parts are made later, before run is called.
func (u *up) openMonitors(ctx context.Context, parts *upParts, pipelines *upPipelines) (*upMonitors, error) {
	return nil, nil
}

func (m *upMonitors) collectors() []prometheus.Collector { return nil }

// show gives the console what it shows.
func (m *upMonitors) show(o *console.Options) {}

// run watches until ctx ends.
func (m *upMonitors) run(ctx context.Context, ready <-chan struct{}) {}

func (m *upMonitors) close() error { return nil }
