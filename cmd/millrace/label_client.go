// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling"
	"github.com/millrace-ml/millrace/serving/frontend"
)

// labelClient asks the labelling of a server, or that of the folder where none has it.
type labelClient struct {
	base  string
	token string
	http  *http.Client
	close func() error
}

// connect reaches the server that --server names, else opens the project's log, or where a
// server has that, reaches the server at the project's own port.
func (o *labelOptions) connect(ctx context.Context) (*labelClient, error) {
	token, err := o.token.read()
	if err != nil {
		return nil, err
	}
	remote := func(base string) *labelClient {
		if !strings.Contains(base, "://") {
			base = "http://" + base
		}
		return &labelClient{base: strings.TrimSuffix(base, "/"), token: token, http: &http.Client{}, close: func() error { return nil }}
	}
	if o.server != "" {
		return remote(o.server), nil
	}
	p, err := loadProject(o.folder)
	if err != nil {
		return nil, err
	}
	if len(p.Labeling) == 0 {
		return nil, fmt.Errorf("%s: labeling is missing: the files that say what is labelled", filepath.Join(p.Dir, projectFile))
	}
	if _, err := os.Stat(filepath.Join(p.State, "log")); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: nothing is there yet; millrace up begins it", p.State)
	}
	log, err := openLog(ctx, p.State, p)
	if errors.Is(err, offline.ErrLocked) {
		if p.Server.HTTP == 0 {
			return nil, errors.New("a server has the log, at a port that was free: give --server")
		}
		host := p.Server.Address
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		return remote(net.JoinHostPort(host, strconv.Itoa(int(p.Server.HTTP)))), nil
	}
	if err != nil {
		return nil, err
	}
	handler, err := localLabeling(ctx, p, log)
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return &labelClient{base: "http://localhost", http: &http.Client{Transport: inProcessTransport{handler}}, close: log.Close}, nil
}

// localLabeling is the interface over a log that this command has to itself.
func localLabeling(ctx context.Context, p *project, log *offline.Log) (http.Handler, error) {
	_, policies, err := p.catalog()
	if err != nil {
		return nil, err
	}
	var decisions []string
	for _, one := range policies {
		decisions = append(decisions, one.Name)
	}
	d := &labelDesk{log: log, policies: policies, now: time.Now, leaseNow: time.Now, weights: sliceWeightsOf(p.State)}
	if d.projects, err = loadLabeling(p.Labeling, decisions); err != nil {
		return nil, err
	}
	if d.labels, err = p.labels(policies); err != nil {
		return nil, err
	}
	if p.Replay != nil { // its time is that of what came last
		last, err := lastTime(ctx, log)
		if err != nil {
			return nil, err
		}
		if !last.IsZero() {
			d.now = func() time.Time { return last }
		}
	}
	if err := openLabelDesk(ctx, d); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	(&labelAPI{desk: d, guard: &labelGuard{local: true, origin: http.NewCrossOriginProtection()}}).routes(mux)
	return mux, nil
}

// lastTime is just after the newest decision and the newest thing that somebody said of one,
// zero without any decision.
func lastTime(ctx context.Context, log *offline.Log) (last time.Time, err error) {
	if streamColumns(log, frontend.DecisionStream) == nil {
		return last, nil
	}
	newest := int64(0)
	for _, stream := range []string{frontend.DecisionStream, labeling.AnnotationStream} {
		at, err := newestIn(ctx, log, stream)
		if err != nil {
			return last, err
		}
		if newest = max(newest, at); newest == 0 {
			return last, nil
		}
	}
	return time.UnixMicro(newest + 1).UTC(), nil
}

// newestIn is the latest time in a stream, in microseconds; 0 if it has none.
func newestIn(ctx context.Context, log *offline.Log, stream string) (newest int64, err error) {
	scan, err := log.Scan(ctx, offline.Query{Stream: stream, Columns: []string{}, Versions: offline.AllVersions})
	if errors.Is(err, offline.ErrUnknownStream) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, scan.Close()) }()
	for scan.Next() {
		r := scan.Record()
		newest = max(newest, r.EventTime, r.ArrivalTime)
	}
	return newest, scan.Err()
}

