// SPDX-License-Identifier: Apache-2.0

// Package serving is the model server: the inference protocol over gRPC and REST,
// model administration, health, metrics, and an orderly start and end.
//
// A request passes through one chain, whichever front it came in by: decoded into
// a pooled object (request.go), checked against its model (check.go), queued and
// batched (package batching), run and answered from the instance's own memory
// (execute.go, reply.go). Wire types end here: engine and batching know none. A Call
// (call.go) takes the same way from within the process, with no message at either end.
//
// A stop finishes what is in flight and refuses the rest: requests that were accepted
// are answered, streams end when they have nothing left to answer, watches are told.
// A panic of a backend fails the requests it ran for and nothing else (guard.go); any
// other panic on the gRPC side ends the process, because it is a bug of ours.
//
// A Server may be used from many goroutines.
package serving

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/serving/access"
	"github.com/millrace-ml/millrace/serving/stats"
)

// Options configure a Server.
type Options struct {
	// ID is the server name that ServerMetadata answers. Default "triton": several
	// stock clients of the protocol check for it.
	ID string
	// Version is the version that ServerMetadata answers.
	Version string
	// GRPC, HTTP and Metrics are listeners that the server takes over and closes. A
	// nil one switches that face off.
	GRPC, HTTP, Metrics net.Listener
	// TLS secures gRPC. Nil is plain text.
	TLS *tls.Config
	// Transport has keepalive and other settings of gRPC.
	Transport TransportOptions
	// Repository says where models are and how they are controlled. Attach is set by
	// the server.
	Repository repository.Options
	// StrictReadiness: the server is ready only when every model is. Default in cmd.
	StrictReadiness bool
	// ExitOnError: a model that fails to load at start fails Serve.
	ExitOnError bool
	// ExitTimeout is how long requests in flight may take after a stop. Default 30 s.
	ExitTimeout time.Duration
	// Services register more gRPC services on the port, seen by reflection like our own.
	// A panic in them ends the process.
	Services []func(grpc.ServiceRegistrar)
	// Routes adds more routes to the REST port. Bodies are bounded by
	// Limits.MessageBytesMax and in how long a client may stall in the middle of one. A
	// pattern that the server has itself panics, as with any http.ServeMux.
	Routes func(mux access.Mux)
	// Access says who may call what, of Services and Routes too. Nil lets everybody.
	Access *access.Guard
	// Collectors are more metrics on the metrics port.
	Collectors []prometheus.Collector
	// OnStop is called once when a stop begins, before anything is taken away: requests to
	// Services and Routes still come in and calls still run models. It must refuse new
	// requests, end streams that have nothing left to answer, and wait for what is in
	// flight, at most until its context ends with the exit timeout.
	OnStop func(context.Context) error
	// LatencyHistograms switches the latency histograms of the metrics on.
	LatencyHistograms bool
	Limits            Limits
	// Logger gets what happens. Nil is slog.Default.
	Logger *slog.Logger
}

// EnsureDefaults replaces zero values.
func (o *Options) EnsureDefaults() {
	if o.ID == "" {
		o.ID = "triton"
	}
	if o.ExitTimeout == 0 {
		o.ExitTimeout = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Limits.EnsureDefaults()
	o.Transport.EnsureDefaults()
}

// Server serves models until its context ends.
type Server struct {
	options    Options
	limits     Limits
	log        *slog.Logger
	repository *repository.Repository
	stats      *stats.Registry
	metrics    *prometheus.Registry
	health     *healthService
	access     *access.Guard
	// accepting is false before models are loaded and after a stop began.
	accepting atomic.Bool
	// ready is closed when the initial load is over, stopping when a stop begins.
	ready, stopping chan struct{}
}

// NewServer checks the options and prepares a server; Serve starts it.
func NewServer(o Options) (*Server, error) {
	o.EnsureDefaults()
	if err := o.Limits.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		options:  o,
		limits:   o.Limits,
		log:      o.Logger,
		ready:    make(chan struct{}),
		stopping: make(chan struct{}),
		stats:    stats.NewRegistry(stats.Options{Histograms: o.LatencyHistograms}),
		metrics:  prometheus.NewRegistry(),
	}
	var err error
	if s.access = o.Access; s.access == nil {
		if s.access, err = access.New(access.Options{Logger: o.Logger}); err != nil {
			return nil, err
		}
	}
	s.health = newHealthService(s)
	o.Repository.Logger = o.Logger
	o.Repository.Attach = func(v *repository.Version) (repository.Attachment, error) {
		return newServedModel(v, s.stats, s.limits, s.log)
	}
	o.Repository.OnChange = s.health.modelsChanged
	if s.repository, err = repository.New(o.Repository); err != nil {
		return nil, err
	}
	if err := s.registerMetrics(); err != nil {
		return nil, err
	}
	return s, nil
}

