// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"errors"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// registerMetrics collects the models' statistics, the Go runtime and the process, and
// what the options add.
func (s *Server) registerMetrics() error {
	all := []prometheus.Collector{
		s.stats,
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsAll)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
	var errs []error
	for _, c := range append(all, s.options.Collectors...) {
		errs = append(errs, s.metrics.Register(c))
	}
	return errors.Join(errs...)
}

// metricsHandler serves /metrics and the profiles of /debug/pprof.
func (s *Server) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	guarded := s.access.HTTP(mux)
	guarded.Handle("GET /metrics", promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{Registry: s.metrics, MaxRequestsInFlight: 4}))
	guarded.Handle("GET /debug/pprof/", http.HandlerFunc(pprof.Index))
	guarded.Handle("GET /debug/pprof/cmdline", http.HandlerFunc(pprof.Cmdline))
	guarded.Handle("GET /debug/pprof/profile", http.HandlerFunc(pprof.Profile))
	guarded.Handle("GET /debug/pprof/symbol", http.HandlerFunc(pprof.Symbol))
	guarded.Handle("GET /debug/pprof/trace", http.HandlerFunc(pprof.Trace))
	return mux
}
