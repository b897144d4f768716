// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/online/redis"
)

// Where the password of Redis comes from, so that it is in no command line.
const (
	redisUsernameVariable = "MILLRACE_REDIS_USERNAME"
	redisPasswordVariable = "MILLRACE_REDIS_PASSWORD"
)

// stateFlags say which feature store a command opens.
type stateFlags struct {
	dir            string
	redis          redis.Options
	acceptBreaking bool
}

func (s *stateFlags) addDir(flags *pflag.FlagSet) {
	flags.StringVar(&s.dir, "state", "", "state `folder` (default: that of millrace.yaml, or "+defaultState+")")
}

func (s *stateFlags) addFlags(flags *pflag.FlagSet) {
	s.addDir(flags)
	flags.StringVar(&s.redis.URL, "redis", "", "`URL` of a Redis that holds the online states in place of the folder; the event log stays in the folder. "+redisUsernameVariable+" and "+redisPasswordVariable+" override its user and password")
	flags.StringVar(&s.redis.Prefix, "redis-prefix", "", "`text` that all keys in Redis begin with (default millrace:)")
	flags.IntVar(&s.redis.Buckets, "redis-buckets", 0, "parts that a Redis Cluster spreads entities over; 0 is 1, for a single server")
	flags.BoolVar(&s.acceptBreaking, "accept-breaking", false, "open the store with definitions that break what the last ones served")
}

// folder is that of the flag, of the project, or the default. The project is nil unless
// the folder is its own.
func (s *stateFlags) folder() (string, *project, error) {
	p, err := projectHere()
	switch {
	case err != nil:
		return "", nil, err
	case p != nil && (s.dir == "" || filepath.Clean(s.dir) == filepath.Clean(p.State)):
		return p.State, p, nil
	case s.dir != "":
		return s.dir, nil, nil
	}
	return defaultState, nil, nil
}

// existing is folder, which must hold a feature store.
func (s *stateFlags) existing() (string, *project, error) {
	dir, p, err := s.folder()
	if err != nil {
		return "", nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "log")); errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("--state %s: there is no feature store in it; millrace features materialize or serve makes one", dir)
	} else if err != nil {
		return "", nil, fmt.Errorf("--state: %w", err)
	}
	return dir, p, nil
}

// options are those of a store in a folder, with the settings of the project whose it is.
func (s *stateFlags) options(dir string, owner *project, c *definition.Catalog, log *slog.Logger, p *progress) (featurestore.Options, error) {
	o := featurestore.Options{Dir: dir, Catalog: c}
	if owner != nil {
		var err error
		if o, err = owner.storeOptions(c); err != nil {
			return o, err
		}
	}
	o.AcceptBreaking, o.Logger, o.Progress = s.acceptBreaking, log, p.set
	if s.redis.URL == "" && (s.redis.Prefix != "" || s.redis.Buckets != 0) {
		return o, usageError{errors.New("--redis-prefix and --redis-buckets need --redis URL")}
	}
	if s.redis.URL != "" {
		o.Redis = &s.redis
	}
	if o.Redis != nil {
		o.Redis.Username, o.Redis.Password = os.Getenv(redisUsernameVariable), os.Getenv(redisPasswordVariable)
	}
	return o, nil
}

// commandPatience bounds what a command waits for Redis. A server has to answer within
// milliseconds; whoever runs a command would rather have it wait than fail.
const commandPatience = 30 * time.Second

// openStore opens a store for the time of a command; warnings go to stderr. instead is what
// to do where a server has it.
func (s *stateFlags) openStore(ctx context.Context, dir string, owner *project, c *definition.Catalog, stderr io.Writer, p *progress, instead string) (*featurestore.Store, error) {
	o, err := s.options(dir, owner, c, commandLogger(stderr), p)
	if err != nil {
		return nil, err
	}
	if o.Redis != nil {
		patient := *o.Redis
		patient.Deadline, patient.WriteDeadline = max(patient.Deadline, commandPatience), max(patient.WriteDeadline, commandPatience)
		o.Redis = &patient
	}
	store, err := featurestore.Open(ctx, o)
	p.clear()
	return store, explainState(dir, err, instead)
}

// commandLogger is the log of commands that end: what went wrong, and nothing else.
func commandLogger(stderr io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// explainState says what to do about a state folder that does not open; instead, where
// another process has it.
func explainState(dir string, err error, instead string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, offline.ErrLocked):
		return fmt.Errorf("--state %s: %w: a server or another command has it; stop that%s", dir, err, instead)
	case errors.Is(err, offline.ErrCorrupt):
		return fmt.Errorf("--state %s: %w; millrace features log repair saves what is sound", dir, err)
	}
	return fmt.Errorf("--state %s: %w", dir, err)
}

// openLog opens the event log of a state folder for reading, as it is at this moment. A
// server may have it open and go on.
func openLog(ctx context.Context, dir string, owner *project) (*offline.Log, error) {
	options, err := eventLog(dir, owner)
	if err != nil {
		return nil, err
	}
	options.HoldFromStart = false // nothing is replayed
	log, err := offline.OpenReader(ctx, options)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no event log in it yet: nothing was served or loaded; millrace up or features materialize begins one", dir)
	}
	return log, explainState(dir, err, "")
}

// ownLog opens the event log of a state folder for writing too. instead is what to do where
// a server has it.
func ownLog(ctx context.Context, dir string, owner *project, instead string) (*offline.Log, error) {
	options, err := eventLog(dir, owner)
	if err != nil {
		return nil, err
	}
	log, err := offline.Open(ctx, options)
	return log, explainState(dir, err, instead)
}

// openLogOf opens the event log that --log names for reading: that of a state folder, or a
// log itself.
func openLogOf(ctx context.Context, dir string) (*offline.Log, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("--log: %w", err)
	}
	_, owner, err := (&stateFlags{dir: dir}).folder()
	if err != nil {
		return nil, err
	}
	return openLog(ctx, dir, owner)
}

// eventLog are the options of the event log of a state folder, or of a folder that is an
// event log itself. It keeps all that a store may want to replay, and retains all.
func eventLog(dir string, owner *project) (offline.Options, error) {
	var o offline.Options
	if owner != nil {
		store, err := owner.storeOptions(nil)
		if err != nil {
			return o, err
		}
		o = store.Log
		o.RetainAge = 0
	}
	o.Dir, o.HoldFromStart, o.CompactEvery = dir, true, -1
	if _, err := os.Stat(filepath.Join(dir, "log")); err == nil {
		o.Dir = filepath.Join(dir, "log")
	}
	return o, nil
}

// closing adds the error of an end to that of a command.
func closing(err *error, end func() error) {
	*err = errors.Join(*err, end())
}
