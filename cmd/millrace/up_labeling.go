// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/console"
)

// upLabeling has people label what is worth it; nil has nothing to label.
type upLabeling struct{}

// openLabeling opens the project's labelling. The server and the front-end in parts are made
// later, before run is called.
func (u *up) openLabeling(ctx context.Context, parts *upParts) (*upLabeling, error) { return nil, nil }

func (l *upLabeling) routes(mux *http.ServeMux) {}

func (l *upLabeling) collectors() []prometheus.Collector { return nil }

// show gives the console what it shows.
func (l *upLabeling) show(o *console.Options) {}

// run selects tasks until ctx ends.
func (l *upLabeling) run(ctx context.Context, ready <-chan struct{}) {}

func (l *upLabeling) close() error { return nil }