// ask calls the interface and decodes the answer.
func (c *labelClient) ask(ctx context.Context, method, path string, query url.Values, body, into any) error {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	resp, err := c.send(ctx, method, path, query, content)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, labelAnswerMax+1))
	if err != nil {
		return err
	}
	if len(text) > labelAnswerMax {
		return fmt.Errorf("%s: the answer has more than %d bytes", path, labelAnswerMax)
	}
	if resp.StatusCode != http.StatusOK {
		return c.fault(resp.StatusCode, text)
	}
	return json.Unmarshal(text, into)
}

// labelAnswerMax bounds an answer that is held as a whole.
const labelAnswerMax = 512 << 20

// send sends a request; the caller closes the answer's body.
func (c *labelClient) send(ctx context.Context, method, path string, query url.Values, content io.Reader) (*http.Response, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return nil, usageError{fmt.Errorf("--server: %w", err)}
	}
	r.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%w (is millrace up running there? else give --server)", err)
	}
	return resp, nil
}

// fault is the error that an answer tells of.
func (c *labelClient) fault(status int, text []byte) error {
	var told struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(text, &told) != nil || told.Error == "" {
		return fmt.Errorf("%s: status %d: the server has no labelling here; is it millrace up, with labeling in %s?", c.base, status, projectFile)
	}
	if status == http.StatusUnauthorized {
		return fmt.Errorf("%s; %s", told.Error, tokenAdvice)
	}
	return errors.New(told.Error)
}

// project is the one that a command names; without a name it is the only one.
func (c *labelClient) project(ctx context.Context, name string) (string, error) {
	if name != "" {
		return name, nil
	}
	all, err := c.projects(ctx)
	if err != nil {
		return "", err
	}
	if len(all) == 1 {
		return all[0].Project, nil
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Project)
	}
	return "", usageError{fmt.Errorf("which project? give --project with one of %s", strings.Join(names, ", "))}
}

func (c *labelClient) projects(ctx context.Context) ([]*projectStatus, error) {
	var out struct{ Projects []*projectStatus }
	err := c.ask(ctx, http.MethodGet, labelPath, nil, nil, &out)
	return out.Projects, err
}

// inProcessTransport answers requests by a handler of this process, as a server of its own
// would: bodies flow in both directions while the handler runs.
type inProcessTransport struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (t inProcessTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.Host, in.RemoteAddr, in.RequestURI = "localhost", "127.0.0.1:0", r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	body, out := io.Pipe()
	w := &pipedAnswer{header: http.Header{}, out: out, sent: make(chan *http.Response, 1), trailer: http.Header{}, body: body}
	go func() { // ends with the handler, whose writes fail when the body is closed
		t.handler.ServeHTTP(w, in)
		w.WriteHeader(http.StatusOK)
		maps.Copy(w.trailer, w.trailers())
		out.Close()
	}()
	select {
	case resp := <-w.sent:
		return resp, nil
	case <-r.Context().Done():
		body.Close()
		return nil, r.Context().Err()
	}
}

// pipedAnswer is what a handler writes into.
type pipedAnswer struct {
	header, trailer http.Header
	out             *io.PipeWriter
	body            *io.PipeReader
	sent            chan *http.Response
	once            sync.Once
}

// Header implements http.ResponseWriter.
func (w *pipedAnswer) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *pipedAnswer) WriteHeader(status int) {
	w.once.Do(func() {
		w.sent <- &http.Response{StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: w.header.Clone(), Trailer: w.trailer, Body: w.body, ContentLength: -1}
	})
}

// Write implements io.Writer.
func (w *pipedAnswer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.out.Write(b)
}

// trailers are the headers that were announced to come behind the body.
func (w *pipedAnswer) trailers() http.Header {
	all := http.Header{}
	for _, name := range slices.Clone(w.header.Values("Trailer")) {
		if v := w.header.Get(name); v != "" {
			all.Set(name, v)
		}
	}
	return all
}
