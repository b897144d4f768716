// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"time"

	"github.com/redis/rueidis"

	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/plan"
)

// Options configure a Store. Those of several replicas that share a Redis agree in
// Prefix and Buckets.
type Options struct {
	// URL is redis://[user:password@]host:port[/db], rediss:// for TLS, or unix://path;
	// ?master_set=NAME asks Sentinels, &addr=host:port adds addresses.
	URL string
	// Addresses are host:port, in place of those of the URL; several are nodes of one
	// cluster, or its Sentinels.
	Addresses []string
	// Username and Password override those of the URL. The command line reads them from the
	// environment, so that they are in no file.
	Username, Password string
	// TLS configures encryption; nil leaves that to the URL.
	TLS *tls.Config
	// Prefix begins all keys; empty is "millrace:". It has no braces.
	Prefix string
	// Buckets is in how many parts entities are kept apart by a hash tag. One call serves
	// one bucket, so a single server wants 1, the default, and a cluster needs a power of two
	// of some times its nodes, at most 1024. Another number has other keys: all states are
	// computed again.
	Buckets int
	// Deadline bounds a read, waiting included; zero is 50 ms.
	Deadline time.Duration
	// WriteDeadline bounds reading what a group of events changes, and writing it with all
	// repetitions; zero is 500 ms.
	WriteDeadline time.Duration
	// CacheBytes is the memory for decoded states: half for reads, half for updates; zero
	// is 64 MiB, at least 256 KiB.
	CacheBytes int64
	// CheckpointEvery is how often the place in the log is noted up to which a later start
	// has nothing to replay; zero is 10 s.
	CheckpointEvery time.Duration
	// Tables are what is kept.
	Tables []plan.Table

	// Log names the event log of this replica among those that share the Redis. It stays the
	// same over restarts, and another log has another name. Empty says that there is none:
	// then what Redis loses is lost.
	Log string
	// Members are the logs of all replicas, if known: after a loss values count as whole
	// only when all of them have been replayed. Those seen since the start are known anyway.
	Members []string
	// Position is the last sequence that the log has given; needed with Log.
	Position func() uint64
	// Durable waits until the log has stored all up to a sequence. If it is set, Redis never
	// has what a crash takes from the log, and one wait serves all events of a group.
	Durable func(ctx context.Context, sequence uint64) error
	// Recover does again what is done when a store is opened: compute the tables that
	// Rebuild lists, replay from ReplayFrom. It is called, with the context that these calls
	// are to be given, when Redis lost states, and again until it succeeds. Nil leaves
	// that to a restart.
	Recover func(ctx context.Context) error

	// Now is the clock of what Counters tells; nil is the machine's.
	Now func() time.Time
	// Logger gets what happens; nil is slog.Default.
	Logger *slog.Logger
}

const (
	prefixDefault     = "millrace:"
	deadlineDefault   = 50 * time.Millisecond
	writeDefault      = 500 * time.Millisecond
	checkpointDefault = 10 * time.Second
	cacheDefault      = 64 << 20
	cacheMin          = 256 << 10
	bucketsMax        = 1024
	logNameMax        = 128
	membersMax        = 1024
)

// EnsureDefaults fills in what is zero.
func (o *Options) EnsureDefaults() {
	if o.Prefix == "" {
		o.Prefix = prefixDefault
	}
	o.Buckets = max(o.Buckets, 1)
	if o.Deadline == 0 {
		o.Deadline = deadlineDefault
	}
	if o.WriteDeadline == 0 {
		o.WriteDeadline = writeDefault
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = checkpointDefault
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = cacheDefault
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// Validate reports everything that is wrong with the options, wrapped in
// online.ErrInvalidOptions.
func (o *Options) Validate() error {
	var all []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			all = append(all, fmt.Errorf(format, args...))
		}
	}
	bad(o.URL == "" && len(o.Addresses) == 0, "no URL and no addresses of Redis")
	bad(len(o.Prefix) > 64 || !plain(o.Prefix), "prefix %q: at most 64 printable characters, no braces or blanks", o.Prefix)
	bad(o.Buckets > bucketsMax || bits.OnesCount(uint(o.Buckets)) != 1, "buckets %d: a power of two, at most %d", o.Buckets, bucketsMax)
	bad(o.Deadline < time.Millisecond, "deadline %v: at least 1ms", o.Deadline)
	bad(o.WriteDeadline < time.Millisecond, "write deadline %v: at least 1ms", o.WriteDeadline)
	bad(o.CheckpointEvery < 10*time.Millisecond, "checkpoint every %v: at least 10ms", o.CheckpointEvery)
	bad(o.CacheBytes < cacheMin, "cache bytes %d: at least %d", o.CacheBytes, cacheMin)
	bad(len(o.Log) > logNameMax || o.Log != "" && !plain(o.Log), "log %q: at most %d printable characters, no braces or blanks", o.Log, logNameMax)
	bad(o.Log != "" && o.Position == nil, "log %q: Position is missing", o.Log)
	bad(len(o.Members) > membersMax, "%d members, at most %d", len(o.Members), membersMax)
	for _, m := range o.Members {
		bad(m == "" || len(m) > logNameMax || !plain(m), "member %q: 1 to %d printable characters, no braces or blanks", m, logNameMax)
	}
	if len(all) > 0 {
		return fmt.Errorf("%w of the Redis store: %w", online.ErrInvalidOptions, errors.Join(all...))
	}
	return nil
}

// plain reports whether a text can be part of a key.
func plain(s string) bool {
	for _, r := range s {
		if r <= ' ' || r > '~' || r == '{' || r == '}' || r == '/' {
			return false
		}
	}
	return true
}

// dialTimeoutMax bounds making a connection, greeting included.
const dialTimeoutMax = 10 * time.Second

// client returns what rueidis is to be given. Its addresses have no password.
func (o *Options) client() (rueidis.ClientOption, error) {
	var c rueidis.ClientOption
	if o.URL != "" {
		var err error
		if c, err = rueidis.ParseURL(o.URL); err != nil {
			// The cause is left out: it may quote the password.
			return c, fmt.Errorf("%w of the Redis store: URL: want redis://[user:password@]host:port[/db], rediss:// or unix://path", online.ErrInvalidOptions)
		}
	}
	if len(o.Addresses) > 0 {
		c.InitAddress = o.Addresses
	}
	if o.Username != "" {
		c.Username = o.Username
	}
	if o.Password != "" {
		c.Password = o.Password
	}
	if o.TLS != nil {
		c.TLSConfig = o.TLS
	}
	// Without Sentinels, one bucket means one server. What it says of a cluster is not asked
	// for then, because behind a proxy that leads elsewhere.
	c.ForceSingleClient = o.Buckets == 1 && c.Sentinel.MasterSet == ""
	if c.ForceSingleClient && len(c.InitAddress) > 1 {
		return c, fmt.Errorf("%w of the Redis store: %d addresses and one bucket: nodes of a cluster need Buckets, Sentinels ?master_set=NAME in the URL", online.ErrInvalidOptions, len(c.InitAddress))
	}
	// The store has its own cache, which knows the versions, and its own repetitions,
	// which know what may be repeated.
	c.DisableCache, c.DisableRetry = true, true
	c.ClientName = "millrace"
	c.Dialer.Timeout = min(max(4*o.Deadline, o.WriteDeadline), dialTimeoutMax)
	// A connection on which nothing comes back is given up after this.
	c.ConnWriteTimeout = 2 * c.Dialer.Timeout
	c.Sentinel.TopologyRefreshInterval = 5 * time.Second
	return c, nil
}
