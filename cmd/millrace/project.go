// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/offline/blob"
	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/online/redis"
	"github.com/millrace-ml/millrace/serving/access"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// projectFile is the file that makes a folder a project.
const projectFile = "millrace.yaml"

// projectBytesMax bounds it.
const projectBytesMax = 64 << 10

// project is a folder with models, features and decisions that are served together.
// Its paths have been joined to the folder.
type project struct {
	Dir, Name string
	// Models is the model repository.
	Models string
	// Features and Decisions are files; a project may lack decisions.
	Features, Decisions []string
	// Trainings, Evaluations and Pipelines are files too; a project may lack them.
	Trainings, Evaluations, Pipelines []string
	// Feedback has labels (what counts as the outcome of a decision), Monitors what is watched,
	// Labeling what people label; a project may lack them.
	Feedback, Monitors, Labeling []string
	// State is the folder that is written to.
	State string
	// Materialize loads what is new of the sources' inputs at each start.
	Materialize bool
	Server      projectServer
	Console     projectConsole
	Online      projectOnline
	Log         projectLog
	Generate    *projectGenerate
	Replay      *projectReplay
}

// projectServer says where to listen. A port of 0 is any that is free.
type projectServer struct {
	Address             string
	HTTP, GRPC, Metrics uint16
	// Open is what needs no token although the project has some.
	Open []access.Need
}

// projectConsole says who may use the web console. Secrets are as they are written:
// ${NAME} is taken from the environment where the console is served.
type projectConsole struct {
	Off    bool
	Tokens []console.Token
}

// projectOnline is how the states of entities are kept.
type projectOnline struct {
	// MemoryBytesMax bounds them in memory, 0 is no bound.
	MemoryBytesMax int64
	Redis          *redis.Options
}

// projectLog is how the event log is kept.
type projectLog struct {
	Retain time.Duration
	// Storage is a folder, or s3://BUCKET/PREFIX, for partitions; empty is within State.
	Storage string
}

// projectGenerate makes card payments where a file of them is missing.
type projectGenerate struct {
	Path                       string
	Days, Customers, Terminals int
	Seed                       uint64
	Start                      time.Time
}

// projectReplay plays a source's history against the server, for examples and trials.
type projectReplay struct {
	Source, Decision string
	// Caught are the answers that stop a fraud; nil is all but the first of the decision.
	Caught []string
	// Label is the late field that tells a fraud; empty is the source's first.
	Label string
	// From and To bound what is replayed; events before From are loaded as history. A zero
	// From is HistoryDays after the first event.
	From, To    time.Time
	HistoryDays int
	// Speed is how many times faster than it happened; 0 is as fast as it goes.
	Speed float64
}

// loadProject reads the project in a folder. All that is wrong is reported, as
// definition.Errors.
func loadProject(dir string) (*project, error) {
	path := filepath.Join(dir, projectFile)
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no %s; millrace init %s writes a small one", dir, projectFile, dir)
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, projectBytesMax+1))
	if err != nil {
		return nil, err
	}
	return parseProject(dir, path, data)
}

func parseProject(dir, path string, data []byte) (*project, error) {
	p := &project{Dir: dir, Materialize: true}
	r := &projectReader{file: path}
	if root := r.parse(data); root != nil {
		p.read(r, root)
	}
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	return p, nil
}

