// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/artifact"
	"github.com/millrace-ml/millrace/serving/access"
	"github.com/millrace-ml/millrace/training/runs"
)

// upConsole is the web console of a project that is served; nil is none.
type upConsole struct {
	console *console.Console
	runs    runs.Store
}

// openConsole makes the console beside a server. Where nobody could sign in there is none,
// and the log says what to do.
func (u *up) openConsole(ctx context.Context, address string, parts *upParts) (_ *upConsole, err error) {
	p := u.project
	access := console.Access{Local: isLocal(address) && len(p.Console.Tokens) == 0}
	if p.Console.Off {
		return nil, nil
	}
	if !access.Local && len(p.Console.Tokens) == 0 {
		u.log.Info("no console: others can reach the port, so it needs tokens", "set", "console.tokens in "+projectFile)
		return nil, nil
	}
	if access.Tokens, err = p.Console.secrets(); err != nil {
		return nil, err
	}
	store, err := runs.Open(ctx, filepath.Join(p.State, runs.File))
	if err != nil {
		return nil, err
	}
	o := console.Options{
		Project: p.Name, Version: version, Models: parts.server.Repository(), ModelsDir: p.Models, Metrics: parts.server.Metrics(), Experiments: store,
		Audit: u.audit, Access: access, Logger: u.log,
	}
	u.showOverview(&o)
	u.showFeatures(&o, parts)
	u.showAudit(&o)
	u.showDecisions(&o, parts)
	parts.monitors.show(&o)
	parts.labeling.show(&o)
	if len(p.Pipelines) > 0 {
		dir := filepath.Join(p.State, "pipelines")
		o.Pipelines = orchestrator.NewView(dir)
		objects, err := artifact.Open(dir)
		if err == nil {
			o.Artifact = func(digest string) string { return objects.Path(artifact.Digest(digest)) }
			o.Definitions, err = loadPipelines(p.Dir, p.Pipelines)
		}
		if err != nil {
			return nil, errors.Join(err, store.Close())
		}
	}
	u.showEvaluations(&o) // some are of pipelines
	c, err := console.New(o)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &upConsole{console: c, runs: store}, nil
}

// secrets takes tokens from the environment where they say so.
func (c *projectConsole) secrets() ([]console.Token, error) {
	var tokens []console.Token
	var problems []error
	for _, t := range c.Tokens {
		secret, unset := fromEnvironment(t.Secret)
		if len(unset) > 0 {
			problems = append(problems, fmt.Errorf("%s: console.tokens.%s: the environment has no %s", projectFile, t.Name, strings.Join(unset, ", ")))
		}
		t.Secret = secret
		tokens = append(tokens, t)
	}
	return tokens, errors.Join(problems...)
}

// isLocal says whether only this machine reaches an address.
func isLocal(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c *upConsole) routes(mux access.Mux) {
	if c != nil {
		c.console.Routes(mux)
	}
}

// run samples the traffic until ctx ends.
func (c *upConsole) run(ctx context.Context) {
	if c != nil {
		c.console.Run(ctx)
	}
}

func (c *upConsole) close() error {
	if c == nil {
		return nil
	}
	return c.runs.Close()
}
