// SPDX-License-Identifier: Apache-2.0

// Package console is the web console: pages over what the other parts expose, for people
// who watch models, put them into service and take them out again.
//
// Pages are made on the server (html/template) and kept fresh by htmx, which asks for parts
// of them; uPlot draws what moves. Both are embedded; nothing is asked of another host.
//
// Invariants:
//
//   - C1: what changes anything needs the role operator, a request from a page of the same
//     origin, and the method POST. It is in the audit trail with who asked for it before
//     the answer is sent. Labelling needs the role labeller; what people say there is in
//     the event log, with who said it.
//   - C2: text of users (names, errors, logs) is shown and never interpreted.
//   - C3: a part that is not there has no pages; no part is needed.
//   - C4: pages hold at most what the bounds of this package say, whatever there is to show.
//
// Concurrency: a Console may be used from many goroutines. Run owns the goroutine that
// samples the traffic.
package console

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/console/vectors"
	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/pipeline"
	"github.com/millrace-ml/millrace/serving/access"
	"github.com/millrace-ml/millrace/serving/frontend"
	"github.com/millrace-ml/millrace/training/runs"
)

// Models is what the console needs of the model repository.
type Models interface {
	Models() []repository.ModelInfo
	SwapVersion(ctx context.Context, name string, number int64, keepOld bool) (repository.SwapResult, error)
	Rollback(ctx context.Context, name string) (repository.SwapResult, error)
}

// Pipelines is what the console needs of the orchestrator.
type Pipelines interface {
	Runs(pipeline string) ([]*orchestrator.RunStatus, error)
	Status(run string) (*orchestrator.RunStatus, error)
	Logs(run, task, item string, w io.Writer) error
	Cancel(run string) error
}

// Audit is the trail of changes and decisions. Its methods may be called at once.
type Audit interface {
	// Append records an entry durably.
	Append(e Entry) error
	// Entries lists the newest first, at most limit.
	Entries(limit int) ([]Entry, error)
}

// Entry is a line of the audit trail.
type Entry struct {
	Time time.Time `json:"time"`
	// ProjectTime is what the project's clock said, where a replay moves it; else zero. Alarms
	// have no other time: theirs is in Time.
	ProjectTime time.Time `json:"project_time,omitzero"`

	Who    string `json:"who"`
	Action string `json:"action"`
	// Subject is what it was done to, such as a model; Detail says more.
	Subject string `json:"subject"`
	Detail  string `json:"detail,omitempty"`
	// Link is the page about it, within the console.
	Link  string `json:"link,omitempty"`
	Error string `json:"error,omitempty"`
}

// At is when it was on the project's clock, by which a trail is in order.
func (e Entry) At() time.Time {
	if e.ProjectTime.IsZero() {
		return e.Time
	}
	return e.ProjectTime
}

// Options say what there is to show. Parts that are nil are not there.
type Options struct {
	// Project is the name at the top of pages, Version that of the program.
	Project, Version string
	Models           Models
	// ModelsDir is the repository's folder, for cards of versions; may be empty.
	ModelsDir string
	// Metrics are those of the server, from which the traffic is read.
	Metrics prometheus.Gatherer
	// Pipelines are the runs, Definitions the pipelines themselves. Artifact is where an
	// artifact lies.
	Pipelines   Pipelines
	Definitions *pipeline.File
	Artifact    func(digest string) string
	Experiments runs.Store
	// Features are the store of the project; DecisionsOf names the decisions that a feature
	// service is read for.
	Features    Features
	DecisionsOf map[string][]string
	Evaluations Evaluations
	Decisions   Decisions
	Monitors    Monitors
	Labeling    Labeling
	// Promotions are what was decided about models, for the chains that lead to them from
	// alarms.
	Promotions Promotions
	// Story is that of a simulation. It may be nil, and is called for each page.
	Story  func() *Story
	Audit  Audit
	Access Access
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Console serves the pages.
type Console struct {
	options  Options
	pages    pageSet
	sessions *sessions
	traffic  *traffic
	vectors  *vectors.Sampler // nil without features
	reports  reportCache
	// agreements are how far the annotators of projects agree.
	agreements agreements
}

// New makes a console. The error says what of the options does not fit.
func New(o Options) (*Console, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Audit == nil {
		return nil, errors.New("console: there is no audit trail, and changes have to be recorded")
	}
	keys, err := o.Access.keyring()
	if err != nil {
		return nil, err
	}
	p, err := parsePages()
	if err != nil {
		return nil, err
	}
	c := &Console{options: o, pages: p, sessions: newSessions(keys, o.Access.Local, o.Now), traffic: newTraffic(o.Metrics, o.Now)}
	if o.Features != nil {
		c.vectors = vectors.New(o.Features, frontend.DecisionStream, o.Now)
	}
	return c, nil
}

// Run samples the traffic until ctx ends.
func (c *Console) Run(ctx context.Context) { c.traffic.run(ctx) }

// Routes adds the console's pages to a mux; the first one is at its root.
func (c *Console) Routes(mux access.Mux) {
	view := func(pattern string, show func(http.ResponseWriter, *http.Request) error) {
		mux.Handle("GET "+pattern, c.secure(Viewer, show))
	}
	change := func(pattern string, act func(http.ResponseWriter, *http.Request) error) {
		mux.Handle("POST "+pattern, c.secure(Operator, act))
	}
	mux.Handle("GET /console/assets/{file}", http.HandlerFunc(serveAsset))
	mux.Handle("GET /console/login", c.open(c.showLogin))
	mux.Handle("POST /console/login", c.open(c.login))
	mux.Handle("POST /console/logout", c.secure(Viewer, c.logout))
	view("/{$}", c.overview)
	view("/console/traffic.json", c.trafficJSON)
	if c.options.Story != nil {
		view("/console/story.json", c.storyJSON)
	}
	if c.options.Models != nil {
		view("/console/models", c.models)
		view("/console/models/{model}", c.model)
		view("/console/models/{model}/{version}/card", c.card)
		change("/console/models/{model}/swap", c.swap)
		change("/console/models/{model}/rollback", c.rollback)
	}
	if c.options.Pipelines != nil {
		view("/console/pipelines", c.runs)
		view("/console/pipelines/{run}", c.run)
		view("/console/pipelines/{run}/logs/{task}", c.taskLog)
		view("/console/pipelines/{run}/report/{task}", c.report)
		change("/console/pipelines/{run}/cancel", c.cancel)
	}
	if c.options.Experiments != nil {
		view("/console/experiments", c.experiments)
		view("/console/experiments/{id}", c.experiment)
	}
	if c.options.Features != nil {
		c.featuresRoutes(mux)
	}
	if c.options.Evaluations != nil {
		c.evaluationsRoutes(mux)
	}
	if c.options.Decisions != nil {
		c.decisionsRoutes(mux)
	}
	if c.options.Monitors != nil {
		c.monitorsRoutes(mux)
	}
	if c.options.Labeling != nil {
		c.labelingRoutes(mux)
	}
	view("/console/", func(_ http.ResponseWriter, r *http.Request) error {
		return notFound("There is no page %s.", r.URL.Path)
	})
	view("/console/audit", c.audit)
	view("/console/audit/promotions/{run}", c.chain)
}