// read fills the project from its file.
func (p *project) read(r *projectReader, root ast.Node) {
	o := r.object(root, "", "name", "models", "features", "decisions", "trainings", "evaluations", "pipelines", "feedback", "monitors", "labeling", "console", "state", "materialize", "server", "online", "log", "generate", "replay")
	p.Name = o.text("name", filepath.Base(absolute(p.Dir)))
	p.Models = p.path(o.text("models", "models"))
	p.State = p.path(o.text("state", ".millrace/state"))
	p.Features = p.paths(o.texts("features", "features.yaml"))
	if o.has("decisions") {
		p.Decisions = p.paths(o.texts("decisions"))
	}
	for key, files := range map[string]*[]string{"trainings": &p.Trainings, "evaluations": &p.Evaluations, "pipelines": &p.Pipelines,
		"feedback": &p.Feedback, "monitors": &p.Monitors, "labeling": &p.Labeling} {
		if o.has(key) {
			*files = p.paths(o.texts(key))
		}
	}
	p.Materialize = o.truth("materialize", true)
	p.readServer(o.object("server", "address", "http", "grpc", "metrics", "open"))
	if o.has("console") {
		p.readConsole(o.object("console", "enabled", "tokens"))
	}
	p.readOnline(o.object("online", "memory_max", "redis"))
	p.readLog(o.object("log", "retain", "storage"))
	if o.has("generate") {
		p.readGenerate(o.object("generate", "path", "days", "customers", "terminals", "seed", "start"))
	}
	if o.has("replay") {
		p.readReplay(o.object("replay", "source", "decision", "caught", "label", "from", "to", "history", "speed"))
	}
}

func absolute(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// path joins a path of the file to the project's folder.
func (p *project) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.Dir, name)
}

func (p *project) paths(names []string) []string {
	for i := range names {
		names[i] = p.path(names[i])
	}
	return names
}

func (p *project) readServer(o *projectObject) {
	p.Server = projectServer{
		Address: o.text("address", "0.0.0.0"),
		HTTP:    uint16(o.integer("http", defaultHTTPPort, 0, 65535)),
		GRPC:    uint16(o.integer("grpc", defaultGRPCPort, 0, 65535)),
		Metrics: uint16(o.integer("metrics", defaultMetricsPort, 0, 65535)),
	}
	for _, name := range o.texts("open") {
		switch name {
		case access.Feedback.String():
			p.Server.Open = append(p.Server.Open, access.Feedback)
		case access.Pushes.String():
			p.Server.Open = append(p.Server.Open, access.Pushes)
		default:
			o.bad("open", "there is no %q to open: there are feedback and pushes", name)
		}
	}
}

// readConsole reads tokens by name: {role, token}.
func (p *project) readConsole(o *projectObject) {
	p.Console.Off = !o.truth("enabled", true)
	if !o.has("tokens") {
		return
	}
	for _, entry := range o.entries("tokens") {
		t := o.r.object(entry.Value, join(o.path, "tokens."+entry.Key.GetToken().Value), "role", "token")
		role, err := access.ParseRole(t.text("role", console.Viewer.String()))
		if err != nil {
			t.bad("role", "%v", err)
		}
		if !t.has("token") {
			t.bad("", "token is missing, such as token: ${MILLRACE_OPERATOR}")
		}
		p.Console.Tokens = append(p.Console.Tokens, console.Token{Name: entry.Key.GetToken().Value, Role: role, Secret: t.text("token", "")})
	}
}

func (p *project) readOnline(o *projectObject) {
	p.Online.MemoryBytesMax = o.bytes("memory_max")
	if !o.has("redis") {
		return
	}
	r := o.object("redis", "url", "addresses", "prefix", "deadline")
	p.Online.Redis = &redis.Options{
		URL: r.environment("url"), Prefix: r.text("prefix", ""), Deadline: r.duration("deadline", 0),
	}
	if r.has("addresses") {
		p.Online.Redis.Addresses = r.texts("addresses")
	}
	if !r.has("url") && !r.has("addresses") {
		r.bad("", "url is missing, such as url: redis://localhost:6379")
	}
}

func (p *project) readLog(o *projectObject) {
	p.Log.Retain = o.duration("retain", 0)
	storage := o.text("storage", "")
	switch u, err := url.Parse(storage); {
	case storage == "":
	case err == nil && u.Scheme == "s3":
		p.Log.Storage = storage
	case err == nil && u.Scheme != "":
		o.bad("storage", "needs a folder or s3://BUCKET/PREFIX, not %q", storage)
	default:
		p.Log.Storage = p.path(storage)
	}
}

