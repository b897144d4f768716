// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
)

// upFeedback takes what became of predictions; nil takes nothing.
type upFeedback struct{}

// openFeedback opens the collector of the project's feedback.
func (u *up) openFeedback(ctx context.Context) (*upFeedback, error) { return nil, nil }

func (f *upFeedback) register(r grpc.ServiceRegistrar) {}

func (f *upFeedback) routes(mux *http.ServeMux) {}

func (f *upFeedback) collectors() []prometheus.Collector { return nil }

// run does what is due until ctx ends.
func (f *upFeedback) run(ctx context.Context) {}

// stop ends streams; nothing more is taken.
func (f *upFeedback) stop() {}

func (f *upFeedback) close() error { return nil }
