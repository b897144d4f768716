// SPDX-License-Identifier: Apache-2.0

package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/millrace-ml/millrace/serving/access"
)

// Options configure a Client. The zero value is ready.
type Options struct {
	// TLS encrypts the connections; nil does not.
	TLS *tls.Config
	// Token is a secret of a server that has tokens, of the role client or operator. It is
	// sent with what adds data, which is what needs one.
	Token string
	// Connections to the server, used in turn; default 1, at most 64. More than one helps
	// where a connection's one reader is the bound, or where a load balancer stands between.
	Connections int
	// Lazy makes Dial return before a connection stands.
	Lazy bool
	// DialTimeout bounds the wait of Dial; default 10 s.
	DialTimeout time.Duration
	// Keepalive is how long a connection that has calls may be silent before it is
	// probed; default 30 s, at least 10 s.
	Keepalive time.Duration

	// The deadlines of calls whose context has none; defaults 1 s, 1 s, 10 s and 10 s.
	DecideTimeout, GetTimeout, PushTimeout, InferTimeout time.Duration

	// Attempts bounds how often a call is sent; default 3, at most 10, 1 never repeats.
	Attempts int
	// Backoff is the longest wait before the first repeat, which doubles to at most
	// BackoffMax; defaults 20 ms and 500 ms.
	Backoff, BackoffMax time.Duration
	// RetryShare is how many repeats and hedges there may be for each call, besides a
	// burst of 10; default 0.1, at most 0.2.
	RetryShare float64
	// Hedge sends a second request when a read, or a decision with a key, has no answer
	// after this time, and takes the first answer. Zero, the default, does not. It should
	// be about the 95th percentile of the time to an answer.
	Hedge time.Duration

	// MessageBytesMax bounds a message in either direction; default 64 MiB.
	MessageBytesMax int
	// DialOptions are handed to gRPC after those made of the above.
	DialOptions []grpc.DialOption
}

const (
	connectionsMax = 64
	attemptsMax    = 10
	shareMax       = 0.2
	keepaliveMin   = 10 * time.Second
)

// EnsureDefaults replaces zero values.
func (o *Options) EnsureDefaults() {
	defaultTo(&o.Connections, 1)
	defaultTo(&o.DialTimeout, 10*time.Second)
	defaultTo(&o.Keepalive, 30*time.Second)
	defaultTo(&o.DecideTimeout, time.Second)
	defaultTo(&o.GetTimeout, time.Second)
	defaultTo(&o.PushTimeout, 10*time.Second)
	defaultTo(&o.InferTimeout, 10*time.Second)
	defaultTo(&o.Attempts, 3)
	defaultTo(&o.Backoff, 20*time.Millisecond)
	defaultTo(&o.BackoffMax, max(o.Backoff, 500*time.Millisecond))
	defaultTo(&o.RetryShare, 0.1)
	defaultTo(&o.MessageBytesMax, 64<<20)
}

func defaultTo[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Validate reports all that is wrong with options that have their defaults.
func (o *Options) Validate() error {
	var problems []error
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.Connections < 1 || o.Connections > connectionsMax {
		wrong("connections: %d is not between 1 and %d", o.Connections, connectionsMax)
	}
	if o.Attempts < 1 || o.Attempts > attemptsMax {
		wrong("attempts: %d is not between 1 and %d", o.Attempts, attemptsMax)
	}
	if !(o.RetryShare > 0 && o.RetryShare <= shareMax) {
		wrong("retry share: %v is not above 0 and at most %v; attempts 1 turns repeats off", o.RetryShare, shareMax)
	}
	if o.Keepalive < keepaliveMin {
		wrong("keepalive: %v is below %v, at which servers end the connection", o.Keepalive, keepaliveMin)
	}
	if o.Token != "" {
		if err := access.CheckSecret(o.Token); err != nil {
			problems = append(problems, err)
		}
	}
	if o.BackoffMax < o.Backoff {
		wrong("backoff: %v is above its maximum %v", o.Backoff, o.BackoffMax)
	}
	if o.MessageBytesMax < 1<<10 {
		wrong("message bytes: %d is below 1024", o.MessageBytesMax)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"dial timeout", o.DialTimeout}, {"decide timeout", o.DecideTimeout}, {"get timeout", o.GetTimeout},
		{"push timeout", o.PushTimeout}, {"infer timeout", o.InferTimeout}, {"backoff", o.Backoff}, {"hedge", o.Hedge},
	} {
		if d.value < 0 {
			wrong("%s: %v is negative", d.name, d.value)
		}
	}
	return errors.Join(problems...)
}

// authorized are the call options of what adds data.
func (o *Options) authorized() []grpc.CallOption {
	if o.Token == "" {
		return nil
	}
	return []grpc.CallOption{grpc.PerRPCCredentials(access.Bearer(o.Token))}
}