func (p *project) readGenerate(o *projectObject) {
	g := &projectGenerate{
		Path: o.text("path", ""), Days: o.integer("days", 60, 1, 3660), Customers: o.integer("customers", 1000, 1, 1_000_000),
		Terminals: o.integer("terminals", 0, 0, 2_000_000), Seed: uint64(o.integer("seed", 0, 0, 1<<53)), Start: o.moment("start"),
	}
	if g.Path == "" {
		o.bad("path", "path is missing, such as path: payments.parquet")
	}
	g.Path = p.path(g.Path)
	p.Generate = g
}

func (p *project) readReplay(o *projectObject) {
	p.Replay = &projectReplay{
		Source: o.text("source", ""), Decision: o.text("decision", ""), Label: o.text("label", ""),
		From: o.moment("from"), To: o.moment("to"), HistoryDays: o.integer("history", 0, 0, 3660),
	}
	if o.has("caught") {
		p.Replay.Caught = o.texts("caught")
	}
	if p.Replay.Source == "" {
		o.bad("source", "source is missing: the push source whose history is replayed")
	}
	if o.has("from") && o.has("history") {
		o.bad("history", "either from or history says where the replay begins")
	}
	if !p.Replay.To.IsZero() && !p.Replay.From.Before(p.Replay.To) {
		o.bad("to", "is not after from")
	}
	speed, err := parseSpeed(o.text("speed", "max"))
	if err != nil {
		o.bad("speed", "%v", err)
	}
	p.Replay.Speed = speed
}

// speedMax bounds a speed that is not max.
const speedMax = 1e6

// parseSpeed reads 60x or max, which is 0.
func parseSpeed(text string) (float64, error) {
	if text == "max" {
		return 0, nil
	}
	var x float64
	if m := regexp.MustCompile(`^([0-9]+(\.[0-9]+)?)x$`).FindStringSubmatch(text); m != nil {
		if _, err := fmt.Sscanf(m[1], "%g", &x); err != nil {
			return 0, err
		}
	}
	if x <= 0 || x > speedMax {
		return 0, fmt.Errorf("speed %q: give 60x, 3600x or another number of times, at most %.0fx, or max", text, float64(speedMax))
	}
	return x, nil
}

// catalog reads features and decisions, and reports all that is wrong in either.
func (p *project) catalog() (*definition.Catalog, []*policy.Policy, error) {
	c, err := definition.Load(p.Features...)
	if err != nil || len(p.Decisions) == 0 {
		return c, nil, err
	}
	policies, err := policy.Load(c, p.Decisions...)
	return c, policies, err
}

// storeOptions are those of the project's feature store.
func (p *project) storeOptions(c *definition.Catalog) (featurestore.Options, error) {
	o := featurestore.Options{
		Dir: p.State, Catalog: c,
		Log:    offline.Options{RetainAge: p.Log.Retain},
		Online: online.Options{MemoryBytesMax: p.Online.MemoryBytesMax},
		Redis:  p.Online.Redis,
	}
	var err error
	switch {
	case strings.HasPrefix(p.Log.Storage, "s3://"):
		ctx, cancel := context.WithTimeout(context.Background(), storageTimeout)
		defer cancel()
		if o.Log.Storage, err = blob.Open(ctx, p.Log.Storage, blob.Options{}); err != nil {
			return o, fmt.Errorf("log.storage of the project: %w", err)
		}
	case p.Log.Storage != "":
		o.Log.Storage = offline.NewFolder(p.Log.Storage)
	}
	return o, nil
}

// storageTimeout bounds reaching a blob store.
const storageTimeout = time.Minute

var environmentName = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// fromEnvironment replaces ${NAME}, and names what is not set.
func fromEnvironment(text string) (replaced string, unset []string) {
	replaced = environmentName.ReplaceAllStringFunc(text, func(m string) string {
		name := strings.Trim(m, "${}")
		value, ok := os.LookupEnv(name)
		if !ok {
			unset = append(unset, name)
		}
		return value
	})
	return replaced, unset
}