// Ready is closed when the initial load of models is over.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Serve loads the models and serves until ctx ends, then stops in order: it
// refuses new requests, answers those in flight, unloads, and returns nil. It may
// be called once.
func (s *Server) Serve(ctx context.Context) error {
	faces, err := s.openFaces()
	if err != nil {
		return err
	}
	failed := make(chan error, len(faces))
	var running sync.WaitGroup
	for _, f := range faces {
		running.Go(func() {
			if err := f.serve(); err != nil {
				failed <- fmt.Errorf("%s: %w", f.name, err)
			}
		})
	}
	err = s.loadModels(ctx)
	switch {
	case err == nil:
		select {
		case err = <-failed:
		case <-ctx.Done():
		}
	case ctx.Err() != nil:
		err = nil // stopped while loading
	}
	stopErr := s.stop(faces)
	running.Wait()
	return errors.Join(err, stopErr)
}

// loadModels loads what the control mode says, then opens for requests.
func (s *Server) loadModels(ctx context.Context) error {
	began := time.Now()
	if err := s.repository.Start(ctx); err != nil {
		return err
	}
	failed := s.repository.InitialErrors()
	if s.options.ExitOnError && len(failed) > 0 {
		return fmt.Errorf("%d models failed to load: %w", len(failed), errors.Join(slices.Collect(maps.Values(failed))...))
	}
	s.accepting.Store(true)
	s.health.modelsChanged()
	close(s.ready)
	s.log.Info("ready", "models", len(s.repository.Models())-len(failed), "failed", len(failed), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// stop ends the faces one after the other, so that metrics can be read to the end.
func (s *Server) stop(faces []face) error {
	s.accepting.Store(false)
	close(s.stopping)
	ctx, cancel := context.WithTimeout(context.Background(), s.options.ExitTimeout)
	defer cancel()
	s.log.Info("stopping: requests in flight are finished", "timeout", s.options.ExitTimeout)
	var errs []error
	if s.options.OnStop != nil {
		errs = append(errs, s.options.OnStop(ctx))
	}
	for _, f := range faces {
		if f.afterUnload {
			continue
		}
		errs = append(errs, f.stop(ctx))
	}
	errs = append(errs, s.repository.Close(ctx))
	for _, f := range faces {
		if f.afterUnload {
			errs = append(errs, f.stop(ctx))
		}
	}
	return errors.Join(errs...)
}

// face is one listener with what serves it.
type face struct {
	name        string
	serve       func() error
	stop        func(context.Context) error
	afterUnload bool
}

func (s *Server) openFaces() ([]face, error) {
	var faces []face
	if l := s.options.GRPC; l != nil {
		faces = append(faces, s.grpcFace(l))
	}
	if l := s.options.HTTP; l != nil {
		faces = append(faces, httpFace("REST", l, s.restHandler(), false))
	}
	if l := s.options.Metrics; l != nil {
		faces = append(faces, httpFace("metrics", l, s.metricsHandler(), true))
	}
	if len(faces) == 0 {
		return nil, errors.New("nothing to serve: gRPC, HTTP and metrics are all switched off")
	}
	return faces, nil
}

// grpcFace serves all gRPC services. When the exit timeout is over, requests still
// in flight are cut.
func (s *Server) grpcFace(l net.Listener) face {
	options := s.options.Transport.ServerOptions(s.limits)
	if s.options.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(s.options.TLS)))
	}
	server := grpc.NewServer(append(options, grpc.ForceServerCodecV2(Codec()))...)
	s.registerServices(server)
	return face{
		name: "gRPC",
		serve: func() error {
			if err := server.Serve(l); !errors.Is(err, grpc.ErrServerStopped) { // stopped before it began
				return err
			}
			return nil
		},
		stop: func(ctx context.Context) error {
			done := make(chan struct{})
			go func() { // ends with the last handler, even after a cut
				server.GracefulStop()
				close(done)
			}()
			select {
			case <-done:
				return nil
			case <-ctx.Done():
				server.Stop()
				return errors.New("gRPC: the exit timeout is over, requests in flight were cut")
			}
		},
	}
}

func httpFace(name string, l net.Listener, handler http.Handler, afterUnload bool) face {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	return face{
		name: name,
		serve: func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
		stop: func(ctx context.Context) error {
			err := server.Shutdown(ctx)
			if err != nil {
				server.Close()
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		},
		afterUnload: afterUnload,
	}
}
