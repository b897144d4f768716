// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/engine/repository"
)

// Repository is the server's models, for a console beside it: what it swaps is swapped for
// all clients. It belongs to the server and must not be started or closed.
func (s *Server) Repository() *repository.Repository { return s.repository }

// Metrics gathers what the metrics port answers.
func (s *Server) Metrics() prometheus.Gatherer { return s.metrics }
